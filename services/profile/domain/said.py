"""What was said of a trait: each assertion by the id of its event, so that neither order nor repetition matters."""

from itertools import islice
from typing import Any, Final

import msgspec

MAX_ASSERTIONS: Final = 100  # of a trait, where a rule needs all; beyond it the earliest half and the latest half stay

Rank = tuple[int, int, bytes]  # occurred_at, received_at, event id: total, and the larger is the later


class Said(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An assertion as a state keeps it, under its event's id. The value is never None: a removal has a place of its own."""

    source: str
    value: Any
    occurred_at: int
    received_at: int

    def __repr__(self) -> str:
        return "<Said sealed>"


class Assertion(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A source said by an event that a trait has a value; None says that the trait was removed."""

    source: str
    value: Any
    occurred_at: int
    received_at: int
    event_id: bytes

    def __repr__(self) -> str:
        return "<Assertion sealed>"

    @property
    def rank(self) -> Rank:
        return self.occurred_at, self.received_at, self.event_id


def keep(kept: dict[bytes, Said], event_id: bytes, said: Said) -> bool:
    """Whether something had to go. Both ends stay by rank, which no order of arrival can change.

    `kept` is in the order of ranks, so that what comes in that order, as most does, needs no sorting.
    """
    latest = next(reversed(kept), None)
    kept[event_id] = said
    if latest is not None and _rank(event_id, said) < _rank(latest, kept[latest]):
        sort(kept)
    return cut_middle(kept)


def sort(kept: dict[bytes, Said]) -> None:
    ranked = sorted(kept.items(), key=lambda item: _rank(*item))
    kept.clear()
    kept.update(ranked)


def cut_middle(kept: dict[bytes, Said]) -> bool:
    """Whether there was more than fits. `kept` is in the order of ranks."""
    if len(kept) <= MAX_ASSERTIONS:
        return False
    for event_id in list(islice(kept, MAX_ASSERTIONS // 2, len(kept) - MAX_ASSERTIONS // 2)):
        del kept[event_id]
    return True


def _rank(event_id: bytes, said: Said) -> Rank:
    return said.occurred_at, said.received_at, event_id


def assertions(kept: dict[bytes, Said]) -> list[Assertion]:
    return [Assertion(one.source, one.value, one.occurred_at, one.received_at, event_id) for event_id, one in kept.items()]
