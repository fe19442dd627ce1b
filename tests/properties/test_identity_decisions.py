"""Laws of decisions by hand, on messy data: taken back they were never made, and neither their order nor that of events matters."""

import hashlib
from collections.abc import Callable
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from services.identity.domain.decision import Act
from services.identity.graph.facts import Evidence, Node, Pair
from services.identity.graph.ownership import divide
from services.identity.graph.rules import Rules
from services.identity.tables.regions import Loaded
from services.identity.taking import take
from shared.errors import WrongState
from shared.ids import from_text
from tests.properties.graph_store import Store
from tests.properties.test_identity_conclude import customers_together
from tests.properties.test_identity_region import check, seen_of, without
from tests.properties.test_identity_resolve import Sighting, all_rules, nodes, sightings

KINDS: list[Act] = ["merge", "split", "forbid"]
acts = st.tuples(st.sampled_from(KINDS), nodes, nodes).filter(lambda act: act[1] != act[2])


def play(store: Store, seen: list[Sighting]) -> Store:
    for one in seen:
        store.take([seen_of(one, store.rules)])
    return store


def state(store: Store) -> tuple[object, ...]:
    """Who is one, who is linked where, and who is shared: all but the ids of edges and components."""
    whole = store.whole
    components: dict[bytes, set[Node]] = {}
    for node, label in whole.component_of.items():
        components.setdefault(label, set()).add(node)
    return (
        customers_together(whole.known),
        whole.known.own,
        whole.known.canonical(),
        whole.shared,
        {frozenset(found) for found in components.values()},
        {node: whole.known.canonical()[customer] for node, customer in whole.known.links.items()},
        whole.facts.together,
        whole.facts.forced,
        whole.facts.forbidden,
    )


@given(sightings, st.lists(acts, max_size=3), acts, all_rules)
def test_a_decision_taken_back_is_the_exact_state_back(
    seen: list[Sighting], decided: list[tuple[Act, Node, Node]], act: tuple[Act, Node, Node], rules: Rules
) -> None:
    store = play(Store(rules), seen)
    for one in decided:
        store.decide(*one)
    groups, links = state(store)[0], dict(store.whole.known.links)
    before, known = state(store), set(store.whole.known.founding_numbers)
    if (taken := store.decide(*act)) is None:
        assert state(store) == before
        return
    store.withdraw(*taken)
    check(store, seen)
    if set(store.whole.known.founding_numbers) == known:  # nobody was founded by what the decision told apart
        assert state(store) == before
    for node, customer in links.items():  # every id ever given out leads to the same people
        assert store.whole.known.canonical()[customer] == store.whole.known.canonical()[store.whole.known.links[node]]
    joined = {frozenset(group & known) for group in customers_together(store.whole.known)} - {frozenset()}
    assert joined == groups


@given(sightings, st.lists(acts, max_size=5), nodes, nodes, all_rules)
def test_a_merge_by_hand_is_refused_or_takes_nobody_from_anybody(
    seen: list[Sighting], decided: list[tuple[Act, Node, Node]], one: Node, other: Node, rules: Rules
) -> None:
    """In whichever order two decisions stand that can't both hold, the later isn't made."""
    store = play(Store(rules), seen)
    for act in decided:
        store.decide(*act)
    before = customers_together(store.whole.known)
    if one != other and store.decide("merge", one, other) is not None:
        after = customers_together(store.whole.known)
        assert all(any(group <= found for found in after) for group in before)


@given(sightings, st.lists(acts, max_size=3), nodes, nodes, all_rules)
def test_a_merge_that_cannot_be_is_refused_with_the_decision_that_stands_against_it(
    seen: list[Sighting], decided: list[tuple[Act, Node, Node]], one: Node, other: Node, rules: Rules
) -> None:
    """Also when it was decided before and has no effect. Without all that it is refused for, it is taken."""
    store = play(Store(rules), seen)
    for act in [*decided, ("merge", one, other), ("split", one, other)]:
        if act[1] != act[2]:
            store.decide(*act)
    if one == other or not {one, other} <= store.whole.known.links.keys():
        return
    while (against := standing_against(store, one, other)) is not None:
        assert against in store.whole.facts.forbidden
        store.withdraw("forbidden", against)


def standing_against(store: Store, one: Node, other: Node) -> Pair | None:
    """None: the merge is taken, or the two are one."""
    loaded = Loaded(store.load({one, other}))
    by_id = {hashlib.sha256(repr(sorted(found)).encode()).digest()[:16]: found for found in loaded.region.facts.forbidden}
    loaded.forbidden = {found: Evidence(1, decision_id) for decision_id, found in by_id.items()}
    loaded.forced = {found: Evidence(1, bytes(16)) for found in loaded.region.facts.forced}
    try:
        take("merge", loaded, store.rules, one, other, Evidence(2, b"another"))
    except WrongState as refused:
        return None if refused.reason == "ALREADY_TOGETHER" else by_id[from_text(refused.facts["decision_id"], "decision")]
    return None


