"""Who is who: when identifiers are seen together, then what is concluded."""

from itertools import combinations, count
from typing import cast

import pytest

from services.identity.graph.conclude import Conclusion, Founded, Linked, Merged, Split, Unlinked
from services.identity.graph.explain import explain
from services.identity.graph.facts import Evidence, Facts, Match, Node, pair
from services.identity.graph.ownership import divide
from services.identity.graph.region import Seen
from services.identity.graph.rules import DEFAULT_RULES, LINK_WEIGHT
from services.identity.graph.standing import Standing
from services.identity.matching.veto import Veto
from services.identity.recall import Recalled
from services.identity.records.likeness import Likeness
from services.identity.tables.former_matches import Matched
from tests.properties.graph_store import Store

numbers = count(1)


def node(text: str) -> Node:
    namespace, value = text.split(":", 1)
    return Node(namespace, value.encode())


def see(graph: Store, *identifiers: str) -> list[Conclusion]:
    nodes = sorted(map(node, identifiers), key=lambda one: (DEFAULT_RULES.rank(one.namespace), one))
    at = next(numbers)
    return graph.take([Seen(tuple(nodes), Evidence(at, at.to_bytes(16)))])


def kinds(conclusions: list[Conclusion]) -> list[type]:
    return [type(conclusion) for conclusion in conclusions]


def together(graph: Store, one: str, other: str) -> bool:
    return graph.members(node(one)) == graph.members(node(other)) != set()


def new_graph() -> Store:
    return Store(DEFAULT_RULES)


def test_unknown_identifiers_found_a_customer_and_are_linked_to_it() -> None:
    conclusions = see(new_graph(), "user_id:u1", "email:ann@shop.example")
    assert kinds(conclusions) == [Founded, Linked, Linked]
    assert len({c.customer for c in conclusions if isinstance(c, Founded | Linked)}) == 1


def test_a_known_identifier_concludes_nothing_new() -> None:
    graph = new_graph()
    see(graph, "user_id:u1")
    assert see(graph, "user_id:u1") == []


def test_an_identifier_that_events_resolve_by_has_a_customer_of_its_own() -> None:
    graph = new_graph()
    see(graph, "user_id:u1", "anonymous_id:browser")
    assert kinds(see(graph, "anonymous_id:browser")) == [Unlinked, Founded, Linked, Merged]
    assert together(graph, "user_id:u1", "anonymous_id:browser")


def test_two_customers_seen_together_are_merged_once_and_the_older_is_canonical() -> None:
    graph = new_graph()
    see(graph, "anonymous_id:browser")
    see(graph, "user_id:u1")
    assert kinds(see(graph, "user_id:u1", "anonymous_id:browser")) == [Merged]
    known = graph.whole.known
    assert set(known.canonical().values()) == {known.own[node("anonymous_id:browser")]}
    assert see(graph, "user_id:u1", "anonymous_id:browser") == []


def test_a_device_that_two_people_use_leaves_both() -> None:
    graph = new_graph()
    see(graph, "anonymous_id:tablet")
    see(graph, "user_id:u1", "anonymous_id:tablet")
    assert together(graph, "user_id:u1", "anonymous_id:tablet")
    assert Split in kinds(see(graph, "user_id:u2", "anonymous_id:tablet"))
    assert not together(graph, "user_id:u1", "user_id:u2")
    assert not together(graph, "user_id:u1", "anonymous_id:tablet")


def test_two_known_people_with_one_address_are_not_merged_and_it_is_told_why() -> None:
    graph = new_graph()
    see(graph, "user_id:u1", "email:family@shop.example")
    see(graph, "user_id:u2", "email:family@shop.example")
    assert not together(graph, "user_id:u1", "user_id:u2")
    rejected = divide(graph.whole.facts, DEFAULT_RULES).rejected
    assert [(one.reason, one.namespace) for one in rejected] == [("LIMIT", "user_id")]


