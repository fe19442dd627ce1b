"""From pairs of records to what the graph takes: which identifiers match, and how much speaks for it. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from services.identity.graph.facts import Evidence, Match, Node, Pair, pair
from services.identity.matching.family import NEARLY_THE_SAME, is_personal
from services.identity.matching.judge import Veto, veto
from services.identity.matching.model import Model
from services.identity.matching.record import Person, Record
from services.identity.matching.score import Scorer, level_of


@dataclass(frozen=True, slots=True)
class Kept:
    """A record as it is compared. Personal data: it never prints."""

    record_id: bytes
    value_hash: bytes  # of the founding identifier
    source: str
    person: Person
    evidence: Evidence  # the latest event of what is compared

    def __repr__(self) -> str:
        return f"<Kept {self.record_id.hex()} sealed>"


RecordPair = tuple[bytes, bytes]  # record ids, in order
KNOWN_TO_MANY = frozenset({"given_name", "middle_initial", "family_name", "birth_date"})


class Likeness(NamedTuple):
    """Of two records that are worth a question, or two; a veto speaks for all records of their identifiers."""

    one: bytes  # value hashes, in the order of the records
    other: bytes
    weight: float  # bits
    personal: bool
    veto: Veto | None
    evidence: Evidence

    @property
    def personal_weight(self) -> float:
        return self.weight if self.personal else -inf

    def says_as(self, other: "Likeness") -> bool:
        """An event that says again what is known changes nothing."""
        return self[:5] == other[:5]


class Comparer:
    """`floor`: bits, below which nothing is kept; `version` says what else the outcome depends on."""

    def __init__(self, model: Model, floor: float) -> None:
        self.model = model
        self.version = f"{model.version}/{model.normal_form}"
        self.floor = floor
        self.scorer = Scorer(model)
        self._personal = [comparison for comparison in model.comparisons if is_personal(comparison.about)]
        self._given = [comparison for comparison in model.comparisons if "given_name" in comparison.about]
        self._witnesses = [comparison for comparison in model.comparisons if not comparison.about & KNOWN_TO_MANY]

    def compare(self, one: Kept, other: Kept) -> Likeness | None:
        """The same for both orders: floats are added up in one."""
        if one.value_hash == other.value_hash:
            return None
        if one.record_id > other.record_id:
            one, other = other, one
        weight = self.scorer.weigh(one.person, other.person)
        if weight < self.floor:
            return None
        found = self.veto(one, other)
        evidence = max(one.evidence, other.evidence)
        return Likeness(one.value_hash, other.value_hash, weight, self.is_personal(one.person, other.person), found, evidence)

    def veto(self, one: Kept, other: Kept) -> Veto | None:
        return veto(_record(one), _record(other))

    def is_personal(self, one: Person, other: Person) -> bool:
        """Whether what a family doesn't share speaks for it, taken together, and more than who knows somebody could say.

        A name and a birth date are known to many, and twins share all but the given name: people are asked about those.
        """
        if not sum(level_of(comparison, one, other).weight for comparison in self._personal) > 0:
            return False
        if any(level_of(comparison, one, other).weight < NEARLY_THE_SAME for comparison in self._given):
            return False
        return any(level_of(comparison, one, other).weight > 0 for comparison in self._witnesses)


def record_pair(one: bytes, other: bytes) -> RecordPair:
    return (one, other) if one < other else (other, one)


def best(likenesses: Iterable[Likeness], nodes: dict[bytes, Node]) -> dict[Pair, Match]:
    """By pair of identifiers, of which each may have records of several sources: what speaks most for it, if nothing forbids it."""
    found: dict[Pair, list[Likeness]] = {}
    for like in likenesses:
        found.setdefault(pair(nodes[like.one], nodes[like.other]), []).append(like)
    return {ends: _match(likes) for ends, likes in found.items() if all(like.veto is None for like in likes)}


def _match(likes: list[Likeness]) -> Match:
    weight, evidence = max((like.weight, like.evidence) for like in likes)
    return Match(weight, max(like.personal_weight for like in likes), evidence)


def _record(kept: Kept) -> Record:
    return Record(kept.record_id.hex(), kept.source, kept.person)
