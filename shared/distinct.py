"""How many different ones came in a while: a Bloom filter (B. H. Bloom, 1970) and a count, in memory that the bound alone fixes.

What came before is always known again, so whoever keeps to the bound is never refused. Of new ones one in a thousand at most is taken
for one that came, so a little more than the bound may get through.
"""

from collections.abc import Collection
from typing import Final

BITS_EACH: Final = 16
POSITIONS: Final = 6
SHIFTS: Final = range(0, 32 * POSITIONS, 32)


class Distinct:
    """At most `most` of them in `span_s` seconds from the first on; then the counting begins anew. Instants are seconds."""

    __slots__ = ("_began", "_bits", "_count", "_mask", "_most", "_span_s")

    def __init__(self, most: int, span_s: float, now: float) -> None:
        self._most = most
        self._span_s = span_s
        self._mask = (1 << max(most * BITS_EACH - 1, 63).bit_length()) - 1
        self._begin(now)

    def take(self, keys: Collection[bytes], now: float) -> float:
        """0 when they were taken, all of them, or all had come before; else in how many seconds it is worth trying again, and none was.

        `keys` are as good as random, 24 bytes long at least.
        """
        if now >= self._began + self._span_s:
            self._begin(now)
        new = {places for key in keys if not self._has(places := self._places(key))}
        if not new:
            return 0.0
        if self._count + len(new) > self._most:
            return self._began + self._span_s - now
        self._count += len(new)
        for places in new:
            for place in places:
                self._bits[place >> 3] |= 1 << (place & 7)
        return 0.0

    @property
    def count(self) -> int:
        return self._count

    def _begin(self, now: float) -> None:
        self._bits = bytearray((self._mask + 1) // 8)
        self._began = now
        self._count = 0

    def _places(self, key: bytes) -> tuple[int, ...]:
        whole, mask = int.from_bytes(key), self._mask
        return tuple([whole >> shift & mask for shift in SHIFTS])

    def _has(self, places: tuple[int, ...]) -> bool:
        bits = self._bits
        return all(bits[place >> 3] >> (place & 7) & 1 for place in places)
