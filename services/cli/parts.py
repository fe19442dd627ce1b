"""A request that ingest finds too large goes in parts, one after the other, so that events arrive in their order.

A source may be allowed fewer events a request than a client would send; a proxy may take smaller bodies. What the first such
refusal told is remembered for the requests after it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")

COUNT, SIZE = "BATCH_TOO_LONG", "BODY_TOO_LARGE"


class TooLarge(Exception):
    """Nothing of the request was taken. `reason` is COUNT or SIZE; `limit` is how many events may come, 0 where that isn't told."""

    def __init__(self, reason: str, message: str, limit: int = 0) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message
        self.limit = limit


class Parts:
    """What is known of the most events that a request may have."""

    def __init__(self) -> None:
        self._most: int | None = None

    def send(
        self, items: Sequence[Item], send: Callable[[Sequence[Item]], Answer], refuse: Callable[[Item, TooLarge], Answer]
    ) -> Iterator[tuple[Sequence[Item], Answer]]:
        """Every part with its answer. `send` raises TooLarge; `refuse` answers for an item that is too large all alone."""
        waiting = deque(_cut(items, self._most or len(items)))
        while waiting:
            part = waiting.popleft()
            try:
                answer = send(part)
            except TooLarge as refusal:
                if len(part) > 1:
                    waiting.extendleft(reversed(_cut(part, self._smaller(len(part), refusal))))
                    continue
                answer = refuse(part[0], refusal)
            yield part, answer

    def _smaller(self, events: int, refusal: TooLarge) -> int:
        """A limit that isn't below what was refused tells nothing: then by halves."""
        told = 0 < refusal.limit < events
        most = refusal.limit if told else events // 2
        if refusal.reason == COUNT:
            self._most = most
        return most


def _cut(items: Sequence[Item], most: int) -> list[Sequence[Item]]:
    return [items[begin : begin + most] for begin in range(0, len(items), max(1, most))]
