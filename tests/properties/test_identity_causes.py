"""History says by what two became one as `why` does, whatever came first."""

from itertools import combinations, count

from hypothesis import example, given
from hypothesis import strategies as st

from services.identity.graph.causes import Causes
from services.identity.graph.crowding import shared
from services.identity.graph.explain import explain
from services.identity.graph.facts import Evidence, Node, pair
from services.identity.graph.region import Region, settle
from services.identity.graph.rules import DEFAULT_RULES, Rules
from services.identity.graph.standing import standing_on
from tests.properties.test_identity_explain import of
from tests.properties.test_identity_resolve import Decision, Sighting, all_rules, decisions, facts_of, sightings

Pair = tuple[Node, Node]
# What saw the two first resolves by somebody else.
BY_ANOTHER = [(of("u1", "e1", "a1"), 1), (of("e1", "a1"), 5), (of("u1", "u2"), 9)]
OTHERWISE = Evidence(-1, b"otherwise")


def told_by_history(seen: list[Sighting], decided: list[Decision], rules: Rules) -> dict[Pair, Evidence]:
    """Of each two that are one, what completed the chain between them."""
    region, ids = Region(facts=facts_of(seen, decided)), count()
    settled = settle(region, [], rules, lambda: next(ids).to_bytes(16))
    forced = {found: decision_of(found) for found in region.facts.forced}
    why = Causes(region, settled, rules, forced, {}, OTHERWISE)
    groups = settled.partition.group_of
    return {two: why.path(*two, likely=True) for two in combinations(sorted(groups), 2) if groups[two[0]] is groups[two[1]]}


def decision_of(found: frozenset[Node]) -> Evidence:
    return Evidence(20, repr(sorted(found)).encode())


@given(sightings, decisions, all_rules)
@example(BY_ANOTHER, [], DEFAULT_RULES)
def test_what_made_two_one_is_the_latest_that_why_tells_of_them(
    seen: list[Sighting], decided: list[Decision], rules: Rules
) -> None:
    facts = facts_of(seen, decided)
    standing = standing_on(facts, rules, shared(facts, rules))
    for two, cause in told_by_history(seen, decided, rules).items():
        links = explain(standing, *two).links
        assert cause == max((link.evidence or decision_of(pair(link.strong, link.weak)) for link in links), default=OTHERWISE)


@given(sightings, decisions, all_rules, st.randoms(use_true_random=False))
def test_in_any_order_it_is_the_same(seen: list[Sighting], decided: list[Decision], rules: Rules, random: object) -> None:
    expected, others = told_by_history(seen, decided, rules), list(decided)
    shuffled = list(seen)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    random.shuffle(others)  # type: ignore[attr-defined]
    for order in (shuffled, seen[::-1]):
        assert told_by_history(order, others, rules) == expected
