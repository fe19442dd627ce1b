"""Questions that nobody answered in time rest until one of the two is seen again, whatever else is settled meanwhile. Pure."""

from collections.abc import Collection, Mapping

from services.identity.graph.conclude import Concluded
from services.identity.graph.questions import Question

Two = tuple[bytes, bytes]  # customers


def stirred(resting: Mapping[bytes, Two], known: Concluded, seen: Collection[bytes]) -> list[bytes]:
    """Of resting questions, by id, those of whom one is at hand: an event stands with it, or with who is one with it."""
    canonical = known.canonical()
    here = {canonical[customer] for customer in seen if customer in canonical}
    return [found for found, two in sorted(resting.items()) if not here.isdisjoint(canonical[end] for end in two)]


def awake(
    asked: Mapping[frozenset[bytes], Question], resting: Mapping[bytes, Two], known: Concluded
) -> dict[frozenset[bytes], Question]:
    """What is asked of those two who have no question that rests, whoever else is one with them by now."""
    canonical = known.canonical()
    quiet = {frozenset(canonical[end] for end in two) for two in resting.values()}
    return {two: question for two, question in asked.items() if two not in quiet}
