"""What is kept of answers, so that it needn't be sent again. Bounded in number, size and age; kept apart by purpose."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

VERDICT_AT_MOST_S: Final = 3.0  # as long as any verdict may be used, whatever the clocks of both sides say


@dataclass(frozen=True)
class Caching:
    """How much is kept. A profile at hand is never used without asking whether it still may be, and is still the same: what it saves
    is sending. A verdict at hand is used for 3 s at most: within these, what others than this client record isn't seen, so
    none are kept unless `verdicts` says how many."""

    profiles: int = 1_000
    profile_bytes: int = 16 * 1024 * 1024
    profile_age_s: float = 300.0  # of somebody who isn't asked for again, nothing personal stays for longer, once others are
    verdicts: int = 0


@dataclass(frozen=True)
class Kept:
    tag: str
    content: bytes
    until: float  # by the clock


class Cache:
    """Least recently kept first out. For all threads."""

    def __init__(self, entries: int, size_bytes: int, clock: Callable[[], float]) -> None:
        self._entries = entries
        self._size_bytes = size_bytes
        self._clock = clock
        self._kept: OrderedDict[tuple[bytes, ...], Kept] = OrderedDict()
        self._taken_bytes = 0
        self._epoch = 0
        self._turn = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size_bytes(self) -> int:
        return self._taken_bytes

    @property
    def epoch(self) -> int:
        """Another one after each `clear`."""
        return self._epoch

    def find(self, key: tuple[bytes, ...]) -> Kept | None:
        with self._turn:
            found = self._kept.get(key)
            if found is None or found.until > self._clock():
                return found
            self._drop(key)
            return None

    def keep(self, key: tuple[bytes, ...], kept: Kept, epoch: int) -> None:
        """Unless all was dropped since `epoch`: then it may be from before."""
        with self._turn:
            self._drop(key)
            if epoch != self._epoch or self._entries == 0:
                return
            self._kept[key] = kept
            self._taken_bytes += _size(key, kept)
            while self._kept and (self._is_full() or next(iter(self._kept.values())).until <= self._clock()):
                self._drop(next(iter(self._kept)))

    def drop(self, key: tuple[bytes, ...]) -> None:
        with self._turn:
            self._drop(key)

    def clear(self) -> None:
        with self._turn:
            self._epoch += 1
            self._kept.clear()
            self._taken_bytes = 0

    def _is_full(self) -> bool:
        return len(self._kept) > self._entries or self._taken_bytes > self._size_bytes

    def _drop(self, key: tuple[bytes, ...]) -> None:
        if (dropped := self._kept.pop(key, None)) is not None:
            self._taken_bytes -= _size(key, dropped)


def _size(key: tuple[bytes, ...], kept: Kept) -> int:
    return len(kept.content) + sum(map(len, key))
