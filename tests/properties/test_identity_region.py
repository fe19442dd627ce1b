"""Laws of the incremental graph: loading only what some facts touch gives what all facts together give."""

from collections.abc import Collection
from dataclasses import replace
from itertools import cycle

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.identity.graph.crowding import shared
from services.identity.graph.facts import Evidence, Facts, Match, Node, Pair, pair
from services.identity.graph.ownership import divide
from services.identity.graph.region import Seen, earliest_of
from services.identity.graph.resolve import Partition
from services.identity.graph.rules import DEFAULT_RULES, Namespace, Rules
from tests.properties.graph_store import Store
from tests.properties.test_identity_conclude import check_certainty, customers_together
from tests.properties.test_identity_resolve import (
    CROWDED,
    TIGHT,
    Sighting,
    all_rules,
    match_of,
    nodes,
    pairs,
    sightings,
    sources_of,
    take,
)


def seen_of(sighting: Sighting, rules: Rules) -> Seen:
    together, at = sighting
    strongest_first = sorted(together, key=lambda node: (rules.rank(node.namespace), node))
    return Seen(tuple(strongest_first), Evidence(at, repr((sorted(together), at)).encode()))


def match(store: Store, wanted: list[Pair]) -> list[Pair]:
    """Of identifiers that are known, and so have a record. Returns them."""
    found = [one for one in wanted if one <= store.whole.known.own.keys()]
    changed: dict[Pair, Match | None] = {one: match_of(one) for one in found}
    store.match(changed, {node: sources_of(node) for one in found for node in one})
    return found


Left = list[tuple[frozenset[Node], Evidence]]


def without(seen: list[Sighting], gone: set[Node]) -> Left:
    """What is left of the facts: the same events as evidence, and the others that they saw."""
    return [(together - gone, Evidence(at, repr((sorted(together), at)).encode())) for together, at in seen]


def check(
    store: Store,
    remaining: list[Sighting],
    matched: list[Pair] | None = None,
    left: Left | None = None,
    recorded: Collection[Node] = (),
) -> None:
    """`recorded`: what has a record of a source, whether or not that matches another by now."""
    facts = Facts()
    facts.recorded_by = {node: sources_of(node) for node in recorded}
    for nodes_left, evidence in left or []:
        if len(nodes_left) > 1:
            facts.see(nodes_left, evidence)
    for one in matched or []:
        take(facts, "matched", one)
    for together, at in remaining:
        if len(together) > 1:
            facts.see(together, Evidence(at, repr((sorted(together), at)).encode()))
    assert store.whole.facts.together == facts.together
    facts.forced, facts.forbidden = store.whole.facts.forced, store.whole.facts.forbidden
    assert store.whole.shared == shared(facts, store.rules)
    expected = divide(facts, store.rules)
    joined = {customer: group for group in customers_together(store.whole.known) for customer in group}
    links = store.whole.known.links
    for node in links.keys() & expected.group_of.keys():
        for other in links.keys() & expected.group_of.keys():
            same = expected.group_of[node] is expected.group_of[other]
            assert (joined[links[node]] == joined[links[other]]) is same
    assert links.keys() == somebodys(expected, store.whole.resolving)
    check_certainty(store.whole.known, divide(replace(facts, matched={}), store.rules))


def somebodys(partition: Partition, resolving: Collection[Node]) -> set[Node]:
    """What has a customer: what is not nobody's, and what an event resolved by."""
    nobodys = {node for node in partition.shared & partition.group_of.keys() if len(partition.group_of[node].nodes) == 1}
    return (partition.group_of.keys() - nobodys).union(resolving)


@given(
    st.lists(sightings, min_size=1, max_size=3), st.lists(st.tuples(st.integers(0, 99), st.integers(0, 9)), max_size=20), all_rules
)
def test_of_events_of_a_unit_that_saw_the_same_the_earliest_says_all(
    units: list[list[Sighting]], again: list[tuple[int, int]], rules: Rules
) -> None:
    store, by_earliest = Store(rules), Store(rules)
    for unit in units:
        seen = [seen_of(one, rules) for one in unit]
        seen += [seen_of((unit[place % len(unit)][0], at), rules) for place, at in again if unit]
        store.take(seen)
        by_earliest.take(earliest_of(seen))
        assert store.whole == by_earliest.whole
        assert store.queue == by_earliest.queue


