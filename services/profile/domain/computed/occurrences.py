"""What is kept of the events that count for a computed trait: instants and values, whatever order they come in.

Keeping is idempotent, commutative and associative: what is kept of some events is a function of their set. Where all of them count,
for ever, there is a total of each stream besides, which has no bound: an event that is no longer among those kept must not come
again (`fold.evolve_to` sees to it). An event counts at
the instant it happened, but not after the one we received it at: so a read is never before what is kept, and what is behind a
window that ends at the newest occurrence is behind every window that is still read. However late an event comes, it lands where
it belongs.
"""

from bisect import bisect_left
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


def add(kept: Kept, occurrence: Occurrence, stream: bytes) -> None:
    """In place. Adding one that is kept changes nothing."""
    if _keep(kept, occurrence) and kept.how == "all":
        value = occurrence[2]
        assert value is None or isinstance(value, int | float), "only numbers are added up"
        whose = stream.hex()
        kept.totals[whose] = plus(kept.totals.get(whose, NOTHING), value)


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


def _keep(kept: Kept, occurrence: Occurrence) -> bool:
    """Whether it isn't one of those that are kept."""
    if kept.how in ("newest", "all"):
        return _insert(kept, occurrence)
    if kept.how == "distinct":
        return _insert_distinct(kept, occurrence)
    return _keep_winner(kept, occurrence)


def _insert(kept: Kept, occurrence: Occurrence) -> bool:
    held, rank = kept.occurrences, occurrence[:2]
    if not held or held[-1][:2] < rank:  # nearly always
        held.append(occurrence)
    else:
        place = bisect_left(held, rank, key=_rank_of)
        if held[place][:2] == rank:
            return False
        held.insert(place, occurrence)
    _trim(kept)
    return True


def _insert_distinct(kept: Kept, occurrence: Occurrence) -> bool:
    for place, held in enumerate(kept.occurrences):
        if held[2] == occurrence[2] and type(held[2]) is type(occurrence[2]):
            if held[:2] >= occurrence[:2]:
                return False
            del kept.occurrences[place]
            break
    return _insert(kept, occurrence)


def _keep_winner(kept: Kept, occurrence: Occurrence) -> bool:
    wins = not kept.occurrences or _rank(kept.how, occurrence) < _rank(kept.how, kept.occurrences[0])
    if wins:
        kept.occurrences[:] = [occurrence]
    return wins


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
