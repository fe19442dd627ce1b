"""What is being settled while events go on, and what they change of it meanwhile. Pure."""

from collections.abc import Collection
from dataclasses import dataclass, field


@dataclass(slots=True)
class Flight:
    """All are value hashes. `hashes` are what is settled: events that touch it wait. `founded` got customers of their own meanwhile."""

    hashes: frozenset[bytes] = frozenset()
    changed: set[bytes] = field(default_factory=set)
    founded: set[bytes] = field(default_factory=set)
    left: set[bytes] = field(default_factory=set)  # to be settled once more: a match came, or went
    lost: bool = False  # facts were taken away

    def holds(self, written: Collection[bytes]) -> bool:
        """Whether what was found still is so, and can be written."""
        return not self.lost and self.changed.isdisjoint(self.hashes) and self.changed.isdisjoint(written)