@given(sightings, all_rules, st.integers(1, 4))
def test_in_units_of_any_size_it_is_as_all_at_once(seen: list[Sighting], rules: Rules, size: int) -> None:
    store = Store(rules)
    for first in range(0, len(seen), size):
        store.take([seen_of(one, rules) for one in seen[first : first + size]])
    check(store, seen)


UNLIMITED = msgspec.structs.replace(
    DEFAULT_RULES, namespaces=tuple(Namespace(name=one.name) for one in DEFAULT_RULES.namespaces), others=Namespace(name="*")
)


def founders(store: Store) -> list[Node]:
    """Oldest first."""
    known = store.whole.known
    return sorted(known.own, key=lambda node: known.founding_numbers[known.own[node]])


@given(sightings, st.lists(st.integers(1, 6), min_size=1))
def test_who_is_the_oldest_is_a_matter_of_which_event_came_first_and_not_of_what_came_as_one_unit(
    seen: list[Sighting], sizes: list[int]
) -> None:
    """Where nothing is kept from anybody for a while, and founds a customer meanwhile."""
    one_by_one, in_units, rest = Store(UNLIMITED), Store(UNLIMITED), [seen_of(one, UNLIMITED) for one in seen]
    for one in rest:
        one_by_one.take([one])
    for size in cycle(sizes):
        if not rest:
            break
        in_units.take(rest[:size])
        rest = rest[size:]
    assert founders(in_units) == founders(one_by_one)


@given(sightings, sightings, all_rules, st.lists(pairs, max_size=8), st.integers(1, 4))
def test_matches_that_come_in_between_are_as_all_at_once(
    seen: list[Sighting], later: list[Sighting], rules: Rules, wanted: list[Pair], size: int
) -> None:
    store, matched = Store(rules), []
    for one in seen:
        store.take([seen_of(one, rules)])
    for first in range(0, len(wanted), size):
        matched += match(store, wanted[first : first + size])
    for one in later:
        store.take([seen_of(one, rules)])
    check(store, seen + later, matched)


@given(sightings, all_rules, st.lists(pairs, max_size=8), st.sampled_from([-5.0, 3.0, 20.0]))
def test_another_weight_to_link_from_is_as_if_it_had_always_been(
    seen: list[Sighting], rules: Rules, wanted: list[Pair], link_weight: float
) -> None:
    store = Store(rules)
    for one in seen:
        store.take([seen_of(one, rules)])
    matched = match(store, wanted)
    matching = msgspec.structs.replace(rules.matching, link_weight=link_weight, review_weight=min(link_weight, 1.0))
    store.rules = msgspec.structs.replace(rules, matching=matching)
    for node in sorted(store.whole.known.links.keys() | store.whole.facts.nodes()):  # as pages of all identifiers are
        store.match({}, {node: store.whole.facts.recorded_by.get(node, frozenset())})
    check(store, seen, matched)


@given(sightings, all_rules, st.lists(pairs, max_size=8))
def test_a_match_taken_back_is_as_if_there_had_been_none(seen: list[Sighting], rules: Rules, wanted: list[Pair]) -> None:
    store = Store(rules)
    for one in seen:
        store.take([seen_of(one, rules)])
    matched = match(store, wanted)
    kept = set(matched[::2])
    store.match(dict.fromkeys(set(matched) - kept), {})
    check(store, seen, list(kept), recorded={node for found in matched for node in found})


