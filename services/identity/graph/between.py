"""Values that lie between two and join them not: those that link nobody, and those that take no part where they would. Pure."""

from collections.abc import Iterator

from services.identity.graph.causes import by_node
from services.identity.graph.crowding import Taking
from services.identity.graph.facts import Node
from services.identity.graph.resolve import Link, asking, candidates, linking
from services.identity.graph.standing import Kind, Obstacle, Standing


class Around:
    """What candidate links lead to from either of two, and how far that is known: past a crowded value no further."""

    def __init__(self, standing: Standing, one: Node, other: Node) -> None:
        links = by_node(candidates(standing.facts, standing.rules, set(standing.shared), standing.last))
        self.standing = standing
        self.ends = frozenset((one, other))
        self.reached = _reached(links, one), _reached(links, other)
        self.taking = Taking(standing.facts, standing.rules)

    @property
    def crowded(self) -> list[Node]:
        """Values of which later sightings aren't looked at, where there are any: whom else they were seen with isn't told."""
        return sorted((self.reached[0] | self.reached[1]) & self.taking.last.keys() - self.standing.shared)


def shared_between(around: Around) -> list[Obstacle]:
    """Values with too many owners, or with two: those that both were seen with, and what was seen together, or matches, of the two and
    those that people joined to them.

    What leads from one such value to another is not followed: everybody is a few kiosks away from everybody.
    """
    standing, late = around.standing, set[Node]()
    between = _near(around, around.reached[0]) & _near(around, around.reached[1])
    for met, too_late in _meeting(around):
        between |= met & standing.shared
        late |= too_late
    found = [Obstacle(_why_shared(standing, node), (node,), node.namespace) for node in sorted(between)]
    return [*found, Obstacle("CROWDED", tuple(sorted(late)))] if late else found


def crowded_between(around: Around) -> list[Obstacle]:
    """Values that take no part where they would join the two; told as one. As with shared ones, no further than one value away.

    Who is shared is led to by nothing: taking part, a crowded value wouldn't be linked to it either.
    """
    standing, taking = around.standing, around.taking
    active = around.reached[0] - standing.shared, around.reached[1] - standing.shared
    near, between = (set(active[0]), set(active[1])), set[Node]()
    for together, evidence in standing.facts.together.items() if taking.last else ():
        part = taking.part(together, evidence)
        for reached, found in zip(active, near, strict=True):
            if not reached.isdisjoint(part):
                found.update(together - part)
        if not any(reached.isdisjoint(together) for reached in active):
            between |= (together - part) & (active[0] | active[1])
    between = (between | (near[0] & near[1])) - standing.shared
    return [Obstacle("CROWDED", tuple(sorted(between)))] if between else []


def _near(around: Around, component: set[Node]) -> set[Node]:
    """The shared values in a component, alone or by a decision, and those that the others in it were seen with where they take part."""
    standing, active, seen = around.standing, component - around.standing.shared, set[Node]()
    for together, evidence in standing.facts.together.items():
        if not active.isdisjoint(around.taking.part(together, evidence)):
            seen |= together
    return (component | seen) & standing.shared


def _meeting(around: Around) -> Iterator[tuple[frozenset[Node], frozenset[Node]]]:
    """What of the two was seen together or matches, where a shared value of either is; and which end it was seen with too late to take part."""
    facts, rules, shared = around.standing.facts, around.standing.rules, around.standing.shared
    one, other = around.reached
    mine, its = one & shared, other & shared
    for together, evidence in facts.together.items() if mine or its else ():
        if not (mine.isdisjoint(together) or its.isdisjoint(together)):
            yield together & (mine | its), frozenset()
        elif around.ends <= together and not around.ends.isdisjoint(shared):
            yield around.ends, around.ends - shared - around.taking.part(together, evidence)
    for ends, match in facts.matched.items() if mine or its else ():
        would = linking(ends, match, facts, rules) is not None or asking(ends, match, facts, rules) is not None
        if would and not (one.isdisjoint(ends) or other.isdisjoint(ends)):
            yield ends, frozenset()


def _why_shared(standing: Standing, node: Node) -> Kind:
    if node in standing.contested:
        return "CONTESTED"
    return "BLOCKED" if node.value_hash in standing.rules.blocked else "SHARED"


def _reached(links: dict[Node, list[Link]], start: Node) -> set[Node]:
    reached, waiting = {start}, [start]
    while waiting:
        for link in links.get(waiting.pop(), ()):
            for node in (link.strong, link.weak):
                if node not in reached:
                    reached.add(node)
                    waiting.append(node)
    return reached
