"""What other rules or decisions would change: customers that would merge and split, told from before and after. Pure."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

from services.identity.graph.facts import Node
from services.identity.graph.region import Region, Settled, settle
from services.identity.graph.rules import Rules
from shared.ids import NewId

MAX_EXAMPLES = 20  # of each kind
MAX_CUSTOMERS = 20  # of an example
MAX_AHEAD = 1_000_000  # value hashes that a tally remembers, about 100 bytes each; beyond, components are settled again

Named = Mapping[Node, bytes]  # {identifier: the customer that answers for whom it names}
Amend = Callable[[Region], None]


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


def difference(region: Region, rules: Rules, new_id: NewId, amend: Amend = unchanged) -> Difference:
    """What would change if the region were settled under these rules, with its facts amended; `region` stays as it is."""
    return changed(region, _settled(region, rules, new_id, amend)[0])


@dataclass(slots=True)
class Tally:
    """Of pages of all value hashes, in their order: what would change. Each component is settled and counted once, with the page that
    has its smallest hash, which is the first that touches it.
    """

    found: Difference = field(default_factory=Difference)
    _up_to: bytes = b""
    _ahead: set[bytes] = field(default_factory=set)  # of components that are counted, behind the pages so far

    def left(self, page: Sequence[bytes]) -> list[bytes]:
        """Of the next page, what has to be looked at."""
        return [value_hash for value_hash in page if value_hash not in self._ahead]

    def take(
        self, page: Sequence[bytes], region: Region | None, rules: Rules, new_id: NewId, amend: Amend = unchanged
    ) -> tuple[Region, Settled] | None:
        """What it was settled to. `region` has whole components of what was `left` of the page, of what links now and of what would; None: nothing was."""
        settled = None
        if region is not None:
            after, _ = settled = _settled(region, rules, new_id, amend)
            counted = _counted(region, after, self._up_to, page[-1])
            self.found.add(changed(region, after, counted))
            if len(self._ahead) < MAX_AHEAD:
                self._ahead |= {node.value_hash for node in counted if node.value_hash > page[-1]}
        self._ahead.difference_update(page)
        self._up_to = page[-1]
        return settled


def _settled(region: Region, rules: Rules, new_id: NewId, amend: Amend) -> tuple[Region, Settled]:
    after = copied(region)
    amend(after)
    return after, settle(after, [], rules, new_id)


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
    )  # of what is contested, all that was linked or is
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


def _counted(before: Region, after: Region, behind: bytes, up_to: bytes) -> set[Node]:
    """Identifiers of components, joined by all that links now or would, whose smallest hash is between these."""
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
    return {node for node in nodes if behind < least[root(node)] <= up_to}
