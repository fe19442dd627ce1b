"""Expectation maximisation over all comparisons at once, on the pairs that blocks propose. Pure.

A block hides what it is made of: on pairs of one birth date nobody learns how birth dates differ. On the pairs of all blocks
together every comparison is learnt, since each pair of one person shares some block that doesn't look at it. u stays as it was.

Three kinds of pairs are told apart: of one person, of a family (`matching/family`), of strangers. Without the second, families,
which share an address, a telephone and a mailbox, would teach that one person has several given names.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from math import log2, prod
from typing import NamedTuple

from services.identity.matching.family import Family, as_twin
from services.identity.matching.model import Comparison, Model, probability_of
from services.identity.matching.record import Person
from services.identity.matching.score import level_index
from services.identity.training.comparisons import whole
from services.identity.training.families import Families, begin

MOST_ROUNDS = 60
CLOSE_ENOUGH = 1e-5  # of every m, and of what families share
TERM_STEPS = 4  # term weights are told apart by a quarter of a bit

Pattern = tuple[tuple[int, ...], tuple[int, ...]]  # of each comparison its level, and what its term weighs in TERM_STEPS


class Maximised(NamedTuple):
    m: list[list[float]]  # by comparison and level; of null levels 0
    prior: float
    family: Family


def patterns(model: Model, pairs: Iterable[tuple[Person, Person]]) -> Counter[Pattern]:
    found: Counter[Pattern] = Counter()
    for one, other in pairs:
        places = tuple(level_index(comparison.levels, one, other) for comparison in model.comparisons)
        terms = [comparison.levels[place].term for comparison, place in zip(model.comparisons, places, strict=True)]
        weights = tuple(round(term.weigh(one[term.column], other[term.column]) * TERM_STEPS) if term else 0 for term in terms)
        found[places, weights] += 1
    return found


def maximise(model: Model, counts: Counter[Pattern], all_pairs: int, least: float) -> Maximised:
    m = [[level.m or 0.0 for level in comparison.levels] for comparison in model.comparisons]
    prior = probability_of(model.prior_weight)
    found = Maximised(m, prior, begin(model.comparisons, prior))
    for _ in range(MOST_ROUNDS):
        before = found
        found = _round(model, before, counts, all_pairs, least)
        if all(abs(one - other) < CLOSE_ENOUGH for one, other in zip(_learnt(before), _learnt(found), strict=True)):
            break
    return found


def _learnt(found: Maximised) -> list[float]:
    return [*chain.from_iterable(found.m), *found.family.shared.values(), found.family.twins]


def _round(model: Model, before: Maximised, counts: Counter[Pattern], all_pairs: int, least: float) -> Maximised:
    times = [_times(shares, comparison) for shares, comparison in zip(before.m, model.comparisons, strict=True)]
    twins = [[as_twin(c.about, log2(one)) for one in levels] for levels, c in zip(times, model.comparisons, strict=True)]
    matches = [[0.0] * len(shares) for shares in before.m]
    families = Families(model.comparisons, before.family)
    total, prior = 0.0, before.prior / (1 - before.prior)
    for (places, terms), count in counts.items():
        found = [levels[place] * 2.0 ** (term / TERM_STEPS) for levels, place, term in zip(times, places, terms, strict=True)]
        twin = prod(levels[place] for levels, place in zip(twins, places, strict=True))
        person, family = prior * prod(found), families.odds(found, twin)
        expected = count * person / (1 + family + person)
        families.add(found, twin, places, count * family / (1 + family + person))
        total += expected
        for sums, place in zip(matches, places, strict=True):
            sums[place] += expected
    shares = [_shares(sums, c, least) for sums, c in zip(matches, before.m, strict=True)]
    return Maximised(shares, min(max(total / all_pairs, 1 / all_pairs), 0.5), families.learnt(all_pairs))


def _times(shares: Sequence[float], comparison: Comparison) -> list[float]:
    """How many times as often as strangers one person's records agree so; of what isn't known, as often."""
    return [share / level.u if level.u else 1.0 for share, level in zip(shares, comparison.levels, strict=True)]


def _shares(sums: Sequence[float], before: list[float], least: float) -> list[float]:
    """Null levels, which have no m, stay out."""
    known = [found for found, share in zip(sums, before, strict=True) if share]
    if not sum(known):
        return before
    found = iter(whole([one / sum(known) for one in known], least))
    return [next(found) if share else 0.0 for share in before]
