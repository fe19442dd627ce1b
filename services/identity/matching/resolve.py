"""From records to who is likely one person: links, questions for people, and what was held apart and why. Pure.

Which pairs are looked at (`blocking`) and what each weighs (`score`) doesn't depend on any order, and links are joined in an
order of their own: by hand first, then by weight, then by ids. A component of links is resolved by itself.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from services.identity.matching import blocking
from services.identity.matching.blocking import Pair
from services.identity.matching.judge import Judge, Judged, Veto, contradict
from services.identity.matching.record import Record

MAX_CLUSTER_RECORDS = 50  # more records of one person are a placeholder that slipped through, not a person

Reason = Literal["FORBIDDEN", "LIMIT_PER_SOURCE", "CLUSTER_TOO_LARGE"] | Veto


class Limits(NamedTuple):
    """`one_per_source`: a source that keeps each person once never has two records of one."""

    one_per_source: bool = False
    max_cluster: int = MAX_CLUSTER_RECORDS
    max_block: int = blocking.MAX_BLOCK_RECORDS


class Link(NamedTuple):
    """Two records that may be one person's; no weight: people decided it."""

    one: str
    other: str
    weight: float | None

    @property
    def rank(self) -> tuple[bool, float, str, str]:
        return (self.weight is not None, -(self.weight or 0.0), self.one, self.other)


class Rejected(NamedTuple):
    link: Link
    reason: Reason


@dataclass(slots=True)
class Decisions:
    """By hand; they hold until they are withdrawn."""

    forced: set[Pair] = field(default_factory=set)
    forbidden: set[Pair] = field(default_factory=set)


@dataclass(slots=True)
class Partition:
    group_of: dict[str, frozenset[str]] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    questions: list[Link] = field(default_factory=list)  # between the bands

    def groups(self) -> set[frozenset[str]]:
        return set(self.group_of.values())


def pair(one: str, other: str) -> Pair:
    return (one, other) if one < other else (other, one)


def resolve(records: Mapping[str, Record], judge: Judge, limits: Limits, decisions: Decisions) -> Partition:
    """Everything at once; `matcher.Matcher` keeps the same up to date."""
    judged: dict[Pair, Judged] = {}
    for one, other in blocking.pairs({r.id: blocking.keys(r.person) for r in records.values()}, limits.max_block):
        found = judge(records[one], records[other])
        if found is not None:
            judged[one, other] = found
    partition = cluster(records, judged, limits, decisions)
    partition.questions = questions(judged)
    return partition


def questions(judged: Mapping[Pair, Judged]) -> list[Link]:
    return sorted((Link(*ids, found.weight) for ids, found in judged.items() if found.band == "review"), key=lambda link: link.rank)


def cluster(records: Mapping[str, Record], judged: Mapping[Pair, Judged], limits: Limits, decisions: Decisions) -> Partition:
    """`records` are all of one or more components; decisions about others are left aside."""
    partition = Partition()
    groups = {record.id: _Group.of(record) for record in records.values()}
    apart: dict[str, set[str]] = defaultdict(set)
    for decided in decisions.forbidden:
        for record_id, other_id in (decided, decided[::-1]):
            apart[record_id].add(other_id)
    for link, vetoed in candidates(records, judged, decisions):
        one, other = groups[link.one], groups[link.other]
        reason = None if one is other else vetoed or _reject(link, one, other, limits, apart)
        if reason is not None:
            partition.rejected.append(Rejected(link, reason))
            continue
        partition.links.append(link)
        if one is not other:
            _join(groups, one, other)
    for group in {id(group): group for group in groups.values()}.values():
        ids = frozenset(group.ids)
        partition.group_of.update(dict.fromkeys(ids, ids))
    return partition


def candidates(
    records: Mapping[str, Record], judged: Mapping[Pair, Judged], decisions: Decisions
) -> list[tuple[Link, Veto | None]]:
    """In the order in which they are joined."""
    found = {ids: (Link(*ids, j.weight), j.veto) for ids, j in judged.items() if j.band == "link"}
    for one, other in decisions.forced:
        if one in records and other in records:
            found[one, other] = Link(one, other, None), None
    return sorted(found.values(), key=lambda candidate: candidate[0].rank)


@dataclass(slots=True)
class _Group:
    ids: set[str]
    sources: set[str]
    unique: dict[str, str]  # of its records, which don't contradict each other

    @classmethod
    def of(cls, record: Record) -> "_Group":
        return cls({record.id}, {record.source}, dict(record.unique))


def _reject(link: Link, one: _Group, other: _Group, limits: Limits, apart: Mapping[str, set[str]]) -> Reason | None:
    if any(not apart[member].isdisjoint(other.ids) for member in one.ids if member in apart):
        return "FORBIDDEN"
    if link.weight is None:
        return None
    if limits.one_per_source and not one.sources.isdisjoint(other.sources):
        return "LIMIT_PER_SOURCE"
    if len(one.ids) + len(other.ids) > limits.max_cluster:
        return "CLUSTER_TOO_LARGE"
    return "DIFFERENT_UNIQUE_ID" if contradict(one.unique, other.unique) else None


def _join(groups: dict[str, _Group], one: _Group, other: _Group) -> None:
    if len(one.ids) < len(other.ids):
        one, other = other, one
    one.ids |= other.ids
    one.sources |= other.sources
    one.unique |= other.unique
    for record_id in other.ids:
        groups[record_id] = one
