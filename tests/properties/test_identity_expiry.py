"""Laws of questions that expired: each rests until one of its two is seen again, and nothing else brings it back or ends its rest."""

from collections.abc import Callable, Collection, Sequence
from itertools import permutations
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.identity.graph.facts import Node, Pair, pair
from services.identity.graph.ownership import divide
from services.identity.graph.questions import questions
from services.identity.graph.rules import DEFAULT_RULES, Rules
from tests.properties.graph_store import Store
from tests.properties.test_identity_questions import Said, asked, by_people, few, node, should_be
from tests.properties.test_identity_region import match, seen_of
from tests.properties.test_identity_resolve import CROWDED, EXCLUSIVE, TIGHT, Sighting, nodes, pairs


class Queue:
    """A store, and beside it what rests, of all facts together: by the identifiers that it was asked of."""

    def __init__(self, rules: Rules) -> None:
        self.store = Store(rules)
        self.resting: list[tuple[Node, Node]] = []
        self.open: dict[bytes, tuple[bytes, bytes]] = {}  # questions, by id: which identifiers they ask of

    def see(self, unit: Sequence[Sighting]) -> None:
        seen = [seen_of(one, self.store.rules) for one in unit]
        self.store.take(seen)
        here = {self.group(one.resolving) for one in seen}
        links = self.store.whole.known.links
        self.resting = [two for two in self.resting if here.isdisjoint(self.group(end) for end in two if end in links)]

    def expire(self, chosen: Sequence[int]) -> None:
        open_now = sorted(self.store.queue)
        ids = {open_now[n % len(open_now)] for n in chosen} if open_now else set()
        linked = {one.value_hash: one for one in self.store.whole.known.links}
        self.resting += [tuple(linked[end] for end in self.store.queue[i].ends) for i in sorted(ids)]  # type: ignore[misc]
        self.store.expire(ids)

    def group(self, one: Node) -> frozenset[Node]:
        found = divide(self.store.whole.facts, self.store.rules).group_of.get(one)
        return frozenset(found.nodes if found else {one})

    def should_be(self) -> Said:
        """What is asked anew."""
        known, partition = self.store.whole.known, divide(self.store.whole.facts, self.store.rules)
        quiet = {
            frozenset(frozenset(partition.part_of[end].nodes) for end in two)
            for two in self.resting
            if known.links.keys() >= {*two}
        }
        awake = [
            one
            for one in partition.rejected
            if frozenset(frozenset(partition.part_of[end].nodes) for end in (one.link.strong, one.link.weak)) not in quiet
        ]
        partition.rejected = awake
        return by_people(known, dict(enumerate(questions(known, partition, self.store.rules).values())))

    def check(self) -> None:
        """What isn't asked anew was open before, and something speaks for it still."""
        now, anew = asked(self.store), self.should_be()
        assert {two: now.get(two) for two in anew} == anew
        assert now.keys() <= should_be(self.store).keys()
        kept = [i for i, one in self.store.queue.items() if not by_people(self.store.whole.known, {0: one}).keys() <= anew.keys()]
        assert {i: self.store.queue[i].ends for i in kept}.items() <= self.open.items()
        self.open = {i: one.ends for i, one in self.store.queue.items()}


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


def test_what_is_open_stays_open_when_people_join_one_of_its_two_to_somebody_whose_question_rests() -> None:
    queue = expired([*ASKED[:2], said("u2", "e2", at=3), said("u3", at=3)])
    queue.see([said("u3", "e2", at=9)])
    still_open = dict(queue.store.queue)
    assert len(still_open) == 1
    queue.store.take_decision("forced", pair(node("u1"), node("u3")))
    queue.check()
    assert queue.store.queue == still_open
    queue.store.withdraw("forced", pair(node("u1"), node("u3")))
    queue.check()
    assert queue.store.queue == still_open


def test_what_else_speaks_for_the_same_two_is_asked_behind_the_expiry() -> None:
    queue = Queue(DEFAULT_RULES)
    queue.see([said("u1", "e", at=1), said("u2", "e", at=2), said("u2", "p", at=3), said("u3", "p", at=4)])
    queue.store.take_decision("forced", pair(node("u1"), node("u3")))
    queue.check()
    assert len(asked(queue.store)) == 1
    queue.expire([0])
    queue.check()
    assert len(asked(queue.store)) == 1, "of u2 and u3"
    queue.expire([0])
    queue.check()
    assert asked(queue.store) == {}


def test_split_by_hand_with_nobody_seen_it_rests_for_those_of_whom_it_was_asked_in_any_order() -> None:
    """Whose the card is as a customer hangs on what came first."""
    first, rest = (
        said("e1", "c0", at=2),
        [said("u0", "c0", at=1), *(said("u0", f"e{n}", at=2 + n) for n in range(1, 6)), said("u0", "e7", at=8)],
    )
    for order in ([*rest, first], [first, *rest]):
        queue = Queue(DEFAULT_RULES)
        for one in (*order, said("e6", "c0", at=9)):
            queue.see([one])
        queue.expire(range(len(queue.store.queue)))
        assert len(queue.resting) == 2
        queue.store.take_decision("forbidden", pair(node("u0"), node("e1")))
        queue.check()
        assert asked(queue.store) == {}


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


@given(
    st.lists(st.tuples(st.frozensets(few, min_size=1, max_size=3), st.integers(0, 30)), max_size=12),
    st.randoms(use_true_random=False),
    st.sampled_from([DEFAULT_RULES, DEFAULT_RULES, TIGHT, EXCLUSIVE, CROWDED]),
)
def test_in_any_order_the_same_is_asked_rests_and_is_asked_again(seen: list[Sighting], random: Random, rules: Rules) -> None:
    """With one that was declined. Who is seen again is so by what is theirs in any order: a user id."""
    again = [said(f"u{number}", at=40 + number) for number in random.sample(range(1, 5), 2)]
    declined, expired = random.randrange(4), {random.randrange(4) for _ in range(2)}
    in_turn = answered(seen, declined, expired, rules)
    mixed = answered(random.sample(seen, len(seen)), declined, expired, rules)
    for queue, order in ((in_turn, again), (mixed, again[::-1])):
        assert asked(queue.store) == asked(in_turn.store)
        for one in order:
            queue.see([one])
        queue.check()
    assert asked(in_turn.store) == asked(mixed.store)
    assert divide(in_turn.store.whole.facts, rules).groups() == divide(mixed.store.whole.facts, rules).groups()


def answered(seen: Sequence[Sighting], declined: int, expired: Collection[int], rules: Rules) -> Queue:
    """Of what is asked, in an order that isn't of time, one is declined and some expire."""
    queue = Queue(rules)
    for one in seen:
        queue.see([one])
    linked = {one.value_hash: one for one in queue.store.whole.known.links}
    ends = {found: pair(*(linked[end] for end in one.ends)) for found, one in queue.store.queue.items()}
    order = sorted(ends, key=lambda found: sorted(ends[found]))
    if declined < len(order):
        queue.store.take_decision("forbidden", ends[order[declined]])
    still = sorted(queue.store.queue)
    queue.expire([still.index(order[n]) for n in sorted(expired) if n < len(order) and order[n] in still])
    return queue
