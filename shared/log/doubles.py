"""Finds events that stand in their stream twice, over millions of events, in 16 bytes each. Pure.

A fingerprint of 64 bits stands for (stream, event id). Python keys the hash anew in each process, so nobody can prepare two
that look alike; by chance, one in 400,000 logs of ten million events has such a pair.
"""

from array import array
from collections.abc import Iterator

BUCKETS = 256  # sorted one after the other, so that sorting needs little memory


class Doubles:
    def __init__(self) -> None:
        self._fingerprints = [array("q") for _ in range(BUCKETS)]
        self._positions = [array("q") for _ in range(BUCKETS)]

    def add(self, stream: bytes, event_id: bytes, position: int) -> None:
        fingerprint = hash((stream, event_id))
        self._fingerprints[fingerprint % BUCKETS].append(fingerprint)
        self._positions[fingerprint % BUCKETS].append(position)

    def ranges(self) -> list[tuple[int, int]]:
        """(first, last) position of events that stood there before; neighbours are one range."""
        found: list[tuple[int, int]] = []
        for position in sorted(self._repeated()):
            if found and found[-1][1] == position - 1:
                found[-1] = found[-1][0], position
            else:
                found.append((position, position))
        return found

    def _repeated(self) -> Iterator[int]:
        for fingerprints, positions in zip(self._fingerprints, self._positions, strict=True):
            last = None
            for fingerprint, position in sorted(zip(fingerprints, positions, strict=True)):
                if fingerprint == last:
                    yield position
                last = fingerprint
