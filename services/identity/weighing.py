"""What a match is made of: its weight in parts, the model and the rules that it is held against, and the events that say so.

A match is told as it was concluded, from what is kept of it. Records that don't match are compared for the answer.
"""

from collections.abc import Collection, Iterable, Mapping
from math import inf
from typing import Any, Literal, NamedTuple

from services.identity.comparing import Comparing
from services.identity.graph.facts import Node
from services.identity.graph.resolve import Link
from services.identity.graph.rules import Matching
from services.identity.matching.score import Explanation, Scorer
from services.identity.matching.veto import Veto, veto
from services.identity.recall import Instants, Recalled
from services.identity.records.likeness import Comparer, Kept, Likeness, RecordPair, record_pair
from services.identity.records.said import Saying
from services.identity.tables import former_matches, modelbook, record_rows, record_tables
from services.identity.tables.former_matches import Matched
from services.identity.tables.record_rows import RecordRow
from shared.log import LogReader

RECORDS_EXPLAINED = 20  # of either side
MOST_RIVALS = 20  # that are told


class Side(NamedTuple):
    """A record: what one source said of the customer that an identifier founded, and by which events."""

    source: str
    customer: bytes
    value_hash: bytes
    said_by: tuple[Saying, ...]


class Weighed(NamedTuple):
    """Two records. `matching` is what their weight is held against; `since` when it became known that they match so."""

    one: Side
    other: Side
    explanation: Explanation
    unrivalled: float
    witnessed: bool
    veto: Veto | None
    matching: Matching
    since: int | None = None  # None: they don't match, or are compared for this answer

    def seen_from(self, value_hash: bytes) -> "Weighed":
        """The same, with the record of this identifier first."""
        return self if self.one.value_hash == value_hash else self._replace(one=self.other, other=self.one)

    @property
    def band(self) -> Literal["link", "review"] | None:
        weight = self.explanation.weight
        return None if self.veto else self.matching.band(weight, weight if self.witnessed else -inf)


class Grounds(NamedTuple):
    """Of a link that is a match: what weighs most for it, and whom else either of the two could be."""

    weighed: Weighed
    rivals: list[tuple[Node, float]]  # and bits, the strongest first


class Weighing:
    def __init__(self, comparing: Comparing) -> None:
        self._comparing = comparing

    async def grounds(
        self, connection: Any, links: Collection[Link], recalled: Recalled, group: Collection[Node], matching: Matching
    ) -> dict[Link, Grounds]:
        """Of the links that are matches. `group` are identifiers of one customer, of whom none is another's rival."""
        deciding = {link: ids for link in links if link.weight is not None and (ids := _deciding(link, recalled)) is not None}
        told = await self.matches(connection, {ids: recalled.matches[ids] for ids in deciding.values()}, matching)
        return {link: Grounds(told[ids], _rivals(link, recalled, group, matching)) for link, ids in deciding.items()}

    async def matches(self, connection: Any, wanted: Mapping[RecordPair, Matched], matching: Matching) -> dict[RecordPair, Weighed]:
        """As they were concluded, each by the model that weighed it."""
        rows = await record_tables.records(connection, {record_id for ids in wanted for record_id in ids})
        scorers = await self._scorers(connection, {one.like.model for one in wanted.values()})
        return {ids: _as_concluded(ids, one, rows, scorers[one.like.model], matching) for ids, one in wanted.items()}

    async def now(self, connection: Any, sides: list[list[bytes]], matching: Matching) -> list[Weighed]:
        """Each record of the one customers with each of the others, as they are now."""
        rows = [await record_rows.of_customers(connection, side, RECORDS_EXPLAINED) for side in sides]
        opened = [await self._comparing.open(side) for side in rows]
        found = await former_matches.between(connection, {i for side in opened for i in side})
        comparer, known = self._comparing.comparer, rows[0] | rows[1]
        told = []
        for one in opened[0].values():
            for other in opened[1].values():
                match = found.get(record_pair(one.record_id, other.record_id))
                told.append(compared(comparer, one, other, known, matching)._replace(since=match.since if match else None))
        return told

    async def then(
        self, connection: Any, sides: list[list[bytes]], matching: Matching, comparer: Comparer, instants: Instants
    ) -> tuple[list[Weighed], int]:
        """As at past instants; and how many pairs of records nobody can tell of any more.

        What matched is kept. Else it is told only if both records say the same since then, up to what nobody compares.
        """
        rows = [await record_rows.of_customers(connection, side, RECORDS_EXPLAINED, instants.known_at) for side in sides]
        pairs, known = [(one, other) for one in rows[0] for other in rows[1]], rows[0] | rows[1]
        matched = await former_matches.between(connection, known, instants.known_at, instants.as_of)
        ordered = {i for i, row in known.items() if row.ordered_from <= instants.as_of}
        standing = {ids for one, other in pairs if (ids := record_pair(one, other)) in matched and ordered >= set(ids)}
        as_then = await self.matches(connection, {ids: matched[ids] for ids in standing}, matching)
        told = [
            as_then[ids].seen_from(rows[0][one].value_hash) for one, other in pairs if (ids := record_pair(one, other)) in as_then
        ]
        rest = [ids for ids in pairs if record_pair(*ids) not in matched]
        opened = await self._comparing.open({i: known[i] for ids in rest for i in ids})
        for one, other in rest:
            if all(i in opened and _said_then(known[i], opened[i], instants) for i in (one, other)):
                weighed = compared(comparer, opened[one], opened[other], known, matching)
                told.append(weighed._replace(one=_without_sayings(weighed.one), other=_without_sayings(weighed.other)))
        return told, len(pairs) - len(told)

    async def _scorers(self, connection: Any, versions: Collection[str]) -> dict[str, Scorer]:
        """By version of the model; the log has every model that ever weighed."""
        found = {self._comparing.comparer.model.version: self._comparing.comparer.scorer}
        if versions - found.keys():
            for activation in await modelbook.history(LogReader(connection)):
                if activation.version in versions - found.keys():
                    found[activation.version] = Scorer(activation.model)
        return found


