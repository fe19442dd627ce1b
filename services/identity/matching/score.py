"""How much speaks for two records being one person (Fellegi and Sunter, A Theory for Record Linkage, 1969). Pure.

The weight is the sum of its parts, in bits: the prior, one part for each comparison, one for how rare the values are, and
what is taken away because two of a family would look like this too (`family`).
"""

from collections.abc import Callable
from math import log2
from typing import NamedTuple

import msgspec

from services.identity.matching.model import Comparison, Level, Model
from services.identity.matching.record import Person

# Bits; how many times as often as strangers a family agrees so; and as others of a family its twins.
Said = tuple[float, float, float]
Weigh = Callable[[Person, Person], Said]
FAMILY = "family"
FAMILY_LEVEL = "two of a family would look like this too"


class Part(NamedTuple):
    """What one comparison says. `m` and `u`: how often one person's and two people's records agree so; None where unknown."""

    comparison: str
    level: str
    weight: float
    term_weight: float = 0.0
    m: float | None = None
    u: float | None = None


class Explanation(NamedTuple):
    """`weight` is the sum of `prior_weight` and of all that the parts weigh, in their order."""

    model: str
    prior_weight: float
    parts: tuple[Part, ...]
    weight: float


class Agreement(msgspec.Struct, frozen=True, array_like=True):
    """How two records agree, without any value: of each comparison of a model the number of its level, and the bits that depend on values."""

    levels: tuple[int, ...]
    terms: dict[int, float]  # by number of the comparison: bits for how rare the values are
    family: float  # bits


class Scorer:
    def __init__(self, model: Model) -> None:
        self.model = model
        self._prior = model.prior_weight
        self._weighers = [_weigher(comparison.levels) for comparison in model.comparisons]

    def weigh(self, one: Person, other: Person) -> float:
        """Bits; as `explain`, in a fraction of its time."""
        weight, odds = self._weigh(one, other)
        return weight + family_weight(odds)

    def weigh_twice(self, one: Person, other: Person) -> tuple[float, float]:
        """Bits as `weigh`, and where neither could be of anybody else, as two sources have each person once.

        Two of a family they are then only if both are absent, each from the source that has the other.
        """
        weight, odds = self._weigh(one, other)
        return weight + family_weight(odds), weight + family_weight(odds * self.model.family.absent**2)

    def related(self, one: Person, other: Person) -> bool:
        """Whether they are rather one person or of a family than strangers."""
        weight, odds = self._weigh(one, other)
        return bool(2.0**weight + odds > 1.0)

    def _weigh(self, one: Person, other: Person) -> tuple[float, float]:
        """Bits for one person against strangers, and the odds of a family against strangers."""
        total, times, twin = self._prior, 1.0, 1.0
        for weigh in self._weighers:
            weight, as_family, as_twin = weigh(one, other)
            total += weight
            times *= as_family
            twin *= as_twin
        return total, self.model.family.odds(times, twin)

    def explain(self, one: Person, other: Person) -> Explanation:
        return self.told(self.agreement(one, other))

    def agreement(self, one: Person, other: Person) -> Agreement:
        levels, terms = [], {}
        for place, comparison in enumerate(self.model.comparisons):
            levels.append(level_index(comparison.levels, one, other))
            term = comparison.levels[levels[-1]].term
            if term is not None:
                terms[place] = term.weigh(one[term.column], other[term.column])
        return Agreement(tuple(levels), terms, family_weight(self._weigh(one, other)[1]))

    def told(self, agreement: Agreement) -> Explanation:
        """Of records that were compared by this model, whatever has become of them."""
        parts = []
        for place, (comparison, number) in enumerate(zip(self.model.comparisons, agreement.levels, strict=True)):
            level = comparison.levels[number]
            parts.append(Part(comparison.name, level.label, level.weight, agreement.terms.get(place, 0.0), level.m, level.u))
        parts.append(Part(FAMILY, FAMILY_LEVEL, agreement.family))
        total = self._prior
        for part in parts:
            total += part.weight + part.term_weight
        return Explanation(self.model.version, self._prior, tuple(parts), total)


def family_weight(odds: float) -> float:
    """Never above nothing. `odds` that two who aren't one person are of a family and not strangers, by all that agrees."""
    return -log2(1.0 + odds)


def level_of(comparison: Comparison, one: Person, other: Person) -> Level:
    return comparison.levels[level_index(comparison.levels, one, other)]


def level_index(levels: tuple[Level, ...], one: Person, other: Person) -> int:
    """The first that holds; the last always does (`model.load` sees to it)."""
    for place, level in enumerate(levels):
        if level.holds(one, other):
            return place
    return len(levels) - 1


def _weigher(levels: tuple[Level, ...]) -> Weigh:
    """Flat tuples: this is where most of the time goes."""
    flat = [(level.holds, (level.weight, level.family_times(0.0), level.twin), level.term, level) for level in levels]

    def weigh(one: Person, other: Person) -> Said:
        for holds, said, term, level in flat:
            if holds(one, other):
                if term is None:
                    return said
                more = term.weigh(one[term.column], other[term.column])
                return level.weight + more, level.family_times(more), level.twin
        return 0.0, 1.0, 1.0

    return weigh
