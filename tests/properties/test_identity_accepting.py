"""Laws of accepting: what a question shows is what is joined, whatever came first; no question is one that can't be accepted."""

from collections.abc import Iterator
from itertools import combinations, permutations
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.identity.domain.decision import stand_for, to_merge
from services.identity.graph.crowding import shared, taking_part
from services.identity.graph.facts import Evidence, Facts, Match, Node, Pair, pair
from services.identity.graph.ownership import contests, divide
from services.identity.graph.questions import Question, unique_owners
from services.identity.graph.resolve import Link, Partition, candidates
from services.identity.graph.rules import DEFAULT_RULES, Rules, breaks_limit
from tests.properties.graph_store import Store, evidence_of
from tests.properties.test_identity_decisions import linked_with
from tests.properties.test_identity_questions import Step, a_step, check, decide, few, lived, node, played, see
from tests.properties.test_identity_region import seen_of
from tests.properties.test_identity_resolve import EXCLUSIVE, TIGHT, Sighting

Parts = frozenset[frozenset[Node]]
# Of more people than two, a value may be contested and not yet shared.
OF_MANY = msgspec.structs.replace(
    DEFAULT_RULES,
    namespaces=tuple(msgspec.structs.replace(one, shared_after=one.shared_after and 6) for one in DEFAULT_RULES.namespaces),
)
rules_of_questions = st.sampled_from([DEFAULT_RULES, OF_MANY, TIGHT, EXCLUSIVE])


def ends(store: Store, question: Question) -> tuple[Node, Node]:
    """Whom it is asked of; either is of the customer that it names."""
    known = store.whole.known
    canonical, by_hash = known.canonical(), {node.value_hash: node for node in known.links}
    one, other = (by_hash[end] for end in question.ends)
    assert canonical[known.links[one]] == canonical[question.one]
    assert canonical[known.links[other]] == canonical[question.other]
    return one, other


def joined_by_accepting(store: Store, question: Question) -> Parts:
    partition = divide(store.whole.facts, store.rules)
    return parts_of(partition, *to_merge(store.whole, store.rules, *ends(store, question)))


def parts_of(partition: Partition, one: Node, other: Node) -> Parts:
    """What evidence joins to either."""
    return frozenset(frozenset(partition.part_of[end].nodes) for end in (one, other))


def spoken_for(partition: Partition, question: Question) -> set[Parts]:
    """Whom that joins which it is asked for."""
    links = [one.link for one in partition.rejected]
    same = [link for link in links if (link.evidence, link.weight) == (question.evidence, question.weight)]
    return {parts_of(partition, *link[:2]) for link in same}


@given(st.lists(a_step, max_size=25), rules_of_questions)
def test_what_is_shown_is_what_accepting_joins(steps: list[Sighting | tuple[str, Pair]], rules: Rules) -> None:
    store = lived(steps, rules)
    partition = divide(store.whole.facts, rules)
    for question in store.queue.values():
        assert parts_of(partition, *stand_for(store.whole, rules, *ends(store, question))) in spoken_for(partition, question)


def asked_about(store: Store) -> set[tuple[Parts, object]]:
    return {(joined_by_accepting(store, question), question.says()) for question in store.queue.values()}


JOINED = [
    decide("forced", "u0", "u2"),
    see("u2", "e1", at=20),
    see("u1", "e1", at=21),
    see("u0", "e0", at=10),
    see("u1", "e0", at=11),
]
OF_A_MEMBER = [decide("forced", "u0", "u2"), see("u2", "p2", "e1", at=1), see("u1", "p2", at=2), see("u0", "p1", at=3)]


@pytest.mark.parametrize("steps", [JOINED, OF_A_MEMBER])
def test_joined_by_hand_the_one_is_asked_about_whom_the_earliest_speaks_for(steps: list[Step]) -> None:
    found = asked_about(played(steps))
    for order in permutations(steps):
        store = played(order)
        check(store)
        assert asked_about(store) == found != set()


fact = st.one_of(
    st.tuples(st.just("seen"), st.frozensets(few, min_size=1, max_size=3), st.integers(0, 30)),
    st.tuples(
        st.sampled_from(["forced", "forbidden"]), st.builds(pair, few, few).filter(lambda found: len(found) == 2), st.just(0)
    ),
)


@given(st.lists(fact, max_size=16), rules_of_questions, st.randoms(use_true_random=False))
def test_in_any_order_the_same_would_be_joined(facts: list[tuple[str, frozenset[Node], int]], rules: Rules, random: object) -> None:
    def play(order: list[tuple[str, frozenset[Node], int]]) -> Store:
        steps = [(nodes, at) if kind == "seen" else (kind, nodes) for kind, nodes, at in order]
        return lived(steps, rules)

    expected, shuffled = asked_about(play(facts)), list(facts)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for order in (shuffled, [*facts, *facts][::-1]):
        assert asked_about(play(order)) == expected