@given(st.permutations([Node("user_id", bytes([number])) for number in range(3)]), all_rules)
def test_who_may_not_be_one_with_another_may_not_be_so_through_a_third(people: list[Node], rules: Rules) -> None:
    ann, bob, cat = people
    store = play(Store(rules), [(frozenset({person}), 0) for person in people])
    assert store.decide("merge", ann, bob)
    assert store.decide("forbid", ann, cat)
    before = state(store)
    assert store.decide("merge", bob, cat) is None
    assert state(store) == before


@given(sightings, acts, all_rules)
def test_a_decision_does_what_it_says(seen: list[Sighting], act: tuple[Act, Node, Node], rules: Rules) -> None:
    store, (what, one, other) = play(Store(rules), seen), act
    if store.decide(what, one, other) is not None:
        assert (other in linked_with(store, one)) is (what == "merge")


@given(sightings, sightings, st.lists(acts, max_size=4), all_rules, st.integers(1, 4))
def test_events_that_come_later_go_to_the_right_side(
    seen: list[Sighting], later: list[Sighting], decided: list[tuple[Act, Node, Node]], rules: Rules, size: int
) -> None:
    store = play(Store(rules), seen)
    for act in decided:
        store.decide(*act)
    check(store, seen)
    for first in range(0, len(later), size):
        store.take([seen_of(one, rules) for one in later[first : first + size]])
    check(store, seen + later)
    for forbidden in store.whole.facts.forbidden:
        one, other = forbidden
        assert other not in linked_with(store, one)


@given(sightings, st.lists(acts, max_size=4), all_rules, st.randoms(use_true_random=False))
def test_neither_the_order_of_decisions_nor_of_events_matters(
    seen: list[Sighting], decided: list[tuple[Act, Node, Node]], rules: Rules, random: object
) -> None:
    store = play(Store(rules), seen)
    taken = [found for act in decided if (found := store.decide(*act)) is not None]
    other = Store(rules)
    steps: list[Callable[[], object]] = [partial(play, other, [one]) for one in seen]
    steps += [partial(other.take_decision, *found) for found in taken]
    random.shuffle(steps)  # type: ignore[attr-defined]
    for step in steps:
        step()
    check(other, seen)
    assert linked_groups(other) == linked_groups(store)


@given(sightings, st.lists(acts, max_size=3), sightings, all_rules, nodes)
def test_who_is_erased_leaves_no_decision(
    seen: list[Sighting], decided: list[tuple[Act, Node, Node]], later: list[Sighting], rules: Rules, someone: Node
) -> None:
    store = play(Store(rules), seen)
    for act in decided:
        store.decide(*act)
    gone = store.forget(store.members(someone))
    store.take([])
    for found in store.whole.facts.forced | store.whole.facts.forbidden:
        assert found.isdisjoint(gone)
    left = without(seen, gone)
    check(store, [], left=left)
    check(play(store, later), later, left=left)


@given(sightings, st.lists(acts, max_size=2), sightings, all_rules, nodes, st.integers(1, 4))
def test_with_who_is_erased_goes_whoever_has_nothing_else_and_nobody_whom_an_event_is_about(
    seen: list[Sighting], decided: list[tuple[Act, Node, Node]], more: list[Sighting], rules: Rules, someone: Node, size: int
) -> None:
    """A customer that stays is one of the facts that are left, or an event resolved by its identifier, or people decided about it."""
    store, told = play(Store(rules), seen), set[bytes]()
    for act in decided:
        links = dict(store.whole.known.links)
        if store.decide(*act) is not None:
            told |= {links[node] for node in act[1:]}
    for first in range(0, len(more), size):
        store.take([seen_of(one, rules) for one in more[first : first + size]])
    resolving = {seen_of(one, rules).resolving for one in (*seen, *more)}
    assert store.whole.resolving == resolving
    erased = store.members(someone)
    hers = {node for node, customer in store.whole.known.links.items() if customer in erased}
    assert resolving & store.forget(erased | store.leftovers(erased, told)) <= hers
    store.take([])
    left = store.whole.facts.nodes()
    for node, customer in store.whole.known.own.items():
        assert node in left or node in resolving or customer in told


def linked_with(store: Store, node: Node) -> set[Node]:
    canonical, links = store.whole.known.canonical(), store.whole.known.links
    return {other for other, customer in links.items() if canonical[customer] == canonical[links[node]]} if node in links else set()


def linked_groups(store: Store) -> set[frozenset[Node]]:
    """Without shared or contested values that stand alone: whether those ever had a customer depends on when they became so."""
    alone = {frozenset({node}) for node in divide(store.whole.facts, store.rules).shared}
    return {frozenset(linked_with(store, node)) for node in store.whole.known.links} - alone
