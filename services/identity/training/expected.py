"""What a model promises of a threshold, and the threshold for what is to be promised. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from services.identity.matching.model import probability_of, weight_of


class Expected(NamedTuple):
    """Of the pairs at or above a weight. Only as true as the model: check it against known people."""

    weight: float
    pairs: int
    precision: float
    recall: float


def expect(weights: Sequence[float], threshold: float) -> Expected:
    """`weights` with the prior."""
    probabilities = [(weight, probability_of(weight)) for weight in weights]
    total = sum(probability for _, probability in probabilities)
    above = [probability for weight, probability in probabilities if weight >= threshold]
    found = sum(above)
    return Expected(threshold, len(above), found / len(above) if above else 1.0, found / total if total else 1.0)


def link_weight(weights: Sequence[float], precision: float) -> float:
    """The least weight from which pairs are expected to be one person's with this precision, all of them taken together.

    A probability fixed for all data isn't portable: where few pairs are in doubt more can be linked at the same price. What is
    less likely than not is never linked.
    """
    least, linked = weight_of(precision), 0.0
    for count, weight in enumerate(sorted((weight for weight in weights if weight >= 0), reverse=True), 1):
        linked += probability_of(weight)
        if linked >= precision * count:
            least = min(least, weight)
    return least
