"""Laws of the review queue: what is asked of whom is a function of the facts, whatever came first and whatever of it is loaded."""

from collections.abc import Callable, Sequence
from itertools import combinations, permutations
from math import inf

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.identity.graph.conclude import Concluded
from services.identity.graph.facts import Evidence, Match, Node, Pair, pair
from services.identity.graph.ownership import divide
from services.identity.graph.questions import Question, questions
from services.identity.graph.resolve import Partition
from services.identity.graph.rules import DEFAULT_RULES, REVIEW_WEIGHT, Rules
from tests.properties.graph_store import Store
from tests.properties.test_identity_region import match, seen_of
from tests.properties.test_identity_resolve import EXCLUSIVE, TIGHT, Sighting, nodes, pairs

Step = Callable[[Store], object]
Said = dict[frozenset[frozenset[Node]], object]


def see(*names: str, at: int) -> Step:
    together = frozenset(map(node, names))
    return lambda store: store.take([seen_of((together, at), store.rules)])


def node(name: str) -> Node:
    namespace = {"u": "user_id", "e": "email", "c": "card", "a": "anonymous_id", "p": "phone"}[name[0]]
    return Node(namespace, name.encode())


def decide(kind: str, one: str, other: str) -> Step:
    return lambda store: store.take_decision(kind, pair(node(one), node(other)))


def withdraw(kind: str, one: str, other: str) -> Step:
    return lambda store: store.withdraw(kind, pair(node(one), node(other)))


def played(steps: Sequence[Step], rules: Rules = DEFAULT_RULES) -> Store:
    store = Store(rules)
    for step in steps:
        step(store)
    return store


def asked(store: Store) -> Said:
    """Whose the two customers are, and what each is asked for."""
    return by_people(store.whole.known, dict(enumerate(store.queue.values())))


def by_people(known: Concluded, found: dict[int, Question]) -> Said:
    canonical, people = known.canonical(), dict[bytes, set[Node]]()
    for one, customer in known.links.items():
        people.setdefault(canonical[customer], set()).add(one)
    said: Said = {}
    for question in found.values():
        two = frozenset(frozenset(people.get(canonical[end], ())) for end in (question.one, question.other))
        assert two not in said, "two customers are asked about once"
        said[two] = question.says()
    return said


def should_be(store: Store) -> Said:
    """Of all facts together."""
    partition: Partition = divide(store.whole.facts, store.rules)
    return by_people(store.whole.known, dict(enumerate(questions(store.whole.known, partition, store.rules).values())))


def check(store: Store) -> None:
    assert asked(store) == should_be(store)


CASES: dict[str, list[Step]] = {
    "through a weaker value": [see("e", "c", "a", at=1), see("u2", "c", at=2), see("u4", "c", at=3), see("u1", "e", at=4)],
    "two addresses of a third": [see("u0", "e0", at=1), see("u1", "e0", at=2), see("u2", "e1", at=3), see("u1", "e1", at=4)],
    "two values of the same two": [see("u0", "e0", at=1), see("u1", "e0", at=2), see("u0", "p1", at=3), see("u1", "p1", at=4)],
}


@pytest.mark.parametrize("case", CASES)
def test_in_any_order_of_what_was_seen_the_same_is_asked(case: str) -> None:
    orders = [played(order) for order in permutations(CASES[case])]
    for store in orders:
        check(store)
        assert asked(store) == asked(orders[0]) != {}


def test_joined_by_hand_with_whom_it_was_asked_of_they_are_asked_about_once() -> None:
    store = played([*CASES["two addresses of a third"], decide("forced", "u0", "u2")])
    check(store)
    assert len(store.queue) == 1


BOTH = [see("u0", "a0", at=1), see("u1", "p", at=2), see("u2", "p", at=3)]


def test_who_may_be_one_when_decisions_of_a_third_are_taken_back_is_asked_in_any_order() -> None:
    decided = [decide("forced", "u0", "u2"), decide("forbidden", "u0", "u1")]
    back = [withdraw("forced", "u0", "u2"), withdraw("forbidden", "u0", "u1")]
    for steps in permutations([*decided, *BOTH]):
        store = played(steps)
        check(store)
        assert not store.queue, "they are forbidden"
        for order in permutations(back):
            again = played([*steps, *order])
            check(again)
            assert len(again.queue) == 1


known = [node(f"u{number}") for number in range(4)]
some_of_them = st.sets(st.sampled_from([pair(*two) for two in combinations(known, 2)]))


def matching(joined: set[Pair], alike: set[Pair], times: Sequence[int]) -> Store:
    """Of matches that weigh the same: which event each names hangs on what had been said when it was found."""
    store = played([see(f"u{number}", at=number) for number in range(len(known))])
    for two in sorted(joined, key=sorted):
        store.take_decision("forced", two)
    found = zip(sorted(alike, key=sorted), times, strict=False)
    store.match({two: Match(REVIEW_WEIGHT, -inf, Evidence(at, b"said")) for two, at in found}, {})
    check(store)
    return store


@given(some_of_them, some_of_them, st.permutations(range(6)))
@example({pair(known[0], known[2])}, {pair(known[0], known[1]), pair(known[1], known[2])}, [1, 0, 2, 3, 4, 5])
def test_of_matches_that_weigh_the_same_it_says_the_same_one_whichever_was_said_first(
    joined: set[Pair], alike: set[Pair], times: Sequence[int]
) -> None:
    assert asked(matching(joined, alike, times)) == asked(matching(joined, alike, range(6)))


few = st.builds(
    lambda name, number: Node(name, bytes([number]) + name.encode()),
    st.sampled_from(["user_id", "email", "phone"]),
    st.integers(1, 4),
)
a_step = st.one_of(
    st.tuples(st.frozensets(few, min_size=1, max_size=3), st.integers(0, 30)),
    st.tuples(st.frozensets(nodes, min_size=1, max_size=3), st.integers(0, 30)),
    st.tuples(st.sampled_from(["forced", "forbidden", "withdrawn", "matched"]), pairs),
)


def lived(steps: Sequence[Sighting | tuple[str, Pair]], rules: Rules, store: Store | None = None) -> Store:
    store = store or Store(rules)
    for step in steps:
        match step:
            case (frozenset() as together, int(at)):
                store.take([seen_of((together, at), rules)])
            case ("withdrawn", frozenset() as decided):
                store.withdraw("forced", decided)
                store.withdraw("forbidden", decided)
            case ("matched", frozenset() as found):
                match_of_records(store, [found])
            case (str(kind), frozenset() as decided):
                store.take_decision(kind, decided)
    return store


@given(st.lists(a_step, max_size=25), st.sampled_from([DEFAULT_RULES, DEFAULT_RULES, TIGHT, EXCLUSIVE]))
def test_whatever_is_loaded_what_is_asked_is_as_of_all_facts_together(
    steps: list[Sighting | tuple[str, Pair]], rules: Rules
) -> None:
    check(lived(steps, rules))


match_of_records = match
