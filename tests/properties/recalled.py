"""What an explanation of two loads (`services/identity/recall.py`), of facts that are all in memory, and what it tells as by all of them."""

from collections.abc import Collection
from itertools import combinations

from services.identity.graph.crowding import crowded, place
from services.identity.graph.explain import Explained
from services.identity.graph.facts import Evidence, Facts, Node
from services.identity.graph.rules import Rules
from services.identity.graph.standing import Obstacle

Seen = tuple[frozenset[Node], Evidence]


def recalled(facts: Facts, rules: Rules, shared: Collection[Node], ends: Collection[Node]) -> Facts:
    """`shared` by all facts."""
    last, found = crowded(facts, rules), Facts()
    inside, entering = set[Node](), set(ends)
    while entering:
        inside |= entering
        asked = entering.difference(shared)
        found.together |= dict(
            seen
            for seen in facts.together.items()
            if any(node not in last or place(*seen) <= last[node] for node in seen[0] & asked)
        )
        found.matched |= {ends: match for ends, match in facts.matched.items() if not ends.isdisjoint(asked)}
        joined = {node for decided in facts.forced if not decided.isdisjoint(entering) for node in decided}
        met = {node for together in found.together for node in together}.union(*found.matched)
        entering = (met.difference(shared) | joined) - inside
    outside, beyond = inside.intersection(shared), (inside & last.keys()).difference(shared)
    for two in [set(ends), *map(set, combinations(outside, 2))]:
        found.together |= dict(_of_two(facts, two)[:1])
    for two in map(set, combinations(beyond, 2)):
        found.together |= dict(_of_two(facts, two)[-1:])
    found.matched |= {ends: match for ends, match in facts.matched.items() if ends <= inside}
    found.recorded_by = {node: sources for node, sources in facts.recorded_by.items() if node in inside}
    found.forced = {decided for decided in facts.forced if decided <= inside}
    found.forbidden = {decided for decided in facts.forbidden if decided <= inside}
    return found


def _of_two(facts: Facts, two: set[Node]) -> list[Seen]:
    """The sightings of two, in their order."""
    return sorted((seen for seen in facts.together.items() if two <= seen[0]), key=lambda seen: place(*seen))


def first_told(told: Explained) -> list[Obstacle]:
    """Up to the first value with too many owners, or that is crowded; with those that show at once with it."""
    kinds = [obstacle.kind in ("SHARED", "BLOCKED", "CROWDED") for obstacle in told.obstacles]
    last = len(kinds) if True not in kinds else kinds.index(True)
    return told.obstacles[: last + 1]
