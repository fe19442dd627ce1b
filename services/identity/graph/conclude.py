"""From a partition to what has to change: customers founded, identifiers linked, merges made and undone. Pure.

A customer is the stream of one identifier, founded when an event first resolves by it, and for ever its own. Identifiers that
no event resolves by are linked to a customer of their group. A merge is an edge; a split takes it away, and nothing moves.

What evidence or people join, without any match, is certainly one (`graph/certain`): each such part of a group has a customer, its identifiers are
linked to one of its own, and a merge says whether it joins two of a part or two parts, which are only likely one. A merge that says
otherwise than the facts is taken back, and another is made.

Who has a customer is a function of facts too (`_has_customer`). What founded one while it was somebody's by itself is unlinked
from it when it is nobody's any more: the customer stays, empty, and is its own again when it comes back.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from services.identity.graph.certain import Trees, certain_parts
from services.identity.graph.facts import Node
from services.identity.graph.resolve import Partition
from services.identity.graph.rules import Rules
from shared.ids import NewId


class Founded(NamedTuple):
    customer: bytes
    founding_number: int
    node: Node


class Linked(NamedTuple):
    customer: bytes
    node: Node


class Unlinked(NamedTuple):
    """`shared`: it turned out to be of several people, so it is nobody's."""

    customer: bytes
    node: Node
    shared: bool = False


class Merged(NamedTuple):
    """`likely`: nothing but a match joins the two."""

    merge_id: bytes
    customer: bytes
    other: bytes
    likely: bool = False


class Split(NamedTuple):
    """Takes the edge of a merge away. `shared` is what the two had in common and turned out to be of several people."""

    merge_id: bytes
    customer: bytes
    other: bytes
    shared: tuple[Node, ...] = ()


Conclusion = Founded | Linked | Unlinked | Merged | Split


@dataclass(slots=True)
class Concluded:
    """What was concluded of some identifiers so far."""

    links: dict[Node, bytes] = field(default_factory=dict)
    own: dict[Node, bytes] = field(default_factory=dict)  # those that founded a customer; it is their link, if they have one
    founding_numbers: dict[bytes, int] = field(default_factory=dict)
    edges: dict[bytes, tuple[bytes, bytes]] = field(default_factory=dict)  # by merge id; a forest
    next_founding_number: int = 0
    likely: set[bytes] = field(default_factory=set)  # of the merges, those that nothing but a match speaks for

    def canonical(self) -> dict[bytes, bytes]:
        """{customer: the oldest of those that merges join to it}."""
        tree = Forest(self.founding_numbers)
        for customer, other in self.edges.values():
            tree.join(customer, other)
        return {customer: tree.root(customer) for customer in self.founding_numbers}


class Forest:
    """Customers joined by edges; the root is the oldest of them."""

    def __init__(self, founding_numbers: Mapping[bytes, int]) -> None:
        self._founding_numbers = founding_numbers
        self._parent: dict[bytes, bytes] = {}

    def root(self, customer: bytes) -> bytes:
        while (parent := self._parent.get(customer)) is not None:
            customer = parent
        return customer

    def join(self, one: bytes, other: bytes) -> None:
        older, younger = sorted((self.root(one), self.root(other)), key=self._founding_numbers.__getitem__)
        if older != younger:
            self._parent[younger] = older


def evolve(known: Concluded, conclusion: Conclusion) -> None:
    match conclusion:
        case Founded(customer, number, node):
            known.own[node] = customer
            known.founding_numbers[customer] = number
            known.next_founding_number = max(known.next_founding_number, number + 1)
        case Linked(customer, node):
            known.links[node] = customer
        case Unlinked(_, node, _):
            del known.links[node]
        case Merged(merge_id, customer, other, likely):
            known.edges[merge_id] = customer, other
            known.likely |= {merge_id} if likely else set()
        case Split(merge_id, _, _, _):
            del known.edges[merge_id]
            known.likely.discard(merge_id)


def conclude(
    known: Concluded,
    partition: Partition,
    resolving: Iterable[Node],
    rules: Rules,
    new_id: NewId,
    newly_shared: Collection[Node] = (),
    came: Iterable[Node] = (),
) -> list[Conclusion]:
    """Evolves `known` to what the partition asks for. `resolving` are the strongest identifiers of all events, known ones too.

    `came` are identifiers in the order in which events brought them: who came first is the older, whatever comes as one unit.
    """
    concluded: list[Conclusion] = []

    def take(conclusions: Iterator[Conclusion]) -> None:
        for conclusion in conclusions:
            evolve(known, conclusion)
            concluded.append(conclusion)

    founders, part_of = set(resolving), certain_parts(partition)
    take(_splits(known, partition, part_of, newly_shared))
    take(_unlinks(known, partition, part_of, founders, newly_shared))
    groups = {id(group): group for group in partition.group_of.values()}
    ordered = sorted(sorted(group.nodes, key=lambda node: (rules.rank(node.namespace), node)) for group in groups.values())
    somebody = [nodes for nodes in ordered if _has_customer(nodes, founders, partition.shared)]
    wanted = [node for nodes in somebody for part in _parts(nodes, part_of) for node in _wanted(known, part, founders)]
    for node in _as_they_came(wanted, came):
        take(_founding(known, node, new_id))
    for nodes in somebody:
        for part in _parts(nodes, part_of):
            take(_links(known, part))
            take(_merges(known, part, new_id))
        take(_merges(known, nodes, new_id, likely=True))
    return concluded


