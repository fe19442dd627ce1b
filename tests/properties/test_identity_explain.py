"""Laws of explanations, on messy data: what is told is there, is true, and is all of it."""

from collections import Counter

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from services.identity.graph.crowding import shared
from services.identity.graph.explain import Explained, Obstacle, Standing, explain, standing_on, without
from services.identity.graph.facts import Match, Node, pair
from services.identity.graph.ownership import contests
from services.identity.graph.rules import Rules
from tests.properties.components import component_of
from tests.properties.test_identity_resolve import CROWDED, Decision, Sighting, decisions, facts_of, nodes, sightings
from tests.properties.test_identity_resolve import all_rules as unblocked_rules

blocked_values = st.frozensets(nodes.map(lambda node: node.value_hash), max_size=1)
all_rules = st.builds(lambda rules, blocked: msgspec.structs.replace(rules, blocked=blocked), unblocked_rules, blocked_values)


def standing_of(seen: list[Sighting], decided: list[Decision], rules: Rules) -> Standing:
    facts = facts_of(seen, decided)
    return standing_on(facts, rules, shared(facts, rules))


def what(told: Explained) -> set[tuple[object, ...]]:
    return {obstacle[:3] for obstacle in told.obstacles}


def of(*names: str) -> frozenset[Node]:
    namespaces = {"u": "user_id", "e": "email", "l": "loyalty"}
    return frozenset(Node(namespaces[name[0]], name.encode()) for name in names)


# Two values that many use, each seen with somebody who is crowded by then: she would be linked to neither.
TWO_SHARED = [
    (of("e2", "u2"), 3),
    (of("l2", "u2"), 4),
    (of("e2", "u1", "u2"), 5),
    (of("e1", "u1", "u2"), 11),
]


@given(sightings, decisions, all_rules, nodes, nodes)
def test_two_that_are_one_are_joined_by_a_chain_of_links_with_evidence(
    seen: list[Sighting], decided: list[Decision], rules: Rules, one: Node, other: Node
) -> None:
    standing = standing_of(seen, decided, rules)
    partition, told = standing.partition(one, other), explain(standing, one, other)
    assert told.together is (partition.group_of[one] is partition.group_of[other])
    assert told.together or not told.links
    reached = one
    for link in told.links:
        assert link in partition.links
        assert reached in (link.strong, link.weak)
        reached = link.weak if link.strong == reached else link.strong
        if link.evidence is None:
            assert pair(link.strong, link.weak) in standing.facts.forced
        elif link.weight is not None:
            match = standing.facts.matched[pair(link.strong, link.weak)]
            weighed = rules.matching.linking(match.weight, match.witnessed_weight)
            assert link.weight == (match.unrivalled if link.unrivalled else weighed)
        else:
            assert any({link.strong, link.weak} <= both and link.evidence == at for both, at in standing.facts.together.items())
    assert not told.together or reached == other


@given(sightings, decisions, all_rules, nodes, nodes)
@example(TWO_SHARED, [], CROWDED, *sorted(of("e1", "e2")))
def test_without_all_that_keeps_them_apart_two_are_one(
    seen: list[Sighting], decided: list[Decision], rules: Rules, one: Node, other: Node
) -> None:
    standing = standing_of(seen, decided, rules)
    told = explain(standing, one, other)
    for obstacle in told.obstacles:
        standing = without(standing, obstacle)
    assert not told.obstacles or explain(standing, one, other).together


@given(sightings, decisions, all_rules, nodes, nodes)
def test_what_is_taken_away_is_not_told_any_more(
    seen: list[Sighting], decided: list[Decision], rules: Rules, one: Node, other: Node
) -> None:
    standing = standing_of(seen, decided, rules)
    for obstacle in explain(standing, one, other).obstacles:
        assert obstacle[:3] not in what(explain(without(standing, obstacle), one, other))


@given(sightings, decisions, all_rules, nodes, nodes)
def test_what_keeps_them_apart_is_so(seen: list[Sighting], decided: list[Decision], rules: Rules, one: Node, other: Node) -> None:
    standing = standing_of(seen, decided, rules)
    for obstacle in explain(standing, one, other).obstacles:
        assert is_so(standing, obstacle, (one, other))
        standing = without(standing, obstacle)