def test_an_address_with_three_owners_is_nobodys() -> None:
    graph = new_graph()
    for number in range(3):
        see(graph, f"user_id:u{number}", "email:team@shop.example")
    assert graph.members(node("email:team@shop.example")) == set()


def test_a_customer_does_not_grow_past_its_bound() -> None:
    graph = new_graph()
    for number in range(DEFAULT_RULES.max_cluster):
        see(graph, "user_id:u1", f"anonymous_id:device-{number}")
    assert max(map(len, divide(graph.whole.facts, DEFAULT_RULES).groups())) <= DEFAULT_RULES.max_cluster


def test_a_match_to_ask_about_is_told_beside_what_was_seen() -> None:
    user, seen, asked = node("user_id:u1"), node("email:one@shop.example"), node("email:two@shop.example")
    facts = Facts()
    facts.see([user, seen], Evidence(1, b"1"))
    facts.matched[pair(user, asked)] = Match(6.0, 6.0, Evidence(2, b"2"))
    told = explain(Standing(facts, DEFAULT_RULES, frozenset()), user, asked)
    assert [obstacle.kind for obstacle in told.obstacles] == ["LOW_CERTAINTY"]


def test_a_match_that_people_declined_is_told_with_their_decision() -> None:
    """Who declines a question is told by the next answer that it was she, and what it was about."""
    one, other = node("email:one@shop.example"), node("email:two@shop.example")
    facts = Facts(matched={pair(one, other): Match(6.0, 6.0, Evidence(2, b"2"))}, forbidden={pair(one, other)})
    told = explain(Standing(facts, DEFAULT_RULES, frozenset()), one, other)
    assert [obstacle.kind for obstacle in told.obstacles] == ["FORBIDDEN", "LOW_CERTAINTY"]
    assert divide(facts, DEFAULT_RULES).rejected[0].reason == "FORBIDDEN", "it is no question any more"


@pytest.mark.parametrize(("others_say", "one"), [(-20.0, False), (LINK_WEIGHT - 0.75, True)])
def test_two_of_many_records_are_one_by_what_all_of_them_say(others_say: float, one: bool) -> None:
    """Of sixteen pairs, one weighs enough by itself."""
    ours, theirs = ([node(f"anonymous_id:{side}{number}") for number in range(4)] for side in "ab")
    facts = Facts()
    for group in (ours, theirs):
        facts.matched |= {pair(a, b): certain(30.0) for a, b in combinations(group, 2)}
    facts.matched |= {pair(a, b): certain(others_say) for a in ours for b in theirs}
    facts.matched[pair(ours[0], theirs[0])] = certain(LINK_WEIGHT + 3)
    facts.recorded_by = {found: frozenset({"web"}) for found in (*ours, *theirs)}
    partition = divide(facts, DEFAULT_RULES)
    assert (partition.group_of[ours[3]] is partition.group_of[theirs[3]]) is one
    assert {rejected.reason for rejected in partition.rejected} == (set() if one else {"LOW_CERTAINTY"})


def test_a_veto_between_two_is_named_and_one_with_somebody_else_is_not() -> None:
    """Two who are alike and contradict each other have that in common: it isn't nothing."""
    ann, twin, other = (node(f"user_id:{name}") for name in ("ann", "twin", "other"))
    recalled = Recalled()
    for number, (end, veto) in enumerate(((twin, "NAME_AND_INITIAL_DISAGREE"), (other, "NAME_AND_BIRTH_DISAGREE"))):
        like = Likeness(ann.value_hash, end.value_hash, 20.0, 20.0, True, cast(Veto, veto), "", b"", Evidence(1, b"1"), b"", 1)
        recalled.matches[b"ann", bytes([number])] = Matched(like, since=1)
    partition = recalled.standing(DEFAULT_RULES).partition(ann, twin, other)
    assert recalled.vetoes(partition, twin, ann) == ["NAME_AND_INITIAL_DISAGREE"]
    assert recalled.vetoes(partition, twin, other) == []


def certain(weight: float) -> Match:
    return Match(weight, weight, Evidence(1, b"1"))
