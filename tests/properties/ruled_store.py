"""A graph in memory whose rules change, as the service changes them."""

from copy import deepcopy
from dataclasses import dataclass, field

from services.identity.graph.crowding import shared
from services.identity.graph.difference import Difference, Tally
from services.identity.graph.facts import Node
from services.identity.graph.region import Region
from services.identity.graph.rules import Rules
from tests.properties.graph_store import Store


@dataclass
class RuledStore(Store):
    """`activate`, then `resettle` page by page until nothing is `waiting`."""

    waiting: list[Node] = field(default_factory=list)
    checked: list[set[Node]] = field(default_factory=list)  # what a check looked at, page by page

    def activate(self, rules: Rules) -> None:
        self.rules = rules
        self.waiting = sorted(self.nodes(), key=lambda node: node.value_hash)

    def nodes(self) -> set[Node]:
        """Also what is in no fact any more: its row says whether it is shared."""
        return self.whole.facts.nodes() | self.whole.known.links.keys() | self.whole.known.own.keys() | self.whole.shared

    def resettle(self, size: int, *, crash: bool = False) -> None:
        """A page is one transaction, with the place up to which it came: after a crash it comes again, or was never there."""
        page, rest = self.waiting[:size], self.waiting[size:]
        before = deepcopy(self.whole)
        self.unsettled |= set(page)
        returning = self.whole.shared - shared(self.whole.facts, self.rules)
        while more := self._along(self.load(set()), returning) - self.unsettled:
            self.unsettled |= more
        self.take([])
        if crash:
            self.whole = before
        else:
            self.waiting = rest

    def settle_all(self, size: int) -> None:
        while self.waiting:
            self.resettle(size)

    def region_for(self, page: set[Node], rules: Rules) -> Region:
        """Closed under what links now and what would under these rules."""
        returning = self.whole.shared - shared(self.whole.facts, rules)
        inside: set[Node] = set()
        while True:
            self.unsettled = set(inside)
            region = self.load(set(page), rules=rules)
            found = page & returning | self._along(region, returning)
            if found <= inside:
                self.unsettled = set()
                return region
            inside |= found

    def check(self, rules: Rules, size: int) -> Difference:
        """In pages, nothing written."""
        tally, node_of = Tally(), {node.value_hash: node for node in self.nodes()}
        ordered = sorted(node_of)
        for page in (ordered[at : at + size] for at in range(0, len(ordered), size)):
            self.checked.append(left := {node_of[value_hash] for value_hash in tally.left(page)})
            tally.take(page, self.region_for(left, rules) if left else None, rules, self.new_id)
        return tally.found

    def _along(self, region: Region, returning: set[Node]) -> set[Node]:
        """With what is settled anew goes what links again under other rules, and all that may take part in more sightings, or in
        others. So nothing is concluded from half of what will be."""
        matching = self._matching(region)
        borders = matching & self.whole.contested - self.whole.component_of.keys()
        return (region.shared | matching) & returning | borders | region.facts.beyond | (region.told_by.keys() - self.whole.shared)

    def _matching(self, region: Region) -> set[Node]:
        """As `sharing.edge`."""
        recorded = region.facts.recorded_by.keys() - (region.shared - region.reconsidered)
        return {node for found in self.whole.facts.matched if not found.isdisjoint(recorded) for node in found}