@given(sightings, sightings, all_rules, nodes, st.lists(pairs, max_size=8))
def test_who_is_erased_is_as_if_the_others_had_been_seen_without(
    seen: list[Sighting], later: list[Sighting], rules: Rules, someone: Node, wanted: list[Pair]
) -> None:
    store = Store(rules)
    for one in seen:
        store.take([seen_of(one, rules)])
    matched = match(store, wanted)
    gone = store.forget(store.members(someone))
    store.take([])
    left = without(seen, gone)
    recorded = {node for found in matched for node in found} - gone
    matched = [one for one in matched if gone.isdisjoint(one)]
    check(store, [], matched, left, recorded)
    for one in later:
        store.take([seen_of(one, rules)])
    check(store, later, matched, left, recorded)


few_people = st.builds(lambda number: Node("user_id", bytes([number]) + b"user_id"), st.integers(1, 4))
theirs = st.frozensets(nodes.filter(lambda node: node.namespace != "user_id"), min_size=1, max_size=2)
of_two_people = st.tuples(st.builds(lambda person, found: found | {person}, few_people, theirs), st.integers(0, 30))
said_of_people = st.tuples(
    st.sampled_from(["forced", "forced", "forbidden", "withdrawn"]), st.builds(pair, few_people, few_people | nodes)
).filter(lambda said: len(said[1]) == 2)
CROWDED_BY_DEFAULT = msgspec.structs.replace(DEFAULT_RULES, max_sightings=2)


@given(
    st.lists(st.one_of(of_two_people, of_two_people, said_of_people), max_size=30),
    st.sampled_from([DEFAULT_RULES, CROWDED_BY_DEFAULT, TIGHT, CROWDED]),
)
def test_what_two_people_use_is_theirs_or_nobodys_whatever_of_it_is_loaded(
    steps: list[Sighting | tuple[str, Pair]], rules: Rules
) -> None:
    """Components end at such values (`graph/borders`); people join and part those whose they are meanwhile."""
    store, seen = Store(rules), list[Sighting]()
    for step in steps:
        match step:
            case (frozenset() as together, int(at)):
                seen.append((together, at))
                store.take([seen_of(seen[-1], rules)])
            case ("withdrawn", frozenset() as decided):
                store.withdraw("forced", decided)
                store.withdraw("forbidden", decided)
            case (str(kind), frozenset() as decided):
                store.take_decision(kind, decided)
    check(store, seen)


def test_a_chain_of_addresses_that_two_people_use_each_is_not_loaded_for_one_of_them() -> None:
    store, seen = Store(DEFAULT_RULES), list[Sighting]()
    for number in range(120):
        address = Node("email", number.to_bytes(2))
        for person in (number, number + 1):
            seen.append((frozenset({Node("user_id", person.to_bytes(2)), address}), number))
            store.take([seen_of(seen[-1], DEFAULT_RULES)])
    assert store.largest <= 6, "hers, and those of her neighbours with whom it may be asked if she is one"
    assert len(store.whole.contested) == 120
    check(store, seen)


def test_a_kiosk_does_not_load_all_who_used_it() -> None:
    store, kiosk = Store(DEFAULT_RULES), Node("anonymous_id", b"kiosk")
    for number in range(300):
        store.take([seen_of((frozenset({Node("user_id", number.to_bytes(2)), kiosk}), number), DEFAULT_RULES)])
    assert store.largest <= 3


def test_a_login_that_everybody_knows_loads_its_first_sightings_and_keeps_what_they_linked() -> None:
    """Nor does a new browser of it load any once it is crowded, unless it comes late."""
    rules = msgspec.structs.replace(DEFAULT_RULES, max_sightings=20)
    store, login, mail = Store(rules), Node("user_id", b"guest"), Node("email", b"desk@shop")
    for number in range(300):
        store.largest = 0
        browser = Node("anonymous_id", number.to_bytes(2))
        store.take([seen_of((frozenset({login, mail, browser}), number), rules)])
        assert store.largest <= (rules.max_sightings if number <= rules.max_sightings else 1)
    late = Node("anonymous_id", b"late")
    store.take([seen_of((frozenset({login, mail, late}), -1), rules)])
    assert store.largest <= rules.max_sightings + 1
    joined = next(group for group in divide(store.whole.facts, rules).groups() if login in group)
    assert joined == {login, mail, late} | {Node("anonymous_id", n.to_bytes(2)) for n in range(19)}
