"""Which keys stay where there is only so much room: those of the smallest rank, a choice that no order of arrival can change."""

from bisect import bisect_left
from collections.abc import Callable, Collection
from typing import Generic, TypeVar

K = TypeVar("K", str, bytes)


class Ranked(Generic[K]):
    """The keys of a full mapping in the order of their ranks, so that one more costs a look-up and not a look at all of them."""

    def __init__(self, keys: Collection[K], rank: Callable[[K], bytes]) -> None:
        self._rank: Callable[[K], bytes] = rank
        self._ranked: list[tuple[bytes, K]] = sorted((rank(key), key) for key in keys)

    def add(self, key: K) -> None:
        """One that is in it changes nothing."""
        place = bisect_left(self._ranked, one := (self._rank(key), key))
        if place == len(self._ranked) or self._ranked[place] != one:
            self._ranked.insert(place, one)

    def beyond(self, most: int) -> list[K]:
        """The keys for which there is no room; they are out."""
        out = [key for _, key in self._ranked[most:]]
        del self._ranked[most:]
        return out
