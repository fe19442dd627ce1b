"""Expectation maximisation over all comparisons at once, on the pairs that blocks propose. Pure.

A block hides what it is made of: on pairs of one birth date nobody learns how birth dates differ. On the pairs of all blocks
together every comparison is learnt, since each pair of one person shares some block that doesn't look at it. u stays as it was.

A pair for which only speaks what a household shares counts as two people, as it does when it is judged: otherwise families,
which share an address, a telephone and a mailbox, would teach that one person has several given names.
"""

from collections import Counter
from collections.abc import Iterable
from math import log2
from typing import NamedTuple

from services.identity.matching.judge import is_personal
from services.identity.matching.model import Model, probability_of, weight_of
from services.identity.matching.record import Person
from services.identity.matching.score import level_index
from services.identity.training.tied import tie_m

MOST_ROUNDS = 60
CLOSE_ENOUGH = 1e-5  # of every m
TERM_STEPS = 4  # term weights are told apart by a quarter of a bit

Pattern = tuple[tuple[int, ...], int]  # the level of each comparison, and what the terms weigh in TERM_STEPS


class Maximised(NamedTuple):
    m: list[list[float]]  # by comparison and level; of null levels 0
    prior: float


def patterns(model: Model, pairs: Iterable[tuple[Person, Person]]) -> Counter[Pattern]:
    found: Counter[Pattern] = Counter()
    for one, other in pairs:
        places = tuple(level_index(comparison.levels, one, other) for comparison in model.comparisons)
        term = 0.0
        for comparison, place in zip(model.comparisons, places, strict=True):
            adjustment = comparison.levels[place].term
            if adjustment is not None:
                term += adjustment.weigh(one[adjustment.column], other[adjustment.column])
        found[places, round(term * TERM_STEPS)] += 1
    return found


def maximise(model: Model, counts: Counter[Pattern], all_pairs: int, least: float) -> Maximised:
    m = [[level.m or 0.0 for level in comparison.levels] for comparison in model.comparisons]
    prior = probability_of(model.prior_weight)
    for _ in range(MOST_ROUNDS):
        before = m
        m, prior = _round(model, before, counts, prior, all_pairs, least)
        if all(abs(a - b) < CLOSE_ENOUGH for one, other in zip(m, before, strict=True) for a, b in zip(one, other, strict=True)):
            break
    return Maximised(m, prior)


def _round(
    model: Model, m: list[list[float]], counts: Counter[Pattern], prior: float, all_pairs: int, least: float
) -> tuple[list[list[float]], float]:
    weights = [
        [log2(share / level.u) if level.u else level.weight for share, level in zip(shares, c.levels, strict=True)]
        for shares, c in zip(m, model.comparisons, strict=True)
    ]
    matches = [[0.0] * len(shares) for shares in m]
    about_person = [is_personal(comparison) for comparison in model.comparisons]
    total, offset = 0.0, weight_of(prior)
    for (places, term), count in counts.items():
        found = [levels[place] for levels, place in zip(weights, places, strict=True)]
        personal = sum(weight for weight, is_one in zip(found, about_person, strict=True) if is_one)
        expected = count * probability_of(offset + term / TERM_STEPS + sum(found)) if personal > 0 else 0.0
        total += expected
        for sums, place in zip(matches, places, strict=True):
            sums[place] += expected
    names = [comparison.name for comparison in model.comparisons]
    shares = [_shares(name, sums, c, least) for name, sums, c in zip(names, matches, m, strict=True)]
    return shares, min(max(total / all_pairs, 1 / all_pairs), 0.5)


def _shares(name: str, sums: list[float], before: list[float], least: float) -> list[float]:
    """Null levels, which have no m, stay out."""
    known = [found for found, share in zip(sums, before, strict=True) if share]
    if not sum(known):
        return before
    found = iter(tie_m(name, [one / sum(known) for one in known], least))
    return [next(found) if share else 0.0 for share in before]