def _as_they_came(nodes: list[Node], came: Iterable[Node]) -> list[Node]:
    """What no event brought comes last."""
    place = {node: number for number, node in enumerate(dict.fromkeys(came))}
    return sorted(nodes, key=lambda node: place.get(node, len(place)))


def _has_customer(group: Collection[Node], founders: Collection[Node], shared: Collection[Node]) -> bool:
    """A group of several, or of one that an event resolved by, or that isn't shared: it is of somebody."""
    return len(group) > 1 or any(node in founders or node not in shared for node in group)


def _parts(nodes: list[Node], part_of: Mapping[Node, Node]) -> Collection[list[Node]]:
    """Of a group, in the order of its identifiers."""
    parts: dict[Node, list[Node]] = {}
    for node in nodes:
        parts.setdefault(part_of[node], []).append(node)
    return parts.values()


def _splits(
    known: Concluded, partition: Partition, part_of: Mapping[Node, Node], newly_shared: Collection[Node]
) -> Iterator[Conclusion]:
    """Merges of what is two, and those that say likely of what is certain, or the other way around, or that others say already."""
    places, shared, joined = _places(known, part_of), _by_cluster(known, newly_shared), Trees[Node]()
    for merge_id, (customer, other) in sorted(known.edges.items()):
        one, two = places.get(customer), places.get(other)
        if (
            one is None
            or two is None
            or partition.group_of[one] is not partition.group_of[two]
            or not (joined.join(one, two) if merge_id in known.likely else one == two)
        ):
            yield Split(merge_id, customer, other, shared.get(customer, ()))


def _places(known: Concluded, part_of: Mapping[Node, Node]) -> dict[bytes, Node]:
    """By customer the part that it is of."""
    return {customer: part_of[node] for node, customer in known.own.items() if node in part_of}


def _by_cluster(known: Concluded, nodes: Collection[Node]) -> dict[bytes, tuple[Node, ...]]:
    """By customer, those of these identifiers that are linked to it or to one that merges join to it."""
    if not (linked := [node for node in sorted(nodes) if node in known.links]):
        return {}
    canonical = known.canonical()
    of_root: dict[bytes, list[Node]] = {}
    for node in linked:
        of_root.setdefault(canonical[known.links[node]], []).append(node)
    return {customer: tuple(of_root[root]) for customer, root in canonical.items() if root in of_root}


def _unlinks(
    known: Concluded,
    partition: Partition,
    part_of: Mapping[Node, Node],
    founders: Collection[Node],
    newly_shared: Collection[Node],
) -> Iterator[Conclusion]:
    places = _places(known, part_of)
    for node, customer in sorted(known.links.items()):
        group = partition.group_of.get(node)  # none: no fact is left that says anything of it
        theirs = group is not None and places.get(customer) == part_of[node]
        if group is None or not theirs or not _has_customer(group.nodes, founders, partition.shared):
            yield Unlinked(customer, node, node in newly_shared)


def _wanted(known: Concluded, nodes: list[Node], founders: set[Node]) -> list[Node]:
    """Who is to found a customer. `nodes` are a part, strongest first."""
    wanted = [node for node in nodes if node in founders and node not in known.own]
    if not wanted and not any(node in known.own for node in nodes):
        return nodes[:1]
    return wanted


def _founding(known: Concluded, node: Node, new_id: NewId) -> Iterator[Conclusion]:
    if node in known.links:
        yield Unlinked(known.links[node], node)
    customer = new_id()
    yield Founded(customer, known.next_founding_number, node)
    yield Linked(customer, node)


def _links(known: Concluded, nodes: list[Node]) -> Iterator[Conclusion]:
    home = next((known.own[node] for node in nodes if node in known.own), None)
    if home is not None:
        for node in nodes:
            if node not in known.links:
                yield Linked(known.own.get(node, home), node)


def _merges(known: Concluded, nodes: list[Node], new_id: NewId, likely: bool = False) -> Iterator[Conclusion]:
    """Joins what hangs together already to the oldest customer, by one edge each; first a part, then the parts of a group."""
    customers = sorted((known.own[node] for node in nodes if node in known.own), key=known.founding_numbers.__getitem__)
    forest, mine = Forest(known.founding_numbers), set(customers)
    for merge_id, (customer, other) in known.edges.items():
        if customer in mine and other in mine and (likely or merge_id not in known.likely):
            forest.join(customer, other)
    for customer in customers[1:]:
        if forest.root(customer) == customer:
            yield Merged(new_id(), customers[0], customer, likely)
            forest.join(customers[0], customer)
