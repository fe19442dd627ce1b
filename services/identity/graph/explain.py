"""Why two identifiers name one customer, and what keeps them apart when they don't. Pure.

What keeps two apart is told in full: were all of it gone, they would be one, and of what is gone nothing is told any more.
"""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from services.identity.graph.between import Around, crowded_between, shared_between
from services.identity.graph.causes import Chains, by_earliest, by_node
from services.identity.graph.facts import Node, pair
from services.identity.graph.resolve import Link, Partition, Rejected
from services.identity.graph.standing import Obstacle, Standing, without


class Explained(NamedTuple):
    """`links` join the two; or `obstacles` keep them apart, those that show first coming first. Neither: nothing in common, as far as
    they are known: of what `crowded` values were seen with too late to take part, no more is told.
    """

    together: bool
    links: list[Link]
    obstacles: list[Obstacle]
    crowded: list[Node]


def explain(standing: Standing, one: Node, other: Node) -> Explained:
    partition = standing.partition(one, other)
    if partition.group_of[one] is partition.group_of[other]:
        chain = Chains(by_node(partition.links), one).to(other)
        return Explained(True, [by_earliest(link, standing.facts.together.items()) for link in chain], [], [])
    found = _obstacles(standing, one, other) or list(_decided_apart(standing, partition, one, other))
    obstacles = [o if o.link is None else o._replace(link=by_earliest(o.link, standing.facts.together.items())) for o in found]
    return Explained(False, [], obstacles, Around(standing, one, other).crowded)


def _obstacles(standing: Standing, one: Node, other: Node) -> list[Obstacle]:
    """Takes away what shows until the two are one. Ends, since what is gone can't show again."""
    found: list[Obstacle] = []
    while True:
        partition = standing.partition(one, other)
        if partition.group_of[one] is partition.group_of[other]:
            return found
        showing = _rejected_between(standing, partition, one, other)
        if not showing:
            around = Around(standing, one, other)
            showing = shared_between(around) or crowded_between(around)
        if not showing:
            return found
        for obstacle in showing:
            standing = without(standing, obstacle)
        found += showing


def _decided_apart(standing: Standing, partition: Partition, one: Node, other: Node) -> Iterator[Obstacle]:
    """Who was kept apart before anything would have joined them."""
    mine, its = partition.group_of[one].nodes, partition.group_of[other].nodes
    for decided in sorted(map(sorted, standing.facts.forbidden)):
        if not mine.isdisjoint(decided) and not its.isdisjoint(decided):
            yield Obstacle("FORBIDDEN", tuple(decided))


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
            for obstacle in _decided_apart(standing, partition, link.strong, link.weak):
                yield obstacle._replace(link=link)
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
