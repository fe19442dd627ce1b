"""Laws of sources that have each person once: a record of one is of one record of the other at most, so who could be two is neither."""

from dataclasses import replace
from itertools import combinations, product
from math import inf

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.identity.graph.facts import Evidence, Facts, Match, Node, pair
from services.identity.graph.ownership import divide
from services.identity.graph.resolve import TIMES_A_RIVAL, Partition
from services.identity.graph.rules import DEFAULT_RULES, Matching, Rules

LINK, REVIEW = 6.0, 1.0
SOURCES = ("crm", "shop")
EACH = 4  # records of a source
NODES = {source: [Node("anonymous_id", f"{source}{number}".encode()) for number in range(EACH)] for source in SOURCES}
Weights = dict[tuple[int, int], tuple[float, float]]  # by record of crm and of shop

weights: st.SearchStrategy[Weights] = st.dictionaries(
    st.tuples(st.integers(0, EACH - 1), st.integers(0, EACH - 1)),
    st.tuples(st.integers(-12, 20), st.integers(0, 12)).map(lambda found: (float(found[0]), float(sum(found)))),
    max_size=EACH * EACH,
)


def rules(**changes: object) -> Rules:
    matching = Matching(link_weight=LINK, review_weight=REVIEW, witness=False, one_per_source=SOURCES)
    return msgspec.structs.replace(DEFAULT_RULES, matching=msgspec.structs.replace(matching, **changes))


def facts_of(found: Weights) -> Facts:
    facts = Facts()
    for (one, other), (weight, unrivalled) in found.items():
        ends = pair(NODES["crm"][one], NODES["shop"][other])
        facts.matched[ends] = Match(weight, -inf, Evidence(1, b"e"), unrivalled)
    facts.recorded_by = {node: frozenset({source}) for source, nodes in NODES.items() for node in nodes}
    return facts


def linked(partition: Partition) -> set[frozenset[Node]]:
    return {group for group in partition.groups() if len(group) > 1}


@given(weights)
def test_each_is_one_other_at_most_and_nobody_is_linked_who_could_as_well_be_somebody_else(found: Weights) -> None:
    facts = facts_of(found)
    partition = divide(facts, rules())
    for group in linked(partition):
        assert {source for node in group for source in facts.recorded_by[node]} == set(SOURCES)
        assert len(group) == len(SOURCES)
    for link in partition.links:
        assert link.weight is not None
        assert link.weight >= LINK
        for end, other in ((link.strong, link.weak), (link.weak, link.strong)):
            rivals = [node for nodes in facts.matched if end in nodes for node in nodes - {end, other}]
            free = [node for node in rivals if len(partition.group_of[node].nodes) == 1]
            odds = [2.0 ** bits(facts.matched[pair(end, node)], link.unrivalled) for node in free]
            assert 2.0**link.weight >= TIMES_A_RIVAL * sum(odds)


@given(weights, st.sets(st.sampled_from([node for nodes in NODES.values() for node in nodes])))
def test_a_value_that_is_nobodys_is_nobodys_rival(found: Weights, nobodys: set[Node]) -> None:
    """It stands outside of components: it would be one where it happens to be loaded, and none where it isn't."""
    facts = facts_of(found)
    matched = {ends: match for ends, match in facts.matched.items() if ends.isdisjoint(nobodys)}
    with_it, without = divide(facts, rules(), nobodys), divide(replace(facts, matched=matched), rules(), nobodys)
    assert linked(with_it) == linked(without)
    assert with_it.rejected == without.rejected


def bits(match: Match, unrivalled: bool) -> float:
    return match.unrivalled if unrivalled else match.weight


@given(weights)
def test_who_could_be_nobody_else_is_linked_and_who_could_is_asked_about(found: Weights) -> None:
    facts = facts_of(found)
    partition = divide(facts, rules())
    asked = {pair(link.strong, link.weak) for link, reason, *_ in partition.rejected if reason == "LOW_CERTAINTY"}
    for ends, match in facts.matched.items():
        groups = [partition.group_of[node] for node in ends]
        if match.unrivalled >= REVIEW and all(len(group.nodes) == 1 for group in groups):
            assert ends in asked
        if sum(not ends.isdisjoint(other) for other in facts.matched) == 1:
            assert (groups[0] is groups[1]) is (match.unrivalled >= LINK)


@given(weights)
def test_who_is_sure_stays_with_whom_he_was_when_others_are_linked_for_want_of_rivals(found: Weights) -> None:
    sure = divide(facts_of({ends: (weight, -inf) for ends, (weight, _) in found.items()}), rules())
    assert linked(sure) <= linked(divide(facts_of(found), rules()))


@given(weights)
def test_nothing_is_concluded_from_rivals_where_a_witness_is_asked_for_or_a_source_may_have_a_person_twice(found: Weights) -> None:
    weighed = facts_of({ends: (weight, -inf) for ends, (weight, _) in found.items()})
    for changed in (rules(witness=True), rules(one_per_source=("crm",)), rules(one_per_source=("crm", "web"))):
        assert divide(facts_of(found), changed).groups() == divide(weighed, changed).groups()


def test_a_child_who_may_be_either_twin_is_neither() -> None:
    """Two of one family, each as likely the third: what the scores say of each by itself would link the first that comes."""
    twin, other, child = NODES["crm"][0], NODES["crm"][1], NODES["shop"][0]
    facts = facts_of({(0, 0): (8.0, 16.0), (1, 0): (8.0, 16.0)})
    assert linked(divide(facts, rules())) == set()
    facts.forbidden.add(pair(other, child))
    assert linked(divide(facts, rules())) == {frozenset({twin, child})}
    facts = facts_of({(0, 0): (8.0, 16.0), (1, 0): (8.0, 16.0), (1, 1): (25.0, 25.0)})
    assert linked(divide(facts, rules())) == {frozenset({twin, child}), frozenset({other, NODES["shop"][1]})}


def test_a_family_of_whom_each_source_lacks_one_is_linked_as_far_as_nobody_else_is_in_question() -> None:
    everyone = list(product(range(EACH), repeat=2))
    facts = facts_of({(one, other): (30.0 if one == other else -8.0, 30.0 if one == other else 2.0) for one, other in everyone})
    groups = linked(divide(facts, rules()))
    assert groups == {frozenset({NODES["crm"][number], NODES["shop"][number]}) for number in range(EACH)}
    assert all(one.isdisjoint(other) for one, other in combinations(groups, 2))
