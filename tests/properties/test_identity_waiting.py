"""Laws of what waits: a unit loads no more than a bound, and at rest all is as if it had been settled at once."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from services.identity.graph.conclude import Conclusion
from services.identity.graph.facts import Node
from services.identity.graph.founding import found
from services.identity.graph.gathering import gathered, is_small
from services.identity.graph.region import Seen
from services.identity.graph.rules import DEFAULT_RULES, Rules
from tests.properties.graph_store import Store
from tests.properties.test_identity_region import check, seen_of
from tests.properties.test_identity_resolve import Sighting, all_rules, sightings

MOST = 3  # identifiers within a unit


@dataclass
class Waiting(Store):
    """As `intake` and `settling`, but for what is looked up."""

    waits: dict[frozenset[Node], Seen] = field(default_factory=dict)

    def take(self, seen: list[Seen]) -> list[Conclusion]:
        news = [one for one in seen if not self._known(one)]
        groups = gathered(news, self.whole.component_of, self._outside(news))
        small = [group for group in groups if self._is_small(group)]
        concluded = self._settle_now([one for group in small for one in group], len(groups))
        for one in (one for group in groups if group not in small for one in group):
            concluded += self._place(one)
        return concluded

    def behind(self, most: int) -> None:
        page = [self.waits.pop(nodes) for nodes in list(self.waits)[:most]]
        self._settle(self.load({node for one in page for node in one.nodes}, page), page)

    def _is_small(self, group: list[Seen]) -> bool:
        whole, components = self.whole, set(self.whole.component_of.values())
        sizes = {label: sum(found == label for found in whole.component_of.values()) for label in components}
        if not is_small(group, whole.component_of, sizes, MOST):
            return False
        self.load({node for one in group for node in one.nodes}, group)
        return len(self.loaded) <= MOST

    def _settle_now(self, now: list[Seen], groups: int) -> list[Conclusion]:
        region = self.load({node for one in now for node in one.nodes}, now)
        assert len(self.loaded) <= MOST * max(groups, 1)
        return self._settle(region, now)

    def _outside(self, news: list[Seen]) -> set[Node]:
        founding = {one.resolving for one in news} - self.whole.resolving
        return (self.whole.shared | (self.whole.contested - self.whole.component_of.keys())) - founding

    def _place(self, one: Seen) -> list[Conclusion]:
        whole, node = self.whole, one.resolving
        concluded = found(whole.known, [node], self.new_id)
        whole.resolving.add(node)
        if node not in whole.shared | whole.contested:
            whole.component_of.setdefault(node, self.new_id())
        if len(one.nodes) > 1:
            nodes = frozenset(one.nodes)
            earlier = min(one.evidence, self.waits.get(nodes, one).evidence)
            self.waits[nodes] = one._replace(evidence=earlier, placed=True)
        return concluded


@given(sightings, all_rules, st.integers(1, 4), st.lists(st.integers(0, 3), max_size=30))
def test_what_waits_is_as_if_it_had_been_settled_at_once(seen: list[Sighting], rules: Rules, size: int, behind: list[int]) -> None:
    """However much of it is settled between units."""
    store, own = Waiting(rules), dict[Node, bytes]()
    for number, first in enumerate(range(0, len(seen), size)):
        store.take([seen_of(one, rules) for one in seen[first : first + size]])
        for one in seen[first : first + size]:
            own.setdefault(node := seen_of(one, rules).resolving, store.whole.known.own[node])
        if number < len(behind):
            store.behind(behind[number])
    while store.waits:
        store.behind(3)
    check(store, seen)
    assert own.items() <= store.whole.known.own.items(), "an event stands where it stood"
    at_once = Store(rules)
    at_once.take([seen_of(one, rules) for one in seen])
    assert asked(store) == asked(at_once)


def asked(store: Store) -> set[tuple[frozenset[frozenset[Node]], str]]:
    """The open questions: about whom, by all that names them, and why."""
    canonical, names = store.whole.known.canonical(), dict[bytes, set[Node]]()
    for node, customer in store.whole.known.links.items():
        names.setdefault(canonical[customer], set()).add(node)
    return {
        (frozenset(frozenset(names[canonical[end]]) for end in (one.one, one.other)), one.reason) for one in store.queue.values()
    }


def test_a_chain_is_loaded_by_none_of_its_events() -> None:
    store, chain = Waiting(DEFAULT_RULES), list[Sighting]()
    for number in range(200):
        ends = Node("email", ((number + 1) // 2).to_bytes(2)), Node("phone", (number // 2).to_bytes(2))
        chain.append((frozenset(ends), number))
        store.take([seen_of(chain[-1], DEFAULT_RULES)])
        assert store.largest <= MOST
    while store.waits:
        store.behind(50)
    check(store, chain)
