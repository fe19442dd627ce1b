"""Laws of accepting: what a question shows is what is joined, whatever came first; no question is one that can't be accepted."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.identity.domain.decision import stand_for
from services.identity.graph.facts import Node, Pair, pair
from services.identity.graph.ownership import divide
from services.identity.graph.questions import Question
from services.identity.graph.resolve import Partition
from services.identity.graph.rules import DEFAULT_RULES, Rules
from tests.properties.graph_store import Store
from tests.properties.test_identity_conclude import strongest
from tests.properties.test_identity_questions import Step, a_step, check, decide, few, lived, played, see
from tests.properties.test_identity_resolve import EXCLUSIVE, TIGHT, Sighting

rules_of_questions = st.sampled_from([DEFAULT_RULES, DEFAULT_RULES, TIGHT, EXCLUSIVE])


def ends(store: Store, question: Question) -> tuple[Node, Node]:
    """Whom it is asked of; either is of the customer that it names."""
    known = store.whole.known
    canonical, by_hash = known.canonical(), {node.value_hash: node for node in known.links}
    one, other = (by_hash[end] for end in question.ends)
    assert canonical[known.links[one]] == canonical[question.one]
    assert canonical[known.links[other]] == canonical[question.other]
    return one, other


def joined_by_accepting(store: Store, question: Question) -> Pair:
    return pair(*stand_for(store.whole, store.rules, *ends(store, question)))


def spoken_for(partition: Partition, question: Question, rules: Rules) -> set[Pair]:
    """Whom that joins which it is asked for, each by the strongest of what evidence joins."""
    links = [one.link for one in partition.rejected]
    same = [link for link in links if (link.evidence, link.weight) == (question.evidence, question.weight)]
    return {pair(*(strongest(frozenset(partition.part_of[end].nodes), rules) for end in (link.strong, link.weak))) for link in same}


@given(st.lists(a_step, max_size=25), rules_of_questions)
def test_what_is_shown_is_what_accepting_joins(steps: list[Sighting | tuple[str, Pair]], rules: Rules) -> None:
    store = lived(steps, rules)
    partition = divide(store.whole.facts, rules)
    for question in store.queue.values():
        assert joined_by_accepting(store, question) in spoken_for(partition, question, rules)


def asked_about(store: Store) -> set[tuple[Pair, object]]:
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
