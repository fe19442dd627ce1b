"""What is kept of the events that count for a computed trait: instants and values, whatever order they come in.

Keeping is idempotent, commutative and associative: what is kept of some events is a function of their set. Where all of them count,
for ever, there is a total of each stream besides, which has no bound: an event that is no longer among those kept must not come
again (`fold.evolve_to` sees to it). An event counts at
the instant it happened, but not after the one we received it at: so a read is never before what is kept, and what is behind a
window that ends at the newest occurrence is behind every window that is still read. However late an event comes, it lands where
it belongs.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Literal

import msgspec

from services.profile.domain.computed.totals import NOTHING, Total, plus, together

Scalar = str | bool | int | float | None
Occurrence = tuple[int, bytes, Scalar]  # instant, event id, value

# all: the newest of all events, and totals of all. newest: of all events. distinct: of each value its newest. The others are the
# one occurrence that wins.
How = Literal["all", "newest", "distinct", "earliest", "least", "greatest"]

FEW = 8  # of so many it is quicker to look for the value of each than to put all values in order
MAX_OCCURRENCES = 1_000  # of one computed trait of one customer, some 40 bytes each; what is cut is said


class Kept(msgspec.Struct, array_like=True):
    """In the order of their instants. `cut_at` is the newest instant at which an occurrence was given up for want of room, 0 without.

    `horizon_us` is how far behind the newest occurrence one can still matter; None when for ever. Totals are by stream: customers
    that are one have each their own events, and what is joined again adds nothing.
    """

    how: How
    horizon_us: int | None
    most: int
    occurrences: list[Occurrence] = []
    cut_at: int = 0
    totals: dict[str, Total] = {}  # by stream, in hexadecimal: a canonical encoding has no other keys than texts

    def __repr__(self) -> str:
        return f"<Kept {len(self.occurrences)} occurrences sealed>"


def add(kept: Kept, occurrences: Sequence[Occurrence], stream: bytes) -> None:
    """In place, of one stream, as `in_order` gives them. What comes of them is what adding one by one gives; one that is kept changes nothing."""
    if kept.how == "distinct":
        _insert_distinct(kept, occurrences)
    elif kept.how in ("newest", "all"):
        added = _insert(kept, occurrences)
        if kept.how == "all" and added:
            whose = stream.hex()
            kept.totals[whose] = plus(kept.totals.get(whose, NOTHING), [one[2] for one in added])  # type: ignore[misc]  # of numbers only
    else:
        kept.occurrences[:] = _of_all(kept.how, [*kept.occurrences, *occurrences])


def in_order(occurrences: list[Occurrence]) -> list[Occurrence]:
    """Each once, by its instant."""
    if len(occurrences) == 1:
        return occurrences
    occurrences.sort(key=_rank_of)
    return occurrences[:1] + [one for before, one in pairwise(occurrences) if before[:2] != one[:2]]


def joined(all_kept: Sequence[Kept], of_a_stream: Callable[[Iterable[Total]], Total]) -> Kept:
    """What is kept of the events of all, each counted once. None changes. `of_a_stream` makes one of several totals of one stream."""
    found = fork(all_kept[0])
    found.cut_at = max(kept.cut_at for kept in all_kept)
    found.occurrences = _of_all(found.how, [one for kept in all_kept for one in kept.occurrences])
    totals: dict[str, list[Total]] = {}
    for kept in all_kept:
        for stream, total in kept.totals.items():
            totals.setdefault(stream, []).append(total)
    found.totals = {stream: of_a_stream(several) for stream, several in totals.items()}
    _trim(found)
    return found


def fork(kept: Kept) -> Kept:
    return msgspec.structs.replace(kept, occurrences=list(kept.occurrences), totals=dict(kept.totals))


def total_of(kept: Kept) -> Total:
    """Of all that ever counted, where `how` is all."""
    return together(kept.totals.values())


def instant_of(occurrence: Occurrence) -> int:
    return occurrence[0]


def _rank_of(occurrence: Occurrence) -> tuple[int, bytes]:
    """Without the value: values can't all be compared."""
    return occurrence[:2]


def _insert(kept: Kept, occurrences: Sequence[Occurrence]) -> Sequence[Occurrence]:
    """Those that weren't kept."""
    held, added = kept.occurrences, occurrences
    if not held or held[-1][:2] < occurrences[0][:2]:  # nearly always
        held.extend(occurrences)
    else:
        added = _insert_late(held, occurrences)
    _trim(kept)
    return added


def _insert_late(held: list[Occurrence], occurrences: Sequence[Occurrence]) -> Sequence[Occurrence]:
    """Those that weren't held."""
    first = bisect_left(held, occurrences[0][:2], key=_rank_of)
    if len(occurrences) == 1:
        if held[first][:2] == occurrences[0][:2]:
            return []
        held.insert(first, occurrences[0])
        return occurrences
    end = bisect_right(held, occurrences[-1][:2], first, key=_rank_of)
    among = held[first:end]
    known = {one[:2] for one in among}
    added = [one for one in occurrences if one[:2] not in known]
    held[first:end] = sorted(among + added, key=_rank_of) if among else added
    return added


def _insert_distinct(kept: Kept, occurrences: Sequence[Occurrence]) -> None:
    if len(occurrences) > FEW:
        kept.occurrences = _of_all("distinct", [*kept.occurrences, *occurrences])
        _trim(kept)
        return
    for occurrence in occurrences:
        place = _place_of(occurrence[2], kept.occurrences)
        if place is not None and kept.occurrences[place][:2] >= occurrence[:2]:
            continue
        if place is not None:
            del kept.occurrences[place]
        _insert(kept, [occurrence])


def _place_of(value: Scalar, occurrences: Iterable[Occurrence]) -> int | None:
    for place, one in enumerate(occurrences):
        if one[2] == value and type(one[2]) is type(value):
            return place
    return None


def _rank(how: How, occurrence: Occurrence) -> tuple[float, int, bytes]:
    """The smaller wins; total, so that no order of events decides."""
    instant, event_id, value = occurrence
    if how == "earliest":
        return instant, 0, event_id
    assert isinstance(value, int | float), "only numbers are compared"
    return (value if how == "least" else -value), instant, event_id


def _of_all(how: How, occurrences: list[Occurrence]) -> list[Occurrence]:
    """Of many at once what adding them one by one would leave, but for those that there is no room for."""
    if how not in ("newest", "all", "distinct"):
        return [min(occurrences, key=lambda one: _rank(how, one))] if occurrences else []
    occurrences.sort(key=_rank_of)  # what each kept is in order, so this is quick
    if how == "distinct":
        newest = {(type(one[2]), one[2]): one for one in occurrences}
        return sorted(newest.values(), key=_rank_of)
    return occurrences[:1] + [one for before, one in pairwise(occurrences) if before[:2] != one[:2]]


def _trim(kept: Kept) -> None:
    held = kept.occurrences
    if kept.horizon_us is not None and held:
        oldest = held[-1][0] - kept.horizon_us
        if held[0][0] <= oldest:
            place = 1  # nearly always one, so they are counted and not searched for
            while held[place][0] <= oldest:
                place += 1
            del held[:place]
        if kept.cut_at <= oldest:
            kept.cut_at = 0
    if len(held) > kept.most:
        kept.cut_at = max(kept.cut_at, held[-kept.most - 1][0])
        del held[: -kept.most]
