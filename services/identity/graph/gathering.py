"""What of a unit's news is settled within it, and what hangs together with too much for that. Pure.

Where an event stands depends on its strongest identifier alone; whom that is one with may be told later. So what would load more
than a bound is written down and settled behind the events, many at once, and nobody else's events wait for it.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from services.identity.graph.certain import Trees
from services.identity.graph.facts import Node
from services.identity.graph.region import Component, Seen

# Identifiers: settling so many takes some tens of milliseconds, and others wait meanwhile. Of 6,000 simulated people the largest
# component has 28.
MOST_WITHIN_A_UNIT: Final = 200

Group = list[Seen]  # what hangs together


def gathered(news: Sequence[Seen], component_of: Mapping[Node, Component], outside: Collection[Node]) -> list[Group]:
    """By identifiers and components in common, in the order in which they came; what is `outside` of components joins nothing."""
    trees = Trees[Node | Component]()
    joining = [_joining(one, outside) for one in news]
    for nodes in joining:
        for node in nodes if len(nodes) > 1 or component_of else ():
            trees.join(nodes[0], component_of.get(node, node))
    groups: dict[Node | Component, Group] = {}
    for one, nodes in zip(news, joining, strict=True):
        groups.setdefault(trees.root(nodes[0] if nodes else one.resolving), []).append(one)
    return list(groups.values())


def is_small(group: Group, component_of: Mapping[Node, Component], sizes: Mapping[Component, int], most: int) -> bool:
    """`sizes` of components that have more than `most` need not be exact."""
    nodes = {node for one in group for node in (*one.nodes, one.resolving)}
    components = {component_of[node] for node in nodes if node in component_of}
    return sum(sizes[component] for component in components) + len(nodes - component_of.keys()) <= most


def _joining(one: Seen, outside: Collection[Node]) -> Sequence[Node]:
    return [node for node in one.nodes if node not in outside] if outside else one.nodes
