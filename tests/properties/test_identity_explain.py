"""Laws of explanations, on messy data: what is told is there, is true, and is all of it."""

from collections import Counter

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from services.identity.graph.crowding import shared
from services.identity.graph.explain import Explained, explain
from services.identity.graph.facts import Match, Node, pair
from services.identity.graph.ownership import contests
from services.identity.graph.resolve import Link
from services.identity.graph.rules import DEFAULT_RULES, Rules
from services.identity.graph.standing import Obstacle, Standing, standing_on, without
from tests.properties.components import component_of
from tests.properties.recalled import first_told, recalled
from tests.properties.test_identity_resolve import CROWDED, Decision, Sighting, decisions, facts_of, nodes, sightings
from tests.properties.test_identity_resolve import all_rules as unblocked_rules

blocked_values = st.frozensets(nodes.map(lambda node: node.value_hash), max_size=1)
COUNTED = ("SHARED", "CONTESTED", "BLOCKED")
all_rules = st.builds(lambda rules, blocked: msgspec.structs.replace(rules, blocked=blocked), unblocked_rules, blocked_values)


def standing_of(seen: list[Sighting], decided: list[Decision], rules: Rules) -> Standing:
    facts = facts_of(seen, decided)
    return standing_on(facts, rules, shared(facts, rules))


def what(told: Explained) -> set[tuple[object, ...]]:
    return {obstacle[:3] for obstacle in told.obstacles}


def of(*names: str) -> frozenset[Node]:
    namespaces = {"u": "user_id", "e": "email", "l": "loyalty", "a": "anonymous_id"}
    return frozenset(Node(namespaces[name[0]], name.encode()) for name in names)


# Two mailboxes of two people, one of them joined to somebody by hand.
OF_TWO_CONTESTED = [(of("u1"), 0), (of("e1", "e3", "u2", "u3"), 0)]

# Somebody who is crowded when she comes to a kiosk: that visit says nothing of her.
CAME_LATE = [
    (of("u3", "l1"), 1),
    (of("u3", "l2"), 2),
    (of("u1", "a1"), 3),
    (of("u2", "a1"), 4),
    (of("u3", "a1"), 5),
]

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
    assert not told.together or not told.obstacles
    assert told.together or not told.links
    reached = one
    for link in told.links:
        assert any(link._replace(evidence=found.evidence) == found for found in partition.links)
        assert reached in (link.strong, link.weak)
        reached = link.weak if link.strong == reached else link.strong
        if link.evidence is None:
            assert pair(link.strong, link.weak) in standing.facts.forced
        elif link.weight is not None:
            match = standing.facts.matched[pair(link.strong, link.weak)]
            weighed = rules.matching.linking(match.weight, match.witnessed_weight)
            assert link.weight == (match.unrivalled if link.unrivalled else weighed)
        else:
            assert is_earliest(link, standing)
    assert all(is_earliest(found.link, standing) for found in told.obstacles if found.link is not None)
    assert not told.together or reached == other


def is_earliest(link: Link, standing: Standing) -> bool:
    """Of what was seen. The earliest event that saw both, also where another identifier than these two was its strongest."""
    if link.evidence is None or link.weight is not None:
        return True
    return link.evidence == min(at for both, at in standing.facts.together.items() if {link.strong, link.weak} <= both)


@given(sightings, decisions, all_rules, nodes, nodes)
@example(TWO_SHARED, [], CROWDED, *sorted(of("e1", "e2")))
def test_without_all_that_keeps_them_apart_two_are_one(
    seen: list[Sighting], decided: list[Decision], rules: Rules, one: Node, other: Node
) -> None:
    standing = standing_of(seen, decided, rules)
    told = explain(standing, one, other)
    for obstacle in told.obstacles:
        standing = without(standing, obstacle)
    left = explain(standing, one, other)
    assert not told.obstacles or left.together or (not left.obstacles and decided_only(told))


def decided_only(told: Explained) -> bool:
    """People keep two apart whom nothing would join."""
    return all(obstacle.kind == "FORBIDDEN" and obstacle.link is None for obstacle in told.obstacles)


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
@example(OF_TWO_CONTESTED, [("forced", pair(*of("e1", "u1")))], DEFAULT_RULES, *sorted(of("e3", "u1")))
def test_something_is_told_of_two_whom_a_fact_names_or_that_a_path_of_facts_runs_between(
    seen: list[Sighting], decided: list[Decision], rules: Rules, one: Node, other: Node
) -> None:
    """No path leads on from one shared value to the next, and of one that begins behind a crowded value it is told that it may."""
    standing = standing_of(seen, decided, rules)
    told = explain(standing, one, other)
    if told.together or told.obstacles:
        return
    facts, around = standing.facts, [component_of([node], standing.facts, rules, set(standing.shared)) for node in (one, other)]
    assert around[0].isdisjoint(around[1])
    groups = standing.partition(one, other).group_of
    assert not any(meets(decided, [groups[one].nodes, groups[other].nodes]) for decided in facts.forbidden)
    for ends, match in facts.matched.items():
        assert not meets(ends, around) or rules.matching.band(match.weight, match.witnessed_weight) is None
    for together in facts.together:
        assert not {one, other} <= together
        assert not meets(together, around) or behind(together, around, told)
    for value in standing.shared:
        with_it = [together for together in facts.together if value in together]
        ways = [[both - standing.shared for both in with_it if not both.isdisjoint(found - standing.shared)] for found in around]
        assert not all(ways) or any(
            all(behind(both, [found], told) for both in way) for way, found in zip(ways, around, strict=True)
        )


def meets(nodes: frozenset[Node], around: list[set[Node]]) -> bool:
    return not any(nodes.isdisjoint(found) for found in around)


def behind(together: frozenset[Node], around: list[set[Node]], told: Explained) -> bool:
    """Whether it is told of those of one of the two whom a sighting names that they are crowded."""
    return any(together & found <= {*told.crowded} for found in around)


@given(sightings, decisions, all_rules, nodes, nodes)
@example(CAME_LATE, [], CROWDED, *sorted(of("u1", "u3")))
def test_by_what_is_loaded_two_are_explained_as_by_all_facts(
    seen: list[Sighting], decided: list[Decision], rules: Rules, one: Node, other: Node
) -> None:
    """Until a value is taken away that isn't loaded wholly: then those around the two say what comes next, and nobody beyond."""
    facts = facts_of(seen, decided)
    whole, outside = standing_of(seen, decided, rules), shared(facts, rules)
    loaded = standing_on(recalled(facts, rules, outside, {one, other}), rules, outside)
    expected, found = explain(whole, one, other), explain(loaded, one, other)
    assert (found.together, found.links, found.crowded) == (expected.together, expected.links, expected.crowded)
    assert first_told(found) == first_told(expected)
    assert {o for o in found.obstacles if o.kind in COUNTED} == {o for o in expected.obstacles if o.kind in COUNTED}


@given(sightings, decisions, all_rules, nodes, nodes, st.randoms(use_true_random=False))
def test_any_order_and_duplicates_tell_the_same(
    seen: list[Sighting], decided: list[Decision], rules: Rules, one: Node, other: Node, random: object
) -> None:
    expected = explain(standing_of(seen, decided, rules), one, other)
    shuffled, again = seen + seen[::2], decided + decided[::2]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    random.shuffle(again)  # type: ignore[attr-defined]
    assert explain(standing_of(shuffled, again, rules), one, other) == expected