def apart(store: Store, partition: Partition, one: Node, other: Node) -> bool:
    """Whether people keep the two customers apart that these are of."""
    groups = [partition.group_of[end].nodes for end in (one, other)]
    return any(not decided.isdisjoint(groups[0]) and not decided.isdisjoint(groups[1]) for decided in store.whole.facts.forbidden)


def two_known(partition: Partition, rules: Rules, one: Node, other: Node) -> bool:
    """By more than devices."""
    mine, its = (partition.group_of[end].values for end in (one, other))
    both = [name for name in mine.keys() & its.keys() if not rules.of(name).device]
    return any(breaks_limit(rules.of(name), mine[name], its[name]) for name in both)


def answered_otherwise(partition: Partition, rules: Rules, link: Link) -> bool:
    """A device of known people says nothing of them; a source that keeps each person once tells records apart."""
    if link.weight is None:
        return rules.of(link.weak.namespace).device and two_known(partition, rules, link.strong, link.weak)
    sources = [partition.group_of[end].sources for end in (link.strong, link.weak)]
    return not sources[0].isdisjoint(sources[1])


def wanted(store: Store, partition: Partition) -> Iterator[tuple[Node, Node]]:
    """What was seen together or matches, of two customers between whom nothing else has answered it."""
    facts, rules = store.whole.facts, store.rules
    settled = contests(facts, rules, shared(facts, rules)).settled
    for link in candidates(facts, rules, partition.shared, settled):
        one, other = link[:2]
        two = partition.group_of[one] is not partition.group_of[other] and not apart(store, partition, one, other)
        if two and not answered_otherwise(partition, rules, link):
            yield one, other


def known_by(value: Node, facts: Facts, rules: Rules, partition: Partition) -> set[Node]:
    """Who tells whose a contested value is: two known people, or else all whose it may be."""
    seen = {node for together in facts.together if value in together for node in together} - partition.shared
    owners = {node for node in seen if node.namespace in rules.of(value.namespace).owned_by and node.namespace != value.namespace}
    people = {node for node in owners if node.namespace in unique_owners(value.namespace, rules)}
    return people if len({id(partition.group_of[node]) for node in people}) > 1 else owners


def wanted_of_contested(store: Store, partition: Partition) -> Iterator[tuple[Node, Node]]:
    """Each two whom one would join, if rules let it and no decision keeps them apart."""
    rules, facts = store.rules, taking_part(store.whole.facts, store.rules)
    for value in partition.contested:
        if not rules.of(value.namespace).device:
            for one, other in combinations(sorted(known_by(value, facts, rules, partition)), 2):
                groups = partition.group_of[one], partition.group_of[other]
                both = groups[0].values.keys() & groups[1].values.keys()
                limited = any(breaks_limit(rules.of(name), groups[0].values[name], groups[1].values[name]) for name in both)
                if limited and groups[0] is not groups[1] and not apart(store, partition, one, other):
                    yield one, other


def whose(store: Store) -> dict[Node, bytes]:
    known = store.whole.known
    canonical = known.canonical()
    return {node: canonical[customer] for node, customer in known.links.items()}


def open_pairs(store: Store) -> set[frozenset[bytes]]:
    canonical = store.whole.known.canonical()
    return {frozenset((canonical[question.one], canonical[question.other])) for question in store.queue.values()}


def check_nothing_is_dropped(store: Store) -> None:
    partition, mine, pairs = divide(store.whole.facts, store.rules), whose(store), open_pairs(store)
    for one, other in (*wanted(store, partition), *wanted_of_contested(store, partition)):
        assert frozenset((mine[one], mine[other])) in pairs


def test_of_a_value_of_three_known_people_each_two_are_asked_whatever_was_said_of_the_others() -> None:
    seen = [see(f"u{number}", "p", at=number) for number in range(3)]
    for order in permutations(seen):
        assert len(played(order, OF_MANY).queue) == 3
    declined = [decide("forbidden", "u0", "u1"), decide("forbidden", "u0", "u2")]
    for steps in permutations([*seen, *declined]):
        store = played(steps, OF_MANY)
        check(store)
        [left] = store.queue.values()
        assert set(ends(store, left)) == {node("u1"), node("u2")}


@given(st.lists(a_step, max_size=25), rules_of_questions, st.randoms(use_true_random=False))
def test_every_question_can_be_accepted_or_declined_and_what_nobody_decided_is_one(
    steps: list[Sighting | tuple[str, Pair]], rules: Rules, random: Random
) -> None:
    """Until nothing is asked any more. By the rules as they come, and where nothing is forbidden, nobody falls out of the two that are accepted."""
    store = lived(steps, rules)
    check_nothing_is_dropped(store)
    while store.queue:
        question = random.choice(sorted(store.queue.values()))
        accepted, (one, other) = random.random() < 0.7, ends(store, question)
        both = linked_with(store, one) | linked_with(store, other)
        assert store.decide("merge" if accepted else "forbid", one, other) is not None
        if not accepted:
            assert other not in linked_with(store, one)
        elif rules == DEFAULT_RULES and not store.whole.facts.forbidden:
            assert both <= linked_with(store, one)
        check(store)
        check_nothing_is_dropped(store)


