"""The part of the graph that some facts touch, and what it comes to when they are added. Pure.

A region has whole components: what candidate links lead to. An identifier that is shared stands outside of them, so that a
kiosk's events never load all who used it. So does a contested value of two known people (`borders`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from services.identity.graph.borders import borders
from services.identity.graph.conclude import Concluded, Conclusion, conclude
from services.identity.graph.crowding import Taking, shared, told_by
from services.identity.graph.facts import Evidence, Facts, Node
from services.identity.graph.ownership import divide
from services.identity.graph.resolve import Partition, candidates
from services.identity.graph.rules import Rules
from shared.ids import NewId

Component = bytes
Key = TypeVar("Key")


class Seen(NamedTuple):
    """Identifiers of one event, strongest first and blocked ones last. `by` is what it resolves by when all are blocked.

    `placed`: it was told before whose the event is, and nothing else resolves by it.
    """

    nodes: tuple[Node, ...]
    evidence: Evidence
    by: Node | None = None
    placed: bool = False

    @property
    def resolving(self) -> Node:
        return self.by or self.nodes[0]


def earliest_of(seen: Iterable[Seen]) -> list[Seen]:
    """Of what several events saw alike the earliest, in the order in which it came first: the others add no fact. A visit that comes
    as one unit is one sighting.
    """
    found: dict[tuple[tuple[Node, ...], Node | None, bool], Seen] = {}
    for one in seen:
        alike = one.nodes, one.by, one.placed
        if (held := found.get(alike)) is None or one.evidence < held.evidence:
            found[alike] = one
    return list(found.values())


@dataclass(slots=True)
class Region:
    """As it is stored.

    `resolving` are those that an event resolved by; what founded a customer without one is its only while facts say so. `reconsidered` are
    shared identifiers that may link again. `told_by` is the last sighting that says something of an identifier (`crowding`),
    where later ones don't; `borders` are contested values outside of it, which link nobody whatever it has; `recounted` has it, or None, for those of which all these sightings were looked at.
    """

    facts: Facts = field(default_factory=Facts)
    known: Concluded = field(default_factory=Concluded)
    shared: set[Node] = field(default_factory=set)
    contested: set[Node] = field(default_factory=set)
    borders: set[Node] = field(default_factory=set)
    resolving: set[Node] = field(default_factory=set)
    reconsidered: set[Node] = field(default_factory=set)
    told_by: dict[Node, Evidence] = field(default_factory=dict)
    recounted: dict[Node, Evidence | None] = field(default_factory=dict)
    component_of: dict[Node, Component] = field(default_factory=dict)
    component_of_sighting: dict[frozenset[Node], Component] = field(default_factory=dict)


class Settled(NamedTuple):
    """What changed, besides the region itself, which is as it has to be stored now."""

    conclusions: list[Conclusion]
    partition: Partition
    sightings: set[frozenset[Node]]  # new, with earlier evidence, or in another component
    nodes: set[Node]  # of another link or component, or shared, contested, resolved by or told otherwise now
    news: set[frozenset[Node]]  # of the sightings, those that are new or have earlier evidence


class Before(NamedTuple):
    """What is compared with afterwards."""

    shared: set[Node]
    contested: set[Node]
    told_by: dict[Node, Evidence]
    component_of: dict[Node, Component]
    component_of_sighting: dict[frozenset[Node], Component]


class Looked(NamedTuple):
    """What the facts of a region say. Most of the work, and it asks nothing of what was concluded so far."""

    partition: Partition
    news: set[frozenset[Node]]
    resolving: set[Node]  # by what is new
    came: list[Node]  # what that names, as it came
    before: Before


def settle(region: Region, seen: Sequence[Seen], rules: Rules, new_id: NewId) -> Settled:
    """Adds the facts and concludes."""
    return concluded(region, look(region, seen, rules, new_id), rules, new_id)


def look(region: Region, seen: Sequence[Seen], rules: Rules, new_id: NewId) -> Looked:
    """Adds the facts."""
    news = {nodes for one in seen if len(nodes := frozenset(one.nodes)) > 1 and region.facts.see(nodes, one.evidence)}
    before = Before(
        set(region.shared),
        set(region.contested),
        dict(region.told_by),
        dict(region.component_of),
        dict(region.component_of_sighting),
    )
    region.shared = (region.shared - region.reconsidered) | shared(region.facts, rules)
    partition = divide(region.facts, rules, region.shared)
    resolving = {one.resolving for one in seen if not one.placed and one.resolving not in region.facts.beyond}
    for node in region.resolving | resolving:
        _stand_alone(partition, node)
    without = region.shared | borders(region.facts, rules, partition.contested, region.shared)
    links = [(link.strong, link.weak) for link in candidates(region.facts, rules, without)]
    taking = Taking(region.facts, rules)
    _label(region, [*links, *_matched(region)], partition.group_of, without, taking, new_id)
    _tell(region, taking, before.shared, rules)
    region.contested = partition.contested
    return Looked(partition, news, resolving, _as_they_came(seen, resolving), before)


def concluded(region: Region, looked: Looked, rules: Rules, new_id: NewId) -> Settled:
    """What follows from it, behind what is concluded by now."""
    partition, news, before = looked.partition, looked.news, looked.before
    links_before, resolving = dict(region.known.links), region.resolving | looked.resolving
    for node in resolving:
        _stand_alone(partition, node)
    newly_shared = partition.shared - before.shared - before.contested
    conclusions = conclude(region.known, partition, resolving, rules, new_id, newly_shared, looked.came)
    touched = (before.shared ^ region.shared) | (before.contested ^ region.contested) | (resolving - region.resolving)
    region.resolving = resolving
    touched |= _other(before.told_by, region.told_by)
    touched |= _other(links_before, region.known.links) & (partition.group_of.keys() | links_before.keys())
    touched |= _other(before.component_of, region.component_of)
    changed = news | _other(before.component_of_sighting, region.component_of_sighting)
    return Settled(conclusions, partition, changed, touched, news)


def _as_they_came(seen: Sequence[Seen], resolving: set[Node]) -> list[Node]:
    """What an event resolves by comes with the first that does, however often it was named before."""
    return [node for one in seen for node in (one.resolving, *(named for named in one.nodes if named not in resolving))]


def _other(before: Mapping[Key, object], after: Mapping[Key, object]) -> set[Key]:
    """Of which there was another value before, or none."""
    return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


def _tell(region: Region, taking: Taking, shared_before: set[Node], rules: Rules) -> None:
    """Of a value that is shared still, no more is here than what recounting it came to."""
    stay = region.shared & shared_before - region.reconsidered
    found = {node: evidence for node, (evidence, _) in taking.last.items()} | region.recounted
    found |= {node: told_by(node, region.facts, rules)[1] for node in region.shared - stay}
    for node in found.keys() - stay | region.recounted.keys():
        if (evidence := found[node]) is not None:
            region.told_by[node] = evidence
        elif node in region.recounted:
            region.told_by.pop(node, None)


def _stand_alone(partition: Partition, node: Node) -> None:
    """An identifier that an event resolved by, and that was only ever seen by itself, is no fact and has a customer all the same."""
    if node not in partition.group_of:
        partition.add(node)


def _matched(region: Region) -> Iterator[tuple[Node, Node]]:
    """Matches of any weight: what rules make of a weight may change, and a component has all that it may lead to."""
    for ends in region.facts.matched:
        if ends.isdisjoint(region.shared):
            one, other = sorted(ends)
            yield one, other


def _label(
    region: Region, links: Iterable[tuple[Node, Node]], nodes: Iterable[Node], without: set[Node], taking: Taking, new_id: NewId
) -> None:
    """Gives each component a label: the one that most of it has already, so that little is rewritten. Of `without` none has one."""
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
        if len(component) == 1 and component[0] in without:
            continue
        held = [label for node in component if (label := before.get(node)) is not None and label not in taken]
        label = max(sorted(set(held)), key=held.count) if held else new_id()
        taken.add(label)
        region.component_of |= dict.fromkeys(component, label)
    region.component_of_sighting = {
        together: region.component_of[active]
        for together, evidence in region.facts.together.items()
        if (active := next((node for node in sorted(taking.part(together, evidence)) if node not in without), None))
    }