def is_so(standing: Standing, obstacle: Obstacle, ends: tuple[Node, Node]) -> bool:
    """Each as things stand when those told before it are gone."""
    facts, rules = standing[:2]
    if obstacle.kind == "FORBIDDEN":
        return pair(*obstacle.nodes) in facts.forbidden
    if obstacle.kind in ("SHARED", "CONTESTED", "BLOCKED", "CROWDED"):
        return links_nobody(standing, obstacle)
    assert obstacle.link is not None
    if obstacle.kind == "LOW_CERTAINTY":
        match = facts.matched[pair(*obstacle.nodes)]
        assert doubts_are_so(obstacle, match, rules)
        groups = standing.partition(*ends).group_of
        one, other = (groups[node] for node in obstacle.nodes)  # of many pairs, others may say less; or one may be somebody else
        asked = max(match.weight, match.unrivalled) >= rules.matching.review_weight
        return asked or one.recorded * other.recorded > 1
    if obstacle.kind == "ONE_PER_SOURCE":
        return sum(obstacle.namespace in sources for sources in facts.recorded_by.values()) > 1
    if obstacle.kind == "LIMIT":
        limit = rules.of(obstacle.namespace).limit
        return limit is not None and sum(node.namespace == obstacle.namespace for node in facts.nodes() | set(ends)) > limit
    return len(facts.nodes()) > rules.max_cluster


def doubts_are_so(obstacle: Obstacle, match: Match, rules: Rules) -> bool:
    """It is told why a match isn't certain, and a witness is missed only where one would help."""
    asked = rules.matching.link_weight
    so = {
        "WEIGHT": match.weight < asked,
        "WITNESS": rules.matching.witness and match.witnessed_weight < asked,
        "OTHER_RECORDS": True,  # of whole groups, as are rivals
        "RIVAL": bool(rules.matching.one_per_source),
    }
    return obstacle.doubts != () and all(so[doubt] for doubt in obstacle.doubts)


def links_nobody(standing: Standing, obstacle: Obstacle) -> bool:
    if obstacle.kind == "CROWDED":
        counts = Counter(node for together in standing.facts.together for node in together)
        return obstacle.nodes != () and all(counts[node] > standing.rules.max_sightings for node in obstacle.nodes)
    [node] = obstacle.nodes
    if obstacle.kind == "CONTESTED":
        return node in contests(standing.facts, standing.rules, standing.shared - standing.contested).open
    assert node not in standing.contested
    return node in standing.shared and (node.value_hash in standing.rules.blocked) is (obstacle.kind == "BLOCKED")


@given(sightings, decisions, all_rules, nodes, nodes)
def test_nothing_in_common_is_no_way_from_one_to_the_other(
    seen: list[Sighting], decided: list[Decision], rules: Rules, one: Node, other: Node
) -> None:
    standing = standing_of(seen, decided, rules)
    told = explain(standing, one, other)
    if told.together or told.obstacles:
        return
    around = [component_of([node], standing.facts, rules, set(standing.shared)) for node in (one, other)]
    assert around[0].isdisjoint(around[1])
    for together in standing.facts.together:
        assert not {one, other} <= together
        assert around[0].isdisjoint(together) or around[1].isdisjoint(together)
    for node in standing.shared - {one, other}:
        seen_with = {n for together in standing.facts.together if node in together for n in together} - standing.shared
        assert seen_with.isdisjoint(around[0]) or seen_with.isdisjoint(around[1])


@given(sightings, decisions, all_rules, nodes, nodes, st.randoms(use_true_random=False))
def test_any_order_tells_the_same(
    seen: list[Sighting], decided: list[Decision], rules: Rules, one: Node, other: Node, random: object
) -> None:
    shuffled = list(seen)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    expected, found = (explain(standing_of(facts, decided, rules), one, other) for facts in (seen, shuffled))
    assert (found.together, what(found)) == (expected.together, what(expected))
