"""Why two identifiers name one customer, and what keeps them apart when they don't. Pure.

What keeps two apart is told in full: were all of it gone, they would be one, and of what is gone nothing is told any more.
"""

from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import replace
from math import inf
from typing import Literal, NamedTuple

import msgspec

from services.identity.graph.causes import Chains, by_node
from services.identity.graph.crowding import Taking
from services.identity.graph.facts import Facts, Node, pair
from services.identity.graph.ownership import contests
from services.identity.graph.resolve import Doubt, Link, Partition, Rejected, candidates, resolve
from services.identity.graph.rules import Namespace, Rules

Kind = Literal[
    "FORBIDDEN", "LIMIT", "CLUSTER_TOO_LARGE", "ONE_PER_SOURCE", "LOW_CERTAINTY", "SHARED", "CONTESTED", "BLOCKED", "CROWDED"
]


class Standing(NamedTuple):
    """All that a partition follows from; `shared` are values with too many owners, also owners that aren't among the facts, and
    `contested` ones; `last` those that were contested until people decided."""

    facts: Facts
    rules: Rules
    shared: frozenset[Node]
    last: frozenset[Node] = frozenset()
    contested: frozenset[Node] = frozenset()

    def partition(self, *alone: Node) -> Partition:
        """`alone` are there also when no fact is about them."""
        found = resolve(self.facts, self.rules, set(self.shared), self.last)
        for node in alone:
            if node not in found.group_of:
                found.add(node)
        return found


def standing_on(facts: Facts, rules: Rules, outside: Collection[Node]) -> Standing:
    """`outside` are shared values, by all facts; what these facts contest comes with them."""
    found = contests(facts, rules, outside)
    return Standing(facts, rules, frozenset(outside) | found.open, frozenset(found.settled), frozenset(found.open))


class Obstacle(NamedTuple):
    """What keeps two apart.

    FORBIDDEN: `nodes` are the pair that people keep apart, `link` what would join their groups. LIMIT: of `namespace`, one
    customer may not have the values of both. SHARED, CONTESTED, BLOCKED: `nodes` is the one value that both were seen with.
    ONE_PER_SOURCE: `namespace` is the source that keeps each person once. LOW_CERTAINTY: `nodes` match, and not enough. CROWDED: `nodes` were seen
    in so many ways that those in which they would join the two, or lead to what else keeps them apart, count no more.
    """

    kind: Kind
    nodes: tuple[Node, ...] = ()
    namespace: str = ""
    link: Link | None = None
    doubts: tuple[Doubt, ...] = ()  # of low certainty


class Explained(NamedTuple):
    """`links` join the two; or `obstacles` keep them apart, those that show first coming first. Neither: nothing in common."""

    together: bool
    links: list[Link]
    obstacles: list[Obstacle]


def explain(standing: Standing, one: Node, other: Node) -> Explained:
    partition = standing.partition(one, other)
    if partition.group_of[one] is partition.group_of[other]:
        return Explained(True, Chains(by_node(partition.links), one).to(other), [])
    return Explained(False, [], _obstacles(standing, one, other))


def without(standing: Standing, obstacle: Obstacle) -> Standing:
    """As it would be if the decision were withdrawn, the limit or the bound lifted, or the value neither shared, contested nor blocked."""
    facts, rules, shared, last, contested = standing
    match obstacle.kind:
        case "FORBIDDEN":
            facts = replace(facts, forbidden=facts.forbidden - {pair(*obstacle.nodes)})
        case "LIMIT":
            rules = _without_limit(rules, rules.of(obstacle.namespace))
        case "CLUSTER_TOO_LARGE":
            rules = msgspec.structs.replace(rules, max_cluster=len(facts.nodes()) + 2)
        case "BLOCKED":
            rules = msgspec.structs.replace(rules, blocked=rules.blocked - {node.value_hash for node in obstacle.nodes})
            shared = shared - set(obstacle.nodes)
        case "SHARED" | "CONTESTED":
            shared = shared - set(obstacle.nodes)
        case "CROWDED":
            rules = msgspec.structs.replace(rules, max_sightings=_enough(facts))
        case "ONE_PER_SOURCE":
            once = tuple(source for source in rules.matching.one_per_source if source != obstacle.namespace)
            rules = msgspec.structs.replace(rules, matching=msgspec.structs.replace(rules.matching, one_per_source=once))
        case "LOW_CERTAINTY":
            ends = pair(*obstacle.nodes)
            certain = facts.matched[ends]._replace(weight=inf, witnessed_weight=inf)
            facts = replace(facts, matched=facts.matched | {ends: certain})
    return Standing(facts, rules, shared, last, contested)


def _without_limit(rules: Rules, namespace: Namespace) -> Rules:
    """The limit of namespaces that aren't listed is one rule."""
    lifted = msgspec.structs.replace(namespace, limit=None)
    if namespace is rules.others:
        return msgspec.structs.replace(rules, others=lifted)
    listed = tuple(lifted if one is namespace else one for one in rules.namespaces)
    return msgspec.structs.replace(rules, namespaces=listed)


def _obstacles(standing: Standing, one: Node, other: Node) -> list[Obstacle]:
    """Takes away what shows until the two are one. Ends, since what is gone can't show again."""
    found: list[Obstacle] = []
    while True:
        partition = standing.partition(one, other)
        if partition.group_of[one] is partition.group_of[other]:
            return found
        showing = _rejected_between(standing, partition, one, other) or _shared_between(standing, one, other)
        showing = showing or _crowded_between(standing, one, other)
        if not showing:
            return found
        for obstacle in showing:
            standing = without(standing, obstacle)
        found += showing


