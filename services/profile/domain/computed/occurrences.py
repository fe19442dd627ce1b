"""What is kept of the events that count for a computed trait: instants and values, whatever order they come in.

Keeping is idempotent, commutative and associative: what is kept of some events is a function of their set. An event counts at
the instant it happened, but not after the one we received it at: so a read is never before what is kept, and what is behind a
window that ends at the newest occurrence is behind every window that is still read. However late an event comes, it lands where
it belongs.
"""

from bisect import bisect_left
from typing import Literal

import msgspec

Scalar = str | bool | int | float | None
Occurrence = tuple[int, bytes, Scalar]  # instant, event id, value

# newest: of all events. distinct: of each value its newest. The others are the one occurrence that wins.
How = Literal["newest", "distinct", "earliest", "least", "greatest"]

MAX_OCCURRENCES = 1_000  # of one computed trait of one customer, some 40 bytes each; what is cut is said


class Kept(msgspec.Struct, array_like=True):
    """In the order of their instants. `cut_at` is the newest instant at which an occurrence was given up for want of room, 0 without.

    `horizon_us` is how far behind the newest occurrence one can still matter; None when for ever.
    """

    how: How
    horizon_us: int | None
    most: int
    occurrences: list[Occurrence] = []
    cut_at: int = 0

    def __repr__(self) -> str:
        return f"<Kept {len(self.occurrences)} occurrences sealed>"


def add(kept: Kept, occurrence: Occurrence) -> None:
    """In place. Adding it again changes nothing."""
    if kept.how == "newest":
        _insert(kept, occurrence)
    elif kept.how == "distinct":
        _insert_distinct(kept, occurrence)
    else:
        _keep_winner(kept, occurrence)


def join(one: Kept, other: Kept) -> Kept:
    """What is kept of the events of both. Neither changes."""
    larger, smaller = (one, other) if len(one.occurrences) >= len(other.occurrences) else (other, one)
    joined = fork(larger)
    joined.cut_at = max(one.cut_at, other.cut_at)
    for occurrence in smaller.occurrences:
        add(joined, occurrence)
    _trim(joined)
    return joined


def fork(kept: Kept) -> Kept:
    return msgspec.structs.replace(kept, occurrences=list(kept.occurrences))


def instant_of(occurrence: Occurrence) -> int:
    return occurrence[0]


def _rank_of(occurrence: Occurrence) -> tuple[int, bytes]:
    """Without the value: values can't all be compared."""
    return occurrence[:2]


def _insert(kept: Kept, occurrence: Occurrence) -> None:
    held, rank = kept.occurrences, occurrence[:2]
    if not held or held[-1][:2] < rank:  # nearly always
        held.append(occurrence)
    else:
        place = bisect_left(held, rank, key=_rank_of)
        if held[place][:2] == rank:
            return
        held.insert(place, occurrence)
    _trim(kept)


def _insert_distinct(kept: Kept, occurrence: Occurrence) -> None:
    for place, held in enumerate(kept.occurrences):
        if held[2] == occurrence[2] and type(held[2]) is type(occurrence[2]):
            if held[:2] >= occurrence[:2]:
                return
            del kept.occurrences[place]
            break
    _insert(kept, occurrence)


def _keep_winner(kept: Kept, occurrence: Occurrence) -> None:
    if not kept.occurrences or _rank(kept.how, occurrence) < _rank(kept.how, kept.occurrences[0]):
        kept.occurrences[:] = [occurrence]


def _rank(how: How, occurrence: Occurrence) -> tuple[float, int, bytes]:
    """The smaller wins; total, so that no order of events decides."""
    instant, event_id, value = occurrence
    if how == "earliest":
        return instant, 0, event_id
    assert isinstance(value, int | float), "only numbers are compared"
    return (value if how == "least" else -value), instant, event_id


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
