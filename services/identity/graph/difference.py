"""What other rules or decisions would change: customers that would merge and split, told from before and after. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import NamedTuple

from services.identity.graph.conclude import Conclusion, Linked, Unlinked
from services.identity.graph.facts import Facts, Node
from services.identity.graph.region import Component, Region, settle
from services.identity.graph.rules import Rules
from shared.ids import NewId

MAX_EXAMPLES = 20  # of each kind
MAX_CUSTOMERS = 20  # of an example

Canonical = Mapping[bytes, bytes]  # {customer: the one that answers for it}
Amend = Callable[[Facts], None]


def unchanged(facts: Facts) -> None:
    """What rules alone would change."""


class Example(NamedTuple):
    """Customers that would become one, or that one would come apart into; by the ids that answer for them."""

    merges: bool
    customers: tuple[bytes, ...]


@dataclass(slots=True)
class Difference:
    """Counts of what would happen; a customer is counted by the id that answers for it, before or after.

    `merges`: how many customers fewer there would be by joining; `splits`: how many more by coming apart.
    """

    merges: int = 0
    splits: int = 0
    links: int = 0
    unlinks: int = 0
    shared: int = 0  # identifiers that would stop linking
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


def compare(before: Canonical, after: Canonical) -> Difference:
    """Of customers that are there before and after; who is founded new was nobody before."""
    found = Difference()
    for merges, ours, others in ((True, before, after), (False, after, before)):
        for answered in _gathered(before.keys() & after.keys(), ours, others):
            if len(answered) > 1:
                found.merges += (len(answered) - 1) * merges
                found.splits += (len(answered) - 1) * (not merges)
                found.examples.append(Example(merges, answered[:MAX_CUSTOMERS]))
    return found


def _gathered(customers: Iterable[bytes], by: Canonical, into: Canonical) -> list[tuple[bytes, ...]]:
    """For each one of `into`: which ones of `by` its members belong to."""
    gathered: dict[bytes, set[bytes]] = {}
    for customer in customers:
        gathered.setdefault(into[customer], set()).add(by[customer])
    return sorted(tuple(sorted(found)) for found in gathered.values())


def difference(region: Region, rules: Rules, new_id: NewId, amend: Amend = unchanged, beyond: bytes = b"") -> Difference:
    """What would change if the region were settled under these rules, with its facts amended; `region` stays as it is.

    Has to hold whole components, of what links now and of what would. With `beyond`, components that have an identifier whose
    hash is not beyond it are left out: they were counted with that one.
    """
    after = deepcopy(region)
    amend(after.facts)
    conclusions = settle(after, [], rules, new_id).conclusions
    counted = _counted(region, after, beyond)
    return _compared(region, after, conclusions, counted)


def _compared(before: Region, after: Region, conclusions: Sequence[Conclusion], counted: set[Node]) -> Difference:
    customers = {after.known.links[node] for node in counted if node in after.known.links}
    customers |= {before.known.links[node] for node in counted if node in before.known.links}
    found = compare(
        {customer: top for customer, top in before.known.canonical().items() if customer in customers},
        {customer: top for customer, top in after.known.canonical().items() if customer in customers},
    )
    found.links = sum(isinstance(one, Linked) and one.node in counted for one in conclusions)
    found.unlinks = sum(isinstance(one, Unlinked) and one.node in counted for one in conclusions)
    found.shared = len((after.shared - before.shared) & counted)
    found.returned = len((before.shared - after.shared) & counted)
    return found


def _counted(before: Region, after: Region, beyond: bytes) -> set[Node]:
    """Identifiers that lie beyond with all that something links them to that links now or would."""
    gathered: dict[object, list[Node]] = {}
    never = before.shared & after.shared
    for together in before.facts.together:
        gathered[together] = [node for node in together if node not in never]
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
    return {node for node in nodes if least[root(node)] > beyond}
