"""Laws of the incremental graph: loading only what some facts touch gives what all facts together give."""

from dataclasses import dataclass, field
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from services.identity.graph.conclude import Concluded
from services.identity.graph.facts import Evidence, Facts, Node, shared
from services.identity.graph.region import Region, Seen, settle
from services.identity.graph.resolve import resolve
from services.identity.graph.rules import Rules
from tests.properties.test_identity_conclude import customers_together
from tests.properties.test_identity_resolve import Sighting, all_rules, nodes, sightings


@dataclass
class Store:
    """As the tables are: rows of identifiers and of sightings, each with its component."""

    rules: Rules
    whole: Region = field(default_factory=Region)
    unsettled: set[Node] = field(default_factory=set)
    ids: count = field(default_factory=lambda: count(1))  # type: ignore[type-arg]
    largest: int = 0

    def new_id(self) -> bytes:
        return next(self.ids).to_bytes(16)

    def take(self, seen: list[Seen]) -> None:
        region = self.load({node for one in seen for node in one.nodes})
        settle(region, seen, self.rules, self.new_id)
        self.largest = max(self.largest, len(region.facts.together))
        self.save(region)

    def load(self, touched: set[Node]) -> Region:
        touched = touched | self.unsettled
        whole, region = self.whole, Region(reconsidered=self.unsettled & self.whole.shared)
        again = {together for together in whole.facts.together if not together.isdisjoint(region.reconsidered)}
        touched |= {node for together in again for node in together}
        components = {whole.component_of[node] for node in touched if node in whole.component_of}
        inside = {node for node, found in whole.component_of.items() if found in components} | touched
        for together, evidence in whole.facts.together.items():
            if whole.component_of_sighting.get(together) in components or together in again:
                region.facts.together[together] = evidence
        region.shared = {node for node in inside | region.facts.nodes() if node in whole.shared}
        region.component_of = {node: whole.component_of[node] for node in inside if node in whole.component_of}
        known = whole.known
        region.known = Concluded(
            {node: known.links[node] for node in inside if node in known.links},
            {node: known.own[node] for node in inside if node in known.own},
            dict(known.founding_numbers),
            {},
            known.next_founding_number,
        )
        mine = set(region.known.own.values())
        region.known.edges = {merge_id: ends for merge_id, ends in known.edges.items() if not mine.isdisjoint(ends)}
        return region

    def save(self, region: Region) -> None:
        whole, known = self.whole, self.whole.known
        inside = region.known.own.keys() | region.known.links.keys() | region.component_of.keys() | region.shared
        inside |= region.reconsidered | region.facts.nodes()
        for table, mine in (
            (known.links, region.known.links),
            (known.own, region.known.own),
            (whole.component_of, region.component_of),
        ):
            for node in inside & table.keys() - mine.keys():  # type: ignore[operator]
                if node not in region.shared or node in region.reconsidered or table is not whole.component_of:
                    del table[node]  # type: ignore[attr-defined]
            table.update(mine)  # type: ignore[attr-defined]
        for node in region.shared:
            whole.component_of.pop(node, None)
        known.founding_numbers |= region.known.founding_numbers
        known.next_founding_number = region.known.next_founding_number
        mine_customers = set(region.known.own.values())
        known.edges = {m: e for m, e in known.edges.items() if mine_customers.isdisjoint(e)} | region.known.edges
        whole.shared = (whole.shared - inside) | region.shared
        whole.facts.together |= region.facts.together
        whole.component_of_sighting |= region.component_of_sighting
        self.unsettled.clear()

    def forget(self, gone: Node) -> None:
        """As an erasure: the identifier, and all it was seen with, is no fact any more."""
        whole = self.whole
        removed = {together for together in whole.facts.together if gone in together}
        for together in removed:
            del whole.facts.together[together]
            whole.component_of_sighting.pop(together, None)
        self.unsettled |= {node for together in removed for node in together} - {gone}
        customer = whole.known.own.pop(gone, None)
        whole.known.links.pop(gone, None)
        whole.component_of.pop(gone, None)
        whole.shared.discard(gone)
        whole.known.edges = {m: e for m, e in whole.known.edges.items() if customer not in e}
        if customer is not None:  # what was linked to it
            for node in [node for node, linked in whole.known.links.items() if linked == customer]:
                del whole.known.links[node]
                self.unsettled.add(node)


def seen_of(sighting: Sighting, rules: Rules) -> Seen:
    together, at = sighting
    strongest_first = sorted(together, key=lambda node: (rules.rank(node.namespace), node))
    return Seen(tuple(strongest_first), Evidence(at, repr((sorted(together), at)).encode()))


def check(store: Store, remaining: list[Sighting]) -> None:
    facts = Facts()
    for together, at in remaining:
        if len(together) > 1:
            facts.see(together, Evidence(at, repr((sorted(together), at)).encode()))
    assert store.whole.facts.together == facts.together
    assert store.whole.shared == shared(facts, store.rules)
    expected = resolve(facts, store.rules)
    joined = {customer: group for group in customers_together(store.whole.known) for customer in group}
    links = store.whole.known.links
    for node in links.keys() & expected.group_of.keys():
        for other in links.keys() & expected.group_of.keys():
            same = expected.group_of[node] is expected.group_of[other]
            assert (joined[links[node]] == joined[links[other]]) is same
    assert expected.group_of.keys() - links.keys() <= expected.shared


@given(sightings, all_rules, st.integers(1, 4))
def test_in_units_of_any_size_it_is_as_all_at_once(seen: list[Sighting], rules: Rules, size: int) -> None:
    store = Store(rules)
    for first in range(0, len(seen), size):
        store.take([seen_of(one, rules) for one in seen[first : first + size]])
    check(store, seen)


@settings(max_examples=200)
@given(sightings, sightings, all_rules, nodes)
def test_what_is_erased_is_as_if_never_seen(seen: list[Sighting], later: list[Sighting], rules: Rules, gone: Node) -> None:
    store = Store(rules)
    for one in seen:
        store.take([seen_of(one, rules)])
    store.forget(gone)
    store.take([])
    remaining = [one for one in seen if gone not in one[0]]
    check(store, remaining)
    for one in later:
        store.take([seen_of(one, rules)])
    check(store, remaining + later)


def test_a_kiosk_does_not_load_all_who_used_it() -> None:
    from services.identity.graph.rules import DEFAULT_RULES

    store, kiosk = Store(DEFAULT_RULES), Node("anonymous_id", b"kiosk")
    for number in range(300):
        store.take([seen_of((frozenset({Node("user_id", number.to_bytes(2)), kiosk}), number), DEFAULT_RULES)])
    assert store.largest <= 3
