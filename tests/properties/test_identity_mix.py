"""Laws of the graph while all that can change it does, in any order: events, decisions, matches, erasures, and rules that it follows in pages."""

from collections.abc import Callable
from random import Random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.identity.graph.difference import changed, copied
from services.identity.graph.facts import Node, pair
from services.identity.graph.ownership import divide
from services.identity.graph.region import settle
from services.identity.graph.rules import Matching, Rules
from tests.properties.ruled_store import RuledStore
from tests.properties.test_identity_region import match, somebodys
from tests.properties.test_identity_rules import NAMES, any_rules, partition, seen_of


@st.composite
def any_matching(draw: st.DrawFn) -> Matching:
    link = draw(st.sampled_from([-5.0, 3.0, 6.0, 20.0]))
    return Matching(
        on=draw(st.booleans()),
        link_weight=link,
        review_weight=min(link, 1.0),
        witness=draw(st.booleans()),
        one_per_source=draw(st.sampled_from([(), ("crm",), ("crm", "shop")])),
    )


ruled = st.builds(lambda rules, matching: msgspec.structs.replace(rules, matching=matching), any_rules(), any_matching())


class Life:
    """What happens is drawn by `random`, of kinds that each letter of `kinds` names once; `rules` come into force one after the other."""

    def __init__(self, random: Random, rules: list[Rules], kinds: str) -> None:
        self.random = random
        self.rules = list(rules)
        self.store = RuledStore(self.rules.pop(0))
        self.decided: list[tuple[str, frozenset[Node]]] = []
        acts: dict[str, Callable[[], None]] = {
            "s": self.see, "d": self.decide, "w": self.withdraw, "m": self.match, "u": self.unmatch, "e": self.erase,
            "r": self.activate, "p": self.page, "l": self.left,
        }  # fmt: skip
        self.acts = [acts[kind] for kind in kinds]

    def node(self) -> Node:
        name = self.random.choice(NAMES)
        return Node(name, bytes([self.random.randrange(1, 5), NAMES.index(name)]))

    def live(self, steps: int) -> None:
        for _ in range(steps):
            self.random.choice(self.acts)()
            self.check_closed()
        while self.store.waiting:
            self.page()
            self.check_closed()
        self.left()
        self.check_closed()

    def see(self) -> None:
        together = frozenset(self.node() for _ in range(self.random.randrange(1, 5)))
        self.store.take([seen_of((together, self.random.randrange(30)), self.store.rules)])

    def decide(self) -> None:
        if (found := self.store.decide(self.random.choice(["merge", "split", "forbid"]), self.node(), self.node())) is not None:
            self.decided.append(found)

    def withdraw(self) -> None:
        if self.decided:
            self.store.withdraw(*self.decided.pop(self.random.randrange(len(self.decided))))

    def match(self) -> None:
        if (one := self.node()) != (other := self.node()):
            match(self.store, [pair(one, other)])

    def unmatch(self) -> None:
        if matched := sorted(self.store.whole.facts.matched, key=sorted):
            self.store.match({self.random.choice(matched): None}, {})

    def erase(self) -> None:
        if members := self.store.members(self.node()):
            gone = self.store.forget(members)
            self.decided = [(kind, ends) for kind, ends in self.decided if gone.isdisjoint(ends)]
            self.store.waiting = [node for node in self.store.waiting if node not in gone]

    def activate(self) -> None:
        if self.rules:
            self.store.activate(self.rules.pop(0))

    def page(self) -> None:
        if self.store.waiting:
            self.store.resettle(self.random.randrange(1, 6), crash=self.random.random() < 0.1)

    def left(self) -> None:
        self.store.take([])

    def check_closed(self) -> None:
        """What is loaded for one is loaded with all that merges join to it, and who it is linked to."""
        whole = self.store.whole
        founder = {customer: node for node, customer in whole.known.own.items()}
        component = whole.component_of
        for ends in whole.known.edges.values():
            one, other = (component.get(founder[end]) for end in ends)
            assert one is not None
            assert one == other
        for node, customer in whole.known.links.items():
            home = founder[customer]
            assert home == node or (component.get(home) is not None and component.get(home) == component.get(node))

    def check(self) -> None:
        whole, rules = self.store.whole, self.store.rules
        after = copied(whole)
        settle(after, [], rules, self.store.new_id)
        moved = changed(whole, after)
        assert (moved.merges, moved.splits, moved.links, moved.unlinks, moved.shared, moved.returned) == (0,) * 6
        expected = divide(whole.facts, rules)
        assert partition(self.store) == {group for group in expected.groups() if len(group) > 1}
        assert whole.known.links.keys() == somebodys(expected, whole.resolving)


@given(st.lists(ruled, min_size=1, max_size=4), st.integers(0, 2**32), st.integers(5, 40))
def test_whatever_happens_while_rules_are_followed_the_graph_is_as_its_facts(rules: list[Rules], seed: int, steps: int) -> None:
    """Erasures, decisions and matches come between the pages, and before older rules are through."""
    life = Life(Random(seed), rules, "sssssddwmmuerrppp")
    life.live(steps)
    life.check()


@given(st.lists(ruled, min_size=1, max_size=2), st.integers(0, 2**32), st.integers(20, 50))
def test_what_matches_is_told_by_all_facts_whatever_of_them_is_loaded(rules: list[Rules], seed: int, steps: int) -> None:
    """Of values that stand outside of components too."""
    life = Life(Random(seed), rules, "sssmmmmmmmurp")
    life.live(steps)
    life.check()