def compared(comparer: Comparer, one: Kept, other: Kept, rows: Mapping[bytes, RecordRow], matching: Matching) -> Weighed:
    """In the order of records, in which matches are weighed: the sum is the same to the last bit."""
    first, second = sorted((one, other), key=lambda kept: kept.record_id)
    forbidden, exclusive = veto(one.person, other.person), comparer.exclusive(one, other)
    return Weighed(
        _side(rows[one.record_id], one.said_by),
        _side(rows[other.record_id], other.said_by),
        comparer.scorer.explain(first.person, second.person),
        comparer.scorer.weigh_twice(first.person, second.person)[1] if exclusive else -inf,
        comparer.witnessed(one.person, other.person),
        forbidden,
        matching,
    )


def _as_concluded(
    ids: RecordPair, matched: Matched, rows: Mapping[bytes, RecordRow], scorer: Scorer, matching: Matching
) -> Weighed:
    like = matched.like
    one, other = (_side(rows[record_id], by) for record_id, by in zip(ids, like.sayings(), strict=True))
    return Weighed(one, other, scorer.told(like.agreed()), like.unrivalled, like.witnessed, like.veto, matching, matched.since)


def _side(row: RecordRow, said_by: tuple[Saying, ...]) -> Side:
    return Side(row.source, row.customer, row.value_hash, said_by)


def _without_sayings(side: Side) -> Side:
    """Which event said it by then is told by none that is kept: it may have been said again since."""
    return side._replace(said_by=())


def _said_then(row: RecordRow, kept: Kept, instants: Instants) -> bool:
    return row.same_since is not None and row.same_since <= instants.known_at and kept.last.occurred_at <= instants.as_of


def _deciding(link: Link, recalled: Recalled) -> RecordPair | None:
    """Of the records of two identifiers those that weigh as much as the link."""
    ends = {link.strong.value_hash, link.weak.value_hash}

    def weight(like: Likeness) -> tuple[bool, float]:
        return link.weight == (like.unrivalled if link.unrivalled else like.weight), like.weight

    found = {ids: one.like for ids, one in recalled.matches.items() if {one.like.one, one.like.other} == ends}
    return max(found, key=lambda ids: (weight(found[ids]), ids), default=None)


def _rivals(link: Link, recalled: Recalled, group: Collection[Node], matching: Matching) -> list[tuple[Node, float]]:
    """Whom else either end could be: in a source that has the other end too, and each person once; what is shared is nobody."""
    recorded, once = recalled.facts.recorded_by, set(matching.one_per_source)
    found: dict[Node, float] = {}
    for one, other in ((link.strong, link.weak), (link.weak, link.strong)):
        sources = once & recorded.get(other, frozenset())
        for ends, match in recalled.facts.matched.items() if sources else ():
            for rival in ends - {one} if one in ends else ():
                if rival not in group and rival not in recalled.shared and sources & recorded.get(rival, frozenset()):
                    found[rival] = max(found.get(rival, -inf), match.unrivalled if link.unrivalled else match.weight)
    return _strongest(found.items())


def _strongest(found: Iterable[tuple[Node, float]]) -> list[tuple[Node, float]]:
    return sorted(found, key=lambda rival: (-rival[1], rival[0]))[:MOST_RIVALS]
