"""All that candidate links lead to, found the plain way."""

from collections import defaultdict
from collections.abc import Iterable

from services.identity.graph.facts import Facts, Node
from services.identity.graph.resolve import candidates
from services.identity.graph.rules import Rules


def component_of(start: Iterable[Node], facts: Facts, rules: Rules, without: set[Node]) -> set[Node]:
    """`without` are the values that link nobody."""
    neighbours: dict[Node, set[Node]] = defaultdict(set)
    for link in candidates(facts, rules, without):
        neighbours[link.strong].add(link.weak)
        neighbours[link.weak].add(link.strong)
    reached, waiting = set(start), list(start)
    while waiting:
        for node in neighbours[waiting.pop()] - reached:
            reached.add(node)
            waiting.append(node)
    return reached
