"""How many events are expected of one who is there now: of a rate that is gamma distributed, and a chance to leave at each that is
beta distributed. Finite and within its bounds for all parameters.

The papers give a hypergeometric function. Its series, by Euler's transformation, ends after some tens of terms for parameters as
they are fitted. For others its terms cancel out or go beyond what a float holds; then the expectation that it stands for is
integrated over the chance to leave, where every term is positive and bounded.
"""

import math
from functools import lru_cache
from typing import Final

REMEMBERED: Final = 16_384  # some 150 bytes each: purchases and days are whole numbers, so customers share most of what is asked
_MOST_TERMS: Final = 200  # of the series; of what it is good for it takes some tens
_LARGEST: Final = 1e5  # of its terms beside a sum of about 1: more than ten digits stay
_PRECISION: Final = 1e-13
_BESIDE_ONE: Final = 1e-3  # where the closed form divides nothing by nothing
_FALLEN: Final = 35.0  # e to the minus this is nothing
_STEP: Final = 0.25  # of a logit: a trapezoid rule of analytic functions is exact to 1e-15 then


@lru_cache(maxsize=REMEMBERED)
def expected_events(shape: float, ahead: float, a: float, b: float) -> float:
    """Within a time that is `ahead` times the rate's scale, for a rate of Gamma(shape, 1) and a chance to leave of Beta(a, b)."""
    mean = a / (a + b)
    found = _by_series(shape, ahead, a, b)
    if found is None:
        found = _integrated(shape, ahead, a, b)
    at_most = (shape * ahead * b + _until_left(1.0, shape, ahead) * a) / (a + b)  # it is convex in the chance to leave
    return min(max(found, _until_left(mean, shape, ahead)), at_most)


def _until_left(chance: float, shape: float, ahead: float) -> float:
    """Of one who leaves with this chance at each event."""
    if chance <= 0:
        return shape * ahead
    return -math.expm1(-shape * math.log1p(chance * ahead)) / chance


def _by_series(shape: float, ahead: float, a: float, b: float) -> float | None:
    """None where it wouldn't be precise."""
    z, c = ahead / (1 + ahead), a + b - 1
    if abs(a - 1) < _BESIDE_ONE or abs(c) < _BESIDE_ONE or (a - 1) * z > 1 / _BESIDE_ONE:
        return None
    total = term = 1.0
    for n in range(_MOST_TERMS):
        term *= (c - shape + n) * (a - 1 + n) / ((c + n) * (1 + n)) * z
        total += term
        if abs(term) <= _PRECISION * abs(total):
            return c / (a - 1) * (1 - math.exp((1 - a) * math.log1p(ahead)) * total)
        if abs(term) > _LARGEST:
            return None
    return None


def _integrated(shape: float, ahead: float, a: float, b: float) -> float:
    """Over the logit of the chance to leave. Where the weights of Beta(a, b) hardly fall towards 0 or 1, what is expected there is
    taken off before, by a line whose own expectation is known."""
    first = shape * ahead if a < 1 else 0.0
    last = _until_left(1.0, shape, ahead) if b < 1 else 0.0
    middle, width = math.log(a / b), math.sqrt(1 / a + 1 / b)
    turn = math.log((a + 1) / (b + 1))
    lowest = max(middle - 12 * width - _FALLEN / a, min(turn, -math.log(max(shape * ahead, 1.0))) - _FALLEN)
    highest = min(middle + 12 * width + _FALLEN / b, max(turn, 0.0) + _FALLEN)
    step = min(_STEP, width / 2)
    log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    total = 0.0
    for number in range(max(int((highest - lowest) / step), 0) + 1):
        logit = lowest + number * step
        stays = math.log1p(math.exp(-abs(logit))) + max(logit, 0.0)  # minus its logarithm
        chance = math.exp(logit - stays)
        beside = first * math.exp(-stays) + last * chance
        total += math.exp(a * (logit - stays) - b * stays - log_beta) * (_until_left(chance, shape, ahead) - beside)
    return (first * b + last * a) / (a + b) + step * total