def _crowded_between(standing: Standing, one: Node, other: Node) -> list[Obstacle]:
    """Values that take no part where they would join the two; told as one. As with shared ones, no further than one value away.

    Who is shared is led to by nothing: taking part, a crowded value wouldn't be linked to it either.
    """
    taking = Taking(standing.facts, standing.rules)
    links = by_node(candidates(standing.facts, standing.rules, set(standing.shared), standing.last))
    around = _reached(links, one) - standing.shared, _reached(links, other) - standing.shared
    near, between = (set(around[0]), set(around[1])), set[Node]()
    for together, evidence in standing.facts.together.items() if taking.last else ():
        part = taking.part(together, evidence)
        for reached, found in zip(around, near, strict=True):
            if not reached.isdisjoint(part):
                found.update(together - part)
        if not any(reached.isdisjoint(together) for reached in around):
            between |= (together - part) & (around[0] | around[1])
    between = (between | (near[0] & near[1])) - standing.shared
    return [Obstacle("CROWDED", tuple(sorted(between)))] if between else []


def _enough(facts: Facts) -> int:
    """Sightings, of which no value was seen in more."""
    return len(facts.together) + 1


def _rejected_between(standing: Standing, partition: Partition, one: Node, other: Node) -> list[Obstacle]:
    """Along the fewest rejected links that lead from one group to the other; none when no candidates do."""
    start, end = id(partition.group_of[one]), id(partition.group_of[other])
    came_by: dict[int, tuple[int, Rejected] | None] = {start: None}
    waiting = deque([start])
    rejected_at: dict[int, list[tuple[int, Rejected]]] = {}
    for rejected in partition.rejected:
        strong, weak = id(partition.group_of[rejected.link.strong]), id(partition.group_of[rejected.link.weak])
        rejected_at.setdefault(strong, []).append((weak, rejected))
        rejected_at.setdefault(weak, []).append((strong, rejected))
    while waiting and end not in came_by:
        group = waiting.popleft()
        for neighbour, rejected in rejected_at.get(group, ()):
            if neighbour not in came_by:
                came_by[neighbour] = group, rejected
                waiting.append(neighbour)
    path: list[Rejected] = []
    came = came_by.get(end)
    while came is not None:
        path.append(came[1])
        came = came_by[came[0]]
    told = (obstacle for rejected in reversed(path) for obstacle in _told(standing, partition, rejected))
    return list({obstacle[:3]: obstacle for obstacle in reversed(list(told))}.values())[::-1]


def _told(standing: Standing, partition: Partition, rejected: Rejected) -> Iterator[Obstacle]:
    link = rejected.link
    match rejected.reason:
        case "FORBIDDEN":
            strong, weak = partition.group_of[link.strong].nodes, partition.group_of[link.weak].nodes
            for decided in sorted(map(sorted, standing.facts.forbidden)):
                if not strong.isdisjoint(decided) and not weak.isdisjoint(decided):
                    yield Obstacle("FORBIDDEN", tuple(decided), "", link)
        case "LIMIT":
            # Its rule says how many of a namespace belong to one customer; the rule of those not listed is one.
            yield Obstacle("LIMIT", (), rejected.namespace, link)
        case "CLUSTER_TOO_LARGE":
            yield Obstacle("CLUSTER_TOO_LARGE", (), "", link)
        case "ONE_PER_SOURCE":
            yield Obstacle("ONE_PER_SOURCE", (), rejected.namespace, link)
            if _by_absence(standing, link):  # with the source's rule goes what they would be linked for
                yield Obstacle("LOW_CERTAINTY", tuple(sorted((link.strong, link.weak))), "", link, ("WEIGHT",))
        case "LOW_CERTAINTY":
            yield Obstacle("LOW_CERTAINTY", tuple(sorted((link.strong, link.weak))), "", link, rejected.doubts)


def _by_absence(standing: Standing, link: Link) -> bool:
    """Whether two match for no other reason than that neither could be anybody else."""
    match = standing.facts.matched.get(pair(link.strong, link.weak))
    return match is not None and standing.rules.matching.band(match.weight, match.witnessed_weight) is None


def _shared_between(standing: Standing, one: Node, other: Node) -> list[Obstacle]:
    """Values with too many owners, or with two: those that both were seen with, or the two themselves when they were seen together.

    What leads from one such value to another is not followed: everybody is a few kiosks away from everybody.
    """
    links = by_node(candidates(standing.facts, standing.rules, set(standing.shared), standing.last))
    between = _shared_near(standing, _reached(links, one)) & _shared_near(standing, _reached(links, other))
    if {one, other} <= standing.shared and any({one, other} <= together for together in standing.facts.together):
        between |= {one, other}
    return [Obstacle(_why_shared(standing, node), (node,), node.namespace) for node in sorted(between)]


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


def _shared_near(standing: Standing, component: set[Node]) -> set[Node]:
    """The shared values in a component, alone or by a decision, and those that the others in it were seen with."""
    active = component - standing.shared
    seen = {node for together in standing.facts.together if not active.isdisjoint(together) for node in together}
    return (component | seen) & standing.shared
