"""A few of many, spread over all of them. Pure."""

import hashlib
import heapq
from typing import Generic, TypeVar

T = TypeVar("T")


class Sample(Generic[T]):
    """Those whose names have the smallest keyed hashes (bottom-k sampling), at most `size`: the same ones in whatever order."""

    def __init__(self, size: int, key: bytes) -> None:
        self._size = size
        self._key = key
        self._kept: list[tuple[int, int, T]] = []  # the largest hash is the first to go
        self._offered = 0

    def offer(self, name: bytes, item: T) -> None:
        """No two of the same name."""
        self._offered += 1
        place = int.from_bytes(hashlib.blake2b(name, digest_size=16, key=self._key, person=b"sample").digest())
        heapq.heappush(self._kept, (-place, self._offered, item))
        if len(self._kept) > self._size:
            heapq.heappop(self._kept)

    @property
    def items(self) -> list[T]:
        """By hash."""
        return [item for _, _, item in sorted(self._kept, key=lambda one: -one[0])]
