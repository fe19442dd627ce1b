"""How much speaks for two records being one person (Fellegi and Sunter, A Theory for Record Linkage, 1969). Pure.

The weight is the sum of its parts, in bits: the prior, one part for each comparison, and one for how rare the values are.
"""

from collections.abc import Callable
from typing import NamedTuple

from services.identity.matching.model import Comparison, Level, Model
from services.identity.matching.record import Person

Weigh = Callable[[Person, Person], float]


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


class Scorer:
    def __init__(self, model: Model) -> None:
        self.model = model
        self._prior = model.prior_weight
        self._weighers = [_weigher(comparison.levels) for comparison in model.comparisons]

    def weigh(self, one: Person, other: Person) -> float:
        """Bits; as `explain`, in a fraction of its time."""
        total = self._prior
        for weigh in self._weighers:
            total += weigh(one, other)
        return total

    def explain(self, one: Person, other: Person) -> Explanation:
        parts = tuple(_part(comparison, one, other) for comparison in self.model.comparisons)
        total = self._prior
        for part in parts:
            total += part.weight + part.term_weight
        return Explanation(self.model.version, self._prior, parts, total)


def level_of(comparison: Comparison, one: Person, other: Person) -> Level:
    return comparison.levels[level_index(comparison.levels, one, other)]


def level_index(levels: tuple[Level, ...], one: Person, other: Person) -> int:
    """The first that holds; the last always does (`model.load` sees to it)."""
    for place, level in enumerate(levels):
        if level.holds(one, other):
            return place
    return len(levels) - 1


def _part(comparison: Comparison, one: Person, other: Person) -> Part:
    level = level_of(comparison, one, other)
    term = level.term.weigh(one[level.term.column], other[level.term.column]) if level.term else 0.0
    return Part(comparison.name, level.label, level.weight, term, level.m, level.u)


def _weigher(levels: tuple[Level, ...]) -> Weigh:
    """Flat tuples: this is where most of the time goes."""
    flat = [(level.holds, level.weight, level.term) for level in levels]

    def weigh(one: Person, other: Person) -> float:
        for holds, weight, term in flat:
            if holds(one, other):
                return weight if term is None else weight + term.weigh(one[term.column], other[term.column])
        return 0.0

    return weigh