def company(store: Store) -> dict[Node, frozenset[Node]]:
    """By identifier, all that are of the same customer."""
    mine, together = whose(store), dict[bytes, set[Node]]()
    for found, customer in mine.items():
        together.setdefault(customer, set()).add(found)
    return {found: frozenset(together[customer]) for found, customer in mine.items()}


def check_nobody_else_is_moved(store: Store, one: Node, other: Node, *, move_others: bool) -> bool:
    """Without a word, neither by accepting nor by merging; with it the answer tells all. Whether it was made."""
    before, contested = company(store), set(store.whole.contested)
    made = store.decide("merge", one, other, move_others=move_others) is not None
    after = company(store)
    if not made:
        assert after == before
        return False
    both = before[one] | before[other]
    nobodys = {found for found in contested if before.get(found, {found}) == {found}} - both  # until it is settled whose they are
    changed = {found for found in after.keys() - both - nobodys if after[found] != before.get(found)}
    changed |= (after[one] - both - nobodys) | (both - after[one])
    assert changed <= store.moved
    assert move_others or not changed
    return True


BY_HAND = [
    *(see(who, "p0", at=at) for who, at in (("u4", 103), ("u1", 412))),
    *(see(who, "p0", "a0", at=at) for who, at in (("e0", 389), ("e2", 1109))),
    *(see(who, "a0", at=at) for who, at in (("e0", 916), ("u0", 334))),
    decide("forced", "e0", "e2"),
]
WHOSE_ALONE = [see("u4", "p0", at=1), see("u1", "p0", at=2), see("e5", "p0", at=3)]
ADDRESSES = [
    *(see(who, "p0", "a0", at=at) for who, at in (("e3", 273), ("e0", 1058))),
    see("u1", "e1", "p0", "a0", at=32),
    see("u4", "e1", "a0", at=1811),
    decide("forced", "e0", "e3"),
]
SURE = Match(30.0, 30.0, Evidence(9, b"m"))
MATCHING: list[Step] = [
    *(see("u1", f"e{number}", at=number) for number in range(1, 5)),
    see("c1", "e5", at=9),
    lambda store: store.match({pair(node("c1"), node("u1")): SURE}, {node(who): frozenset(["crm"]) for who in ("c1", "u1")}),
    *(see(who, "e9", at=at) for who, at in (("u1", 1), ("u4", 2))),
]


@pytest.mark.parametrize("steps", [BY_HAND, WHOSE_ALONE, ADDRESSES, MATCHING], ids=["by hand", "alone", "addresses", "matching"])
def test_who_would_move_others_has_to_say_so(steps: list[Step]) -> None:
    """Of others, or of the two themselves."""
    store = played(steps)
    assert not check_nobody_else_is_moved(store, node("u1"), node("u4"), move_others=False)
    assert store.moved
    assert check_nobody_else_is_moved(store, node("u1"), node("u4"), move_others=True)
    assert store.moved
    check(store)


def test_a_value_that_two_known_people_share_is_theirs_once_they_are_one() -> None:
    store = played([see("u4", "p0", at=1), see("u1", "p0", at=2), see("u4", "e4", at=3), see("u0", "e0", at=4)])
    assert check_nobody_else_is_moved(store, node("u1"), node("u4"), move_others=False)
    assert company(store)[node("p0")] == {node(name) for name in ("u1", "u4", "p0", "e4")}


@given(st.lists(a_step, max_size=25), rules_of_questions, st.randoms(use_true_random=False), st.booleans())
def test_nobody_else_changes_by_a_merge_unless_that_was_said(
    steps: list[Sighting | tuple[str, Pair]], rules: Rules, random: Random, said: bool
) -> None:
    store = lived(steps, rules)
    for _ in range(3):
        two = [ends(store, question) for _, question in sorted(store.queue.items())]
        mine = whose(store)
        two += [(one, other) for one in sorted(mine) for other in sorted(mine) if mine[one] != mine[other]][:20]
        if two:
            check_nobody_else_is_moved(store, *random.choice(two), move_others=said)
            check(store)


@given(st.lists(a_step, max_size=25), rules_of_questions)
def test_what_ended_a_question_is_the_event_or_the_decision_with_which_it_ended(
    steps: list[Sighting | tuple[str, Pair]], rules: Rules
) -> None:
    store = Store(rules)
    for step in steps:
        before = dict(store.ended)
        lived([step], rules, store)
        ended = {cause for found, cause in store.ended.items() if found not in before}
        match step:
            case (frozenset(), int()):
                assert ended <= {seen_of(step, rules).evidence}
            case (str(kind), frozenset() as decided) if kind != "matched":
                assert ended <= {evidence_of(decided)}
