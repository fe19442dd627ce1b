"""Laws of questions that expired: each rests until one of its two is seen again, and nothing else brings it back or ends its rest."""

from collections.abc import Callable, Sequence
from itertools import permutations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.identity.graph.facts import Node, Pair, pair
from services.identity.graph.ownership import divide
from services.identity.graph.rules import DEFAULT_RULES, Rules
from tests.properties.graph_store import Store
from tests.properties.test_identity_questions import Said, asked, few, node, should_be
from tests.properties.test_identity_region import match, seen_of
from tests.properties.test_identity_resolve import CROWDED, EXCLUSIVE, TIGHT, Sighting, nodes, pairs


class Queue:
    """A store, and beside it what rests, of all facts together: by the identifiers that founded the two."""

    def __init__(self, rules: Rules) -> None:
        self.store = Store(rules)
        self.resting: list[tuple[Node, Node]] = []

    def see(self, unit: Sequence[Sighting]) -> None:
        seen = [seen_of(one, self.store.rules) for one in unit]
        self.store.take(seen)
        here = {self.group(one.resolving) for one in seen}
        self.resting = [two for two in self.resting if here.isdisjoint(map(self.group, two))]

    def expire(self, chosen: Sequence[int]) -> None:
        open_now = sorted(self.store.queue)
        ids = {open_now[n % len(open_now)] for n in chosen} if open_now else set()
        founder = {customer: one for one, customer in self.store.whole.known.own.items()}
        self.resting += [(founder[self.store.queue[i].one], founder[self.store.queue[i].other]) for i in sorted(ids)]
        self.store.expire(ids)

    def group(self, one: Node) -> frozenset[Node]:
        found = divide(self.store.whole.facts, self.store.rules).group_of.get(one)
        return frozenset(found.nodes if found else {one})

    def should_be(self) -> Said:
        quiet = {frozenset(map(self.group, two)) for two in self.resting}
        return {two: said for two, said in should_be(self.store).items() if two not in quiet}

    def check(self) -> None:
        assert asked(self.store) == self.should_be()


def said(*names: str, at: int) -> Sighting:
    return frozenset(map(node, names)), at


ASKED = [said("u1", "e", at=1), said("u2", "e", at=2), said("u1", "p", at=3)]


def expired(order: Sequence[Sighting] = ASKED, rules: Rules = DEFAULT_RULES) -> Queue:
    queue = Queue(rules)
    for one in order:
        queue.see([one])
    queue.expire([0])
    assert asked(queue.store) == {}
    return queue


@pytest.mark.parametrize(
    "again",
    [
        [said("u1", "e", at=1)],
        [said("u2", "e", at=9)],
        [said("u1", at=9)],
        [said("p", at=9)],
        [said("u2", "a", at=9)],
        [said("u1", "a", at=0)],
    ],
    ids=["with what is known", "the other", "alone", "by what is hers", "with what is new", "by an event that is late"],
)
def test_it_is_asked_again_when_one_of_the_two_is_seen_again_whatever_was_seen_first(again: list[Sighting]) -> None:
    for order in permutations(ASKED):
        queue = expired(order)
        queue.see(again)
        queue.check()
        assert len(asked(queue.store)) == 1


def test_it_rests_whoever_is_one_with_them_by_then() -> None:
    queue = expired([said("u0", "a0", at=0), *ASKED])
    queue.store.take_decision("forced", pair(node("u0"), node("u1")))
    queue.check()
    assert asked(queue.store) == {}
    queue.see([said("a0", at=9)])
    queue.check()
    assert len(asked(queue.store)) == 1


def test_who_is_crowded_and_seen_again_is_asked_about_again_though_that_says_nothing_of_her() -> None:
    queue = expired(rules=msgspec.structs.replace(DEFAULT_RULES, max_sightings=2))
    queue.see([said("u1", at=9)])
    queue.check()
    assert len(asked(queue.store)) == 1


def test_nothing_else_brings_it_back() -> None:
    queue = expired()
    steps: list[Callable[[], object]] = [
        lambda: queue.see([said("u3", "p", at=5)]),
        lambda: queue.store.take_decision("forced", pair(node("u1"), node("a9"))),
        lambda: queue.store.take_decision("forbidden", pair(node("u1"), node("u2"))),
        lambda: queue.store.withdraw("forbidden", pair(node("u1"), node("u2"))),
        lambda: queue.store.take_decision("forced", pair(node("u1"), node("u2"))),
        lambda: queue.store.withdraw("forced", pair(node("u1"), node("u2"))),
    ]
    for step in steps:
        step()
        queue.check()
        assert not any(frozenset(map(queue.group, (node("u1"), node("u2")))) == two for two in asked(queue.store))


a_step = st.one_of(
    *[
        st.tuples(
            st.just("seen"),
            st.lists(st.tuples(st.frozensets(some, min_size=1, max_size=3), st.integers(0, 30)), min_size=1, max_size=3),
        )
        for some in (few, few, nodes)
    ],
    st.tuples(st.sampled_from(["forced", "forbidden", "withdrawn", "matched"]), pairs),
    st.tuples(st.just("expired"), st.lists(st.integers(0, 9), min_size=1, max_size=2)),
    st.tuples(st.just("again"), st.integers(0, 30)),
)
Step = tuple[str, list[Sighting] | Pair | list[int] | int]


@given(st.lists(a_step, max_size=25), st.sampled_from([DEFAULT_RULES, DEFAULT_RULES, TIGHT, EXCLUSIVE, CROWDED]))
def test_whatever_settles_what_what_expired_rests_until_one_of_the_two_is_seen(steps: list[Step], rules: Rules) -> None:
    queue, seen = Queue(rules), list[Sighting]()
    for step in steps:
        match step:
            case ("seen", list(unit)):
                seen += unit  # type: ignore[arg-type]
                queue.see(unit)  # type: ignore[arg-type]
            case ("again", int(n)):
                queue.see([seen[n % len(seen)]] if seen else [])
            case ("expired", list(chosen)):
                queue.expire(chosen)  # type: ignore[arg-type]
            case ("withdrawn", frozenset() as decided):
                queue.store.withdraw("forced", decided)
                queue.store.withdraw("forbidden", decided)
            case ("matched", frozenset() as found):
                match_of_records(queue.store, [found])
            case (str(kind), frozenset() as decided):
                queue.store.take_decision(kind, decided)
        queue.check()


match_of_records = match
