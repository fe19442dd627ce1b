"""All that candidate links and matches lead to, found the plain way."""

from collections import defaultdict
from collections.abc import Iterable

from services.identity.graph.facts import Facts, Node
from services.identity.graph.resolve import candidates
from services.identity.graph.rules import Rules


def component_of(start: Iterable[Node], facts: Facts, rules: Rules, without: set[Node]) -> set[Node]:
    """`without` are the values that link nobody. A match leads on whatever it weighs: what rules make of that may change."""
    neighbours: dict[Node, set[Node]] = defaultdict(set)
    links = [(link.strong, link.weak) for link in candidates(facts, rules, without)]
    for one, other in (*links, *(found for found in facts.matched if found.isdisjoint(without))):
        neighbours[one].add(other)
        neighbours[other].add(one)
    reached, waiting = set(start), list(start)
    while waiting:
        for node in neighbours[waiting.pop()] - reached:
            reached.add(node)
            waiting.append(node)
    return reached
