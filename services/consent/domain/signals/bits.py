"""Bits of a segment: base64url without padding, the most significant bit first, as IAB's strings are written.

Sources: IAB Tech Lab, "Transparency and Consent String with Global Vendor & CMP List Formats" and "Global Privacy
Platform String", section "Section Encoding".
"""

import re
import string
from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

from services.consent.domain.signals.signal import Sealed, malformed, truncated

ALPHABET: Final = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
SIXES: Final = {letter: f"{value:06b}" for value, letter in enumerate(ALPHABET)}
FIBONACCI: Final = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987, 1597, 2584, 4181, 6765, 10946, 17711, 28657, 46368)
ONES = re.compile("1+")


class Vendors(Sealed, frozen=True, kw_only=True):
    """Ids of vendors as (first, last), ascending and apart: what one range says costs the same however many ids are in it."""

    ranges: tuple[tuple[int, int], ...] = ()

    def __contains__(self, vendor: int) -> bool:
        at = bisect_right(self.ranges, (vendor, vendor)) - 1
        return any(first <= vendor <= last for first, last in self.ranges[max(at, 0) : at + 2])

    @classmethod
    def of(cls, ranges: Iterable[tuple[int, int]]) -> "Vendors":
        joined: list[tuple[int, int]] = []
        for first, last in sorted(ranges):
            if joined and first <= joined[-1][1] + 1:
                joined[-1] = (joined[-1][0], max(joined[-1][1], last))
            else:
                joined.append((first, last))
        return cls(ranges=tuple(joined))


class Bits:
    """Reads a segment from left to right. Every method raises InvalidInput (SIGNAL_TRUNCATED, SIGNAL_MALFORMED).

    Bits after the last that is read are padding: encoders fill up to six, eight or twenty-four of them.
    """

    def __init__(self, text: str) -> None:
        try:
            self._bits = "".join([SIXES[letter] for letter in text])
        except KeyError:
            raise malformed("a segment has letters, digits, '-' and '_'") from None
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._bits) - self._at

    def number(self, width: int) -> int:
        return int(self._take(width), 2)

    def flag(self) -> bool:
        return self._take(1) == "1"

    def letters(self, count: int) -> str:
        """Capitals, six bits each, A is 0."""
        values = [self.number(6) for _ in range(count)]
        if any(value >= len(string.ascii_uppercase) for value in values):
            raise malformed("a language or country is two letters")
        return "".join(string.ascii_uppercase[value] for value in values)

    def ids(self, width: int) -> tuple[int, ...]:
        """A bit field: the places of its ones, the first place is 1."""
        return tuple(place for place, bit in enumerate(self._take(width), 1) if bit == "1")

    def vendors(self) -> Vendors:
        """The highest id (16 bits), then a bit for each, or ranges (OptimizedIntRange of GPP)."""
        highest = self.number(16)
        if not self.flag():
            field = self._take(highest)
            return Vendors.of((ones.start() + 1, ones.end()) for ones in ONES.finditer(field))
        vendors = self.ranges()
        if vendors.ranges and vendors.ranges[-1][1] > highest:
            raise malformed("a vendor is beyond the highest announced")
        return vendors

    def ranges(self) -> Vendors:
        """How many (12 bits), and each alone or from first to last (16 bits each)."""
        found = []
        for _ in range(self.number(12)):
            is_range, first = self.flag(), self.number(16)
            last = self.number(16) if is_range else first
            if not 0 < first <= last:
                raise malformed("a range of vendors goes from a first to a later one; ids begin at 1")
            found.append((first, last))
        return Vendors.of(found)

    def fibonacci(self) -> int:
        """Fibonacci coding: the sum of the numbers whose bit is set; it ends with the first two ones in a row."""
        end = self._bits.find("11", self._at)
        if end < 0:
            raise truncated()
        if end - self._at >= len(FIBONACCI):
            raise malformed("a number is too large")
        code = self._take(end + 1 - self._at)
        self._at += 1
        return sum(number for number, bit in zip(FIBONACCI, code, strict=False) if bit == "1")

    def _take(self, width: int) -> str:
        end = self._at + width
        if end > len(self._bits):
            raise truncated()
        taken, self._at = self._bits[self._at : end], end
        return taken
