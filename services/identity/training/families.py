"""Learns how many pairs are of a family and what families share, beside the rest (`maximise`). Pure.

What a person has alone families don't share, but for the birth date of few: that is fixed, and keeps the three kinds of pairs
apart while they are learnt. Where records are few it isn't concluded that there are no families: some are always expected.
"""

from collections.abc import Collection, Sequence

from services.identity.matching.family import Family, is_personal
from services.identity.matching.model import Comparison

EXPECTED_PAIRS = 20.0  # of a family, in addition to those that are found
EXPECTED_SHARED = 0.5  # of those, how many agree in a field that families share
EXPECTED_TWINS = 0.01
MOST_TWINS = 0.05  # more would be one person's records with another given name
AT_FIRST = 0.9  # what families share, before anything is learnt
MOST_SHARE = 0.5


class Families:
    """Sums up one round. `times` are, by comparison, how many times as often as strangers one person's records agree so."""

    def __init__(self, comparisons: Sequence[Comparison], before: Family) -> None:
        self._before = before
        self._levels = [comparison.levels for comparison in comparisons]
        self._shared = [(number, c.name) for number, c in enumerate(comparisons) if c.name in before.shared]
        self._birth = [number for number, comparison in enumerate(comparisons) if "birth_date" in comparison.about]
        self._total = self._twins = self._born = 0.0
        self._seen = dict.fromkeys(before.shared, 0.0)
        self._agreed = dict.fromkeys(before.shared, 0.0)

    def odds(self, times: Sequence[float], twin: float) -> float:
        """Of a family and not strangers. `twin`: as of `Family.odds`."""
        shared = 1.0
        for number, name in self._shared:
            part = self._before.shared[name]
            shared *= 1 - part + part * times[number]
        return self._before.odds(shared, twin)

    def add(self, times: Sequence[float], twin: float, places: Sequence[int], pairs: float) -> None:
        """`pairs` of a family are expected among those that agree so."""
        self._total += pairs
        for number, name in self._shared:
            if self._levels[number][places[number]].m is not None:
                self._seen[name] += pairs
                self._agreed[name] += pairs * _agreeing(self._before.shared[name], times[number])
        if any(self._levels[number][places[number]].m is not None for number in self._birth):
            self._born += pairs
            self._twins += pairs * _agreeing(self._before.twins, twin)

    def learnt(self, all_pairs: int) -> Family:
        shared = {name: _share(agreed, self._seen[name], EXPECTED_SHARED) for name, agreed in self._agreed.items()}
        twins = min(_share(self._twins, self._born, EXPECTED_TWINS), MOST_TWINS)
        return Family(share=min((self._total + EXPECTED_PAIRS) / all_pairs, MOST_SHARE), shared=shared, twins=twins)


def begin(comparisons: Collection[Comparison], share: float) -> Family:
    """Before anything is learnt. As many pairs are of a family as of one person."""
    shared = {comparison.name: AT_FIRST for comparison in comparisons if not is_personal(comparison.about)}
    return Family(share=share, shared=shared, twins=EXPECTED_TWINS)


def _agreeing(part: float, times: float) -> float:
    """Of those who agree so, how many do as one person's records would, when `part` of all do."""
    return part * times / (1 - part + part * times)


def _share(agreed: float, seen: float, expected: float) -> float:
    return (agreed + EXPECTED_PAIRS * expected) / (seen + EXPECTED_PAIRS)
