"""Writes signals as the specifications say, another way than they are read: numbers are shifted into one, not cut from text."""

import base64
from collections.abc import Callable, Iterable
from typing import TypeVar

from hypothesis import strategies as st

from services.consent.domain.signals.signal import Signal
from shared.errors import InvalidInput

S = TypeVar("S", bound=Signal)
REASONS = {"SIGNAL_TOO_LONG", "SIGNAL_MALFORMED", "SIGNAL_TRUNCATED", "SIGNAL_VERSION_UNKNOWN"}


class Writer:
    def __init__(self) -> None:
        self.value = 0
        self.width = 0

    def put(self, value: int, width: int) -> "Writer":
        assert 0 <= value < 1 << width
        self.value, self.width = self.value << width | value, self.width + width
        return self

    def put_ids(self, ids: Iterable[int], width: int) -> "Writer":
        return self.put(sum(1 << (width - place) for place in set(ids)), width)

    def put_letters(self, letters: str) -> "Writer":
        for letter in letters:
            self.put(ord(letter) - ord("A"), 6)
        return self

    def put_ranges(self, vendors: Iterable[int], grouped: bool) -> "Writer":
        entries = groups(vendors) if grouped else [(vendor, vendor) for vendor in vendors]
        self.put(len(entries), 12)
        for first, last in entries:
            self.put(first != last, 1).put(first, 16)
            if first != last:
                self.put(last, 16)
        return self

    def put_vendors(self, vendors: set[int], how: str) -> "Writer":
        highest = max(vendors, default=0)
        if highest > 2_000:
            how = "groups"  # nobody writes a bit for each of so many
        self.put(highest, 16).put(how != "field", 1)
        return self.put_ids(vendors, highest) if how == "field" else self.put_ranges(sorted(vendors), how == "groups")

    def put_fibonacci(self, number: int) -> "Writer":
        numbers = [1, 2]
        while numbers[-1] <= number:
            numbers.append(numbers[-1] + numbers[-2])
        bits: list[int] = []
        for candidate in reversed(numbers):
            if candidate <= number:
                number -= candidate
                bits.append(1)
            elif bits:
                bits.append(0)
        for bit in [*reversed(bits), 1]:
            self.put(bit, 1)
        return self

    def text(self, padding: int = 6) -> str:
        """Filled up to a multiple of so many bits, then as the standard library writes base64url."""
        width = self.width + -self.width % padding
        letters = -(-width // 6)
        octets = -(-letters * 6 // 8)
        filled = self.value << (octets * 8 - self.width)
        return base64.urlsafe_b64encode(filled.to_bytes(octets)).decode()[:letters]


def groups(vendors: Iterable[int]) -> list[tuple[int, int]]:
    """Neighbours together, as (first, last)."""
    found: list[tuple[int, int]] = []
    for vendor in sorted(vendors):
        if found and found[-1][1] + 1 == vendor:
            found[-1] = (found[-1][0], vendor)
        else:
            found.append((vendor, vendor))
    return found


HOW = st.sampled_from(["field", "singles", "groups"])
PADDINGS = st.sampled_from([6, 8, 24])
# Near one another, so that there are groups; and up to the highest there can be.
VENDORS = st.sets(st.integers(1, 40) | st.integers(1, 2_000), max_size=20) | st.just({65_535}) | st.just({1, 65_534, 65_535})
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def read_or_refused(decode: Callable[[str], S], text: str) -> S | None:
    """Nothing else may come of it, and no log line repeats what was read."""
    try:
        signal = decode(text)
    except InvalidInput as error:
        refused = error
    else:
        assert signal.raw == text
        assert repr(signal) == f"<{type(signal).__name__} sealed>"
        return signal
    assert refused.reason in REASONS
    return None
