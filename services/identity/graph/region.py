"""The part of the graph that some facts touch, and what it comes to when they are added. Pure.

A region has whole components: what candidate links lead to. An identifier that is shared stands outside of them, so that a
kiosk's events never load all who used it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from services.identity.graph.conclude import Concluded, Conclusion, conclude
from services.identity.graph.facts import Evidence, Facts, Node, shared
from services.identity.graph.ownership import divide
from services.identity.graph.resolve import Partition, candidates
from services.identity.graph.rules import Rules
from shared.ids import NewId

Component = bytes


class Seen(NamedTuple):
    """Identifiers of one event, strongest first and blocked ones last. `by` is what it resolves by when all are blocked."""

    nodes: tuple[Node, ...]
    evidence: Evidence
    by: Node | None = None

    @property
    def resolving(self) -> Node:
        return self.by or self.nodes[0]


@dataclass(slots=True)
class Region:
    """As it is stored. `reconsidered` are shared identifiers of which every fact is here: they may link again."""

    facts: Facts = field(default_factory=Facts)
    known: Concluded = field(default_factory=Concluded)
    shared: set[Node] = field(default_factory=set)
    reconsidered: set[Node] = field(default_factory=set)
    component_of: dict[Node, Component] = field(default_factory=dict)
    component_of_sighting: dict[frozenset[Node], Component] = field(default_factory=dict)


class Settled(NamedTuple):
    """What changed, besides the region itself, which is as it has to be stored now."""

    conclusions: list[Conclusion]
    partition: Partition
    sightings: set[frozenset[Node]]  # new, with earlier evidence, or in another component
    nodes: set[Node]  # of another link, component, or shared now
    news: set[frozenset[Node]]  # of the sightings, those that are new or have earlier evidence


def settle(region: Region, seen: Sequence[Seen], rules: Rules, new_id: NewId) -> Settled:
    """Adds the facts and concludes."""
    news = {nodes for one in seen if len(nodes := frozenset(one.nodes)) > 1 and region.facts.see(nodes, one.evidence)}
    shared_before, links_before = set(region.shared), dict(region.known.links)
    components_before, sightings_before = dict(region.component_of), dict(region.component_of_sighting)
    region.shared = (region.shared - region.reconsidered) | shared(region.facts, rules)
    partition = divide(region.facts, rules, region.shared)
    for node in (*region.known.own, *(one.resolving for one in seen)):
        _stand_alone(partition, node)
    conclusions = conclude(region.known, partition, [one.resolving for one in seen], rules, new_id)
    links = [(link.strong, link.weak) for link in candidates(region.facts, rules, region.shared)]
    _label(region, [*links, *_matched(region)], partition.group_of, new_id)
    changed = news | {nodes for nodes, found in region.component_of_sighting.items() if sightings_before.get(nodes) != found}
    touched = shared_before ^ region.shared
    inside = partition.group_of.keys() | links_before.keys() | components_before.keys()
    touched |= {node for node in inside if links_before.get(node) != region.known.links.get(node)}
    touched |= {node for node in inside if components_before.get(node) != region.component_of.get(node)}
    touched |= {one.resolving for one in seen if one.resolving not in links_before}
    return Settled(conclusions, partition, changed, touched, news)


def _stand_alone(partition: Partition, node: Node) -> None:
    """An identifier that was only ever seen by itself is no fact, and has or founds a customer all the same."""
    if node not in partition.group_of:
        partition.add(node)


def _matched(region: Region) -> Iterator[tuple[Node, Node]]:
    """Matches of any weight: what rules make of a weight may change, and a component has all that it may lead to."""
    for ends in region.facts.matched:
        if ends.isdisjoint(region.shared):
            one, other = sorted(ends)
            yield one, other


def _label(region: Region, links: Iterable[tuple[Node, Node]], nodes: Iterable[Node], new_id: NewId) -> None:
    """Gives each component a label: the one that most of it has already, so that little is rewritten."""
    tree: dict[Node, Node] = {node: node for node in nodes}

    def root(node: Node) -> Node:
        while tree[node] != node:
            tree[node] = tree[tree[node]]
            node = tree[node]
        return node

    for strong, weak in links:
        tree[root(weak)] = root(strong)
    members: dict[Node, list[Node]] = {}
    for node in sorted(tree):
        members.setdefault(root(node), []).append(node)
    before = region.component_of
    taken: set[Component] = set()
    region.component_of = {}
    for component in sorted(members.values(), key=lambda found: (-len(found), found)):
        if len(component) == 1 and component[0] in region.shared:
            continue
        held = [label for node in component if (label := before.get(node)) is not None and label not in taken]
        label = max(sorted(set(held)), key=held.count) if held else new_id()
        taken.add(label)
        region.component_of |= dict.fromkeys(component, label)
    region.component_of_sighting = {
        together: region.component_of[active]
        for together in region.facts.together
        if (active := next((node for node in sorted(together) if node not in region.shared), None)) is not None
    }
