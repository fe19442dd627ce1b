"""How many events count and what their values add up to: exactly, however many there are and in whatever order they came.

A sum is kept in parts. The first is the sum, correctly rounded (`math.fsum`), and each further one what is missing yet, correctly
rounded again: so equal sums are kept alike. Of amounts of money there are one or two parts, and never more than 40, which is what
the range of a float has room for.
"""

import math
from collections.abc import Iterable, Sequence

import msgspec


class Total(msgspec.Struct, frozen=True, array_like=True, gc=False):
    count: int = 0
    parts: tuple[float, ...] = ()

    def __repr__(self) -> str:
        return f"<Total of {self.count} sealed>"

    @property
    def sum(self) -> float:
        return self.parts[0] if self.parts else 0.0


NOTHING = Total()


def plus(total: Total, values: Sequence[float | None]) -> Total:
    """With some more."""
    numbers = [value for value in values if value is not None]
    return Total(total.count + len(values), _parts([*total.parts, *numbers]) if numbers else total.parts)


def furthest(totals: Iterable[Total]) -> Total:
    """Of totals of one stream as it went on: the one that has the others in it."""
    return max(totals, key=lambda one: one.count)


def together(totals: Iterable[Total]) -> Total:
    """Of totals that have no event in common."""
    found = list(totals)
    if len(found) == 1:
        return found[0]
    return Total(sum(one.count for one in found), _parts([part for one in found for part in one.parts]))


def _parts(terms: list[float]) -> tuple[float, ...]:
    """Of the sum of the terms, to which it adds what it took of them."""
    found: list[float] = []
    while part := math.fsum(terms):
        found.append(part)
        terms.append(-part)
    return tuple(found)
