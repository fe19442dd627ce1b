"""What other rules or decisions would change: customers that would merge and split, told from before and after. Pure."""

from collections.abc import Callable, Collection, Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

from services.identity.graph.facts import Node
from services.identity.graph.region import Region, settle
from services.identity.graph.rules import Rules
from shared.ids import NewId

MAX_EXAMPLES = 20  # of each kind
MAX_CUSTOMERS = 20  # of an example

Named = Mapping[Node, bytes]  # {identifier: the customer that answers for whom it names}
Amend = Callable[[Region], None]
Within = tuple[bytes, bytes]  # behind the first, up to the last
EVERYTHING: Within = (b"", b"\xff" * 32)


def unchanged(region: Region) -> None:
    """What rules alone would change."""


class Example(NamedTuple):
    """Customers that would become one, or that one would come apart into; by the ids that answer for them.

    Of `parts` those have an id that were founded before.
    """

    merges: bool
    customers: tuple[bytes, ...]
    parts: int


@dataclass(slots=True)
class Difference:
    """Counts of what would happen. `merges`: how many customers fewer there would be by joining; `splits`: how many more by
    coming apart. A value that would name nobody any more is neither."""

    merges: int = 0
    splits: int = 0
    links: int = 0
    unlinks: int = 0
    shared: int = 0  # identifiers that would stop linking, shared or contested
    returned: int = 0  # identifiers that would link again
    examples: list[Example] = field(default_factory=list)

    def add(self, other: "Difference") -> None:
        self.merges += other.merges
        self.splits += other.splits
        self.links += other.links
        self.unlinks += other.unlinks
        self.shared += other.shared
        self.returned += other.returned
        for merges in (True, False):
            have = sum(example.merges is merges for example in self.examples)
            self.examples += [example for example in other.examples if example.merges is merges][: MAX_EXAMPLES - have]


def named(region: Region) -> Named:
    canonical = region.known.canonical()
    return {node: canonical[customer] for node, customer in region.known.links.items()}


def compare(before: Named, after: Named) -> Difference:
    """Of identifiers that name a customer before and after."""
    found, founded = Difference(), set(before.values())
    for merges, ours, others in ((True, before, after), (False, after, before)):
        for answered in _gathered(before.keys() & after.keys(), ours, others):
            if (parts := len(answered)) > 1:
                found.merges += (parts - 1) * merges
                found.splits += (parts - 1) * (not merges)
                known = tuple(customer for customer in answered if customer in founded)
                found.examples.append(Example(merges, known[:MAX_CUSTOMERS], parts))
    return found


def _gathered(nodes: Iterable[Node], by: Named, into: Named) -> list[tuple[bytes, ...]]:
    """For each customer of `into`: what its identifiers name by `by`."""
    gathered: dict[bytes, set[bytes]] = {}
    for node in nodes:
        gathered.setdefault(into[node], set()).add(by[node])
    return sorted(tuple(sorted(found)) for found in gathered.values())


def difference(region: Region, rules: Rules, new_id: NewId, amend: Amend = unchanged, within: Within = EVERYTHING) -> Difference:
    """What would change if the region were settled under these rules, with its facts amended; `region` stays as it is.

    Has to hold whole components, of what links now and of what would. Counted are those whose smallest hash is `within`: so
    regions that pages of hashes touch count each component once.
    """
    after = copied(region)
    amend(after)
    settle(after, [], rules, new_id)
    return changed(region, after, _counted(region, after, within))


def copied(region: Region) -> Region:
    """Settling the one leaves the other; what they hold never changes."""

    def fresh(part: Any) -> Any:
        return replace(part, **{one.name: copy(getattr(part, one.name)) for one in fields(part)})

    twin: Region = fresh(region)
    twin.facts, twin.known = fresh(region.facts), fresh(region.known)
    return twin


def changed(before: Region, after: Region, counted: Collection[Node] | None = None) -> Difference:
    """What became of a region, or of some identifiers in it."""
    was, now = before.known.links, after.known.links
    nodes = (
        set(counted) if counted is not None else was.keys() | now.keys() | before.shared | after.shared
    )  # contested ones are in a component
    found = compare(
        {node: customer for node, customer in named(before).items() if node in nodes},
        {node: customer for node, customer in named(after).items() if node in nodes},
    )
    moved = [node for node in nodes if was.get(node) != now.get(node)]
    found.links = sum(node in now for node in moved)
    found.unlinks = sum(node in was for node in moved)
    silent_before, silent_after = before.shared | before.contested, after.shared | after.contested
    found.shared = len((silent_after - silent_before) & nodes)
    found.returned = len((silent_before - silent_after) & nodes)
    return found


def _counted(before: Region, after: Region, within: Within) -> set[Node]:
    """Identifiers of components that are within, joined by all that links now or would."""
    gathered: dict[object, list[Node]] = {}
    for later, region in enumerate((before, after)):
        for node, component in region.component_of.items():
            gathered.setdefault((later, component), []).append(node)
    nodes = before.facts.nodes() | before.known.links.keys() | before.component_of.keys() | after.component_of.keys()
    least, tree = {node: node.value_hash for node in nodes}, {node: node for node in nodes}

    def root(node: Node) -> Node:
        while tree[node] != node:
            tree[node] = tree[tree[node]]
            node = tree[node]
        return node

    for members in gathered.values():
        for node in members[1:]:
            one, other = root(members[0]), root(node)
            tree[other] = one
            least[one] = min(least[one], least[other])
    return {node for node in nodes if within[0] < least[root(node)] <= within[1]}
