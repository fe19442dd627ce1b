"""Laws of the partition, on messy data: shared devices, families, recycled phones, matches, decisions by hand."""

from collections.abc import Sequence
from math import inf

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from services.identity.graph.crowding import crowded, shared
from services.identity.graph.facts import Evidence, Facts, Match, Node, Pair, pair
from services.identity.graph.ownership import contests, divide
from services.identity.graph.questions import is_question
from services.identity.graph.resolve import Partition, resolve
from services.identity.graph.rules import DEFAULT_RULES, Matching, Namespace, Rules
from tests.properties.components import component_of

TIGHT = Rules(
    namespaces=(
        Namespace(name="user_id", limit=1),
        Namespace(name="email", limit=2, shared_after=2, owned_by=("user_id", "phone")),
        Namespace(name="phone", limit=1, window_us=10, shared_after=3, owned_by=("user_id", "email")),
        Namespace(name="anonymous_id", shared_after=2, device=True, owned_by=("user_id", "email", "phone")),
    ),
    others=Namespace(name="*", limit=2, shared_after=2),
    others_rank=3,
    max_cluster=6,
    matching=Matching(link_weight=6.0, review_weight=1.0, one_per_source=("crm",)),
)

FEW_DEVICES = msgspec.structs.replace(
    TIGHT, namespaces=(Namespace(name="user_id", limit=1), Namespace(name="anonymous_id", limit=2, device=True)), max_cluster=4
)
CROWDED = msgspec.structs.replace(TIGHT, max_sightings=2)
EXCLUSIVE = msgspec.structs.replace(
    TIGHT, matching=Matching(link_weight=6.0, review_weight=1.0, witness=False, one_per_source=("crm", "shop"))
)

namespaces = st.sampled_from(["user_id", "email", "phone", "loyalty", "anonymous_id"])
# As of real ones, the hashes of two namespaces are never the same.
nodes = st.builds(lambda name, number: Node(name, bytes([number]) + name.encode()), namespaces, st.integers(1, 4))
sightings = st.lists(st.tuples(st.frozensets(nodes, min_size=1, max_size=4), st.integers(0, 30)), max_size=25)
pairs = st.builds(pair, nodes, nodes).filter(lambda found: len(found) == 2)
decisions = st.lists(st.tuples(st.sampled_from(["forced", "forbidden", "matched", "matched"]), pairs), max_size=6)
all_rules = st.sampled_from([DEFAULT_RULES, TIGHT, CROWDED, EXCLUSIVE])

Sighting = tuple[frozenset[Node], int]
Decision = tuple[str, Pair]


def facts_of(seen: Sequence[Sighting], decided: Sequence[Decision] = ()) -> Facts:
    facts = Facts()
    for together, at in seen:
        facts.see(together, Evidence(at, repr((sorted(together), at)).encode()))
    for kind, found in decided:
        take(facts, kind, found)
    return facts


def take(facts: Facts, kind: str, found: Pair) -> None:
    if kind == "matched":
        facts.matched[found] = match_of(found)
        facts.recorded_by |= {node: sources_of(node) for node in found}
    else:
        getattr(facts, kind).add(found)


def match_of(found: Pair) -> Match:
    """Of every weight, with ties."""
    number = sum(node.value_hash[0] * len(node.namespace) for node in found)
    weight = number * 5 % 17 - 1.0
    unrivalled = weight + number % 4 * 3 if number % 7 else -inf
    return Match(weight, weight - number % 3 if number % 5 else -inf, Evidence(number, b"match"), unrivalled)


def sources_of(node: Node) -> frozenset[str]:
    return frozenset(({"crm"}, {"shop"}, {"crm", "shop"})[(node.value_hash[0] + len(node.namespace)) % 3])


def outcome(partition: Partition) -> tuple[object, ...]:
    return partition.groups(), set(partition.links), set(partition.rejected), partition.shared


@given(sightings, decisions, all_rules, st.randoms(use_true_random=False))
def test_any_order_gives_the_same_partition(seen: list[Sighting], decided: list[Decision], rules: Rules, random: object) -> None:
    expected = outcome(divide(facts_of(seen, decided), rules))
    shuffled, other = list(seen), list(decided)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    random.shuffle(other)  # type: ignore[attr-defined]
    for order in (shuffled, seen[::-1], sorted(seen, key=repr)):
        assert outcome(divide(facts_of(order, other), rules)) == expected


@given(sightings, decisions, all_rules)
def test_twice_is_once(seen: list[Sighting], decided: list[Decision], rules: Rules) -> None:
    assert outcome(divide(facts_of(seen + seen, decided), rules)) == outcome(divide(facts_of(seen, decided), rules))


ANN, BEA, CEM = (Node("user_id", name) for name in (b"ann", b"bea", b"cem"))
MAILBOX = Node("email", b"family")


@given(sightings, decisions, all_rules)
@example(
    seen=[(frozenset({ANN, MAILBOX}), 1), (frozenset({BEA, MAILBOX}), 2)],
    decided=[("forced", pair(ANN, CEM)), ("forced", pair(CEM, BEA))],
    rules=DEFAULT_RULES,
)
def test_what_is_seen_by_itself_changes_nothing_for_anybody(seen: list[Sighting], decided: list[Decision], rules: Rules) -> None:
    """Nor for what people joined through it: who keeps the facts needn't keep that an identifier was seen alone."""
    seen = [(together, at) for together, at in seen if len(together) > 1]
    facts = facts_of(seen, decided)
    of_others = {node for together, _ in seen for node in together}
    alone = [
        (frozenset({node}), 31 if node in of_others else 0) for node in facts.nodes()
    ]  # when it counts as first seen, or later
    assert outcome(divide(facts_of(seen + alone, decided), rules)) == outcome(divide(facts, rules))


@given(sightings, sightings, decisions, all_rules)
def test_a_fact_taken_back_is_as_if_never_seen(
    seen: list[Sighting], more: list[Sighting], decided: list[Decision], rules: Rules
) -> None:
    facts = facts_of(seen + more, decided)
    for gone in facts.together.keys() - facts_of(seen).together.keys():
        del facts.together[gone]
    facts.together |= facts_of(seen).together
    assert outcome(divide(facts, rules)) == outcome(divide(facts_of(seen, decided), rules))


@given(sightings, decisions, all_rules, pairs)
def test_a_forbidden_pair_is_apart_and_comes_back(
    seen: list[Sighting], decided: list[Decision], rules: Rules, forbidden: Pair
) -> None:
    facts = facts_of(seen, decided)
    before = outcome(divide(facts, rules))
    was_forbidden = forbidden in facts.forbidden
    facts.forbidden.add(forbidden)
    apart = divide(facts, rules)
    one, other = (apart.group_of.get(node) for node in forbidden)
    assert one is None or other is None or one is not other
    if not was_forbidden:
        facts.forbidden.discard(forbidden)
        assert outcome(divide(facts, rules)) == before


@given(sightings, sightings, st.sampled_from([DEFAULT_RULES, TIGHT, EXCLUSIVE]), st.data())
def test_a_bad_bridge_parts_at_the_bridge_only(
    seen: list[Sighting], more: list[Sighting], rules: Rules, data: st.DataObject
) -> None:
    """One event that saw somebody with a stranger, and people who say so: each side is joined as without it, by all that links then."""
    others = [(frozenset(Node(node.namespace, b"other" + node.value_hash) for node in together), at) for together, at in more]
    mine, its = (sorted(facts_of(side).nodes()) for side in (seen, others))
    if not mine or not its:
        return
    ends = pair(data.draw(st.sampled_from(mine)), data.draw(st.sampled_from(its)))
    facts = facts_of([*seen, *others, (ends, 31)], [("forbidden", ends)])
    outside = shared(facts, rules)
    contested = contests(facts, rules, outside)
    without = resolve(facts_of([*seen, *others]), rules, outside | contested.open, contested.settled)
    assert divide(facts, rules).groups() == without.groups()


@given(sightings, decisions, all_rules)
def test_limits_and_bounds_hold_but_for_what_people_decided(seen: list[Sighting], decided: list[Decision], rules: Rules) -> None:
    facts = facts_of(seen, [(kind, found) for kind, found in decided if kind != "forced"])
    for group in divide(facts, rules).groups():
        assert len(group) <= rules.max_cluster
        for name in {node.namespace for node in group}:
            limit = rules.of(name).limit
            if limit is not None and rules.of(name).window_us is None:
                assert sum(node.namespace == name for node in group) <= limit


@given(sightings, all_rules)
def test_a_shared_value_links_nobody_and_links_again_when_owners_leave(seen: list[Sighting], rules: Rules) -> None:
    facts = facts_of(seen)
    found = divide(facts, rules)
    for node in found.shared:
        assert found.group_of[node].nodes == {node}
    for node in found.shared:
        facts = facts_of([(together, at) for together, at in seen if node not in together])
        assert node not in shared(facts, rules)


def _node(name: str, number: int) -> Node:
    return Node(name, bytes([number]))


@given(sightings, decisions, all_rules)
@example(
    [
        (frozenset({_node("user_id", 1), _node("email", 1)}), 0),
        (frozenset({_node("user_id", 2), _node("loyalty", 1)}), 0),
        (frozenset({_node("email", 1), _node("loyalty", 3)}), 0),
        (frozenset({_node("user_id", 2), _node("loyalty", 2), _node("loyalty", 3)}), 0),
    ],
    [("forced", pair(_node("user_id", 1), _node("user_id", 2)))],
    TIGHT,
)
def test_every_link_is_justified_and_every_refusal_has_a_reason(
    seen: list[Sighting], decided: list[Decision], rules: Rules
) -> None:
    facts = facts_of(seen, decided)
    found = divide(facts, rules)
    for link in found.links:
        assert found.group_of[link.strong] is found.group_of[link.weak]
        if link.evidence is None:
            assert pair(link.strong, link.weak) in facts.forced
        elif link.weight is not None:
            match = facts.matched[pair(link.strong, link.weak)]
            if link.unrivalled:
                assert link.weight == match.unrivalled >= rules.matching.link_weight
                assert all(facts.recorded_by[node] <= rules.matching.exclusive for node in (link.strong, link.weak))
            else:
                assert rules.matching.band(match.weight, match.witnessed_weight) == "link"
        else:
            assert any({link.strong, link.weak} <= nodes and link.evidence == at for nodes, at in facts.together.items())
    for link, reason, namespace, _ in found.rejected:
        assert reason != "LIMIT" or rules.of(namespace).limit is not None
        assert found.group_of[link.strong] is not found.group_of[link.weak]


@given(sightings, decisions, st.sampled_from([TIGHT, FEW_DEVICES]))
def test_what_a_device_would_join_is_asked_unless_it_is_two_known_people(
    seen: list[Sighting], decided: list[Decision], rules: Rules
) -> None:
    found = divide(facts_of(seen, decided), rules)
    for rejected in found.rejected:
        link, reason = rejected.link, rejected.reason
        if reason == "FORBIDDEN" or link.weight is not None or link.weak.namespace != "anonymous_id":
            continue
        kinds = [found.group_of[node].values.keys() for node in (link.strong, link.weak)]
        if {"anonymous_id"} in kinds:
            assert is_question(rejected, found, rules)
        if all("user_id" in names for names in kinds):
            assert not is_question(rejected, found, rules)


@given(sightings, decisions, all_rules, nodes)
def test_a_component_is_resolved_by_itself(seen: list[Sighting], decided: list[Decision], rules: Rules, start: Node) -> None:
    facts = facts_of(seen, decided)
    whole = divide(facts, rules)
    if start not in whole.group_of:
        return
    outside = shared(facts, rules)
    component = component_of([start], facts, rules, outside)
    inside = Facts(
        {nodes: at for nodes, at in facts.together.items() if not nodes.isdisjoint(component)},
        {found for found in facts.forced if not found.isdisjoint(component)},
        {found for found in facts.forbidden if not found.isdisjoint(component)},
        {found: match for found, match in facts.matched.items() if found <= component},  # others are no links
        {node: sources for node, sources in facts.recorded_by.items() if node in component},
    )
    inside.beyond = crowded(facts, rules).keys() - component - outside  # what it is seen with leads no further
    alone = divide(inside, rules, outside)
    for node in component:
        mine = alone.group_of[node].nodes if node in alone.group_of else {node}  # what is in no fact here stands alone
        assert mine == whole.group_of[node].nodes


@given(sightings, decisions, all_rules, st.data())
def test_joined_by_hand_nothing_falls_out_of_either_and_it_comes_apart_again(
    seen: list[Sighting], decided: list[Decision], rules: Rules, data: st.DataObject
) -> None:
    """A decision names the strongest identifier of what evidence joins."""
    facts = facts_of(seen, [(kind, found) for kind, found in decided if kind != "forced"])
    found = divide(facts, rules)
    parts = {frozenset(part.nodes) for part in found.part_of.values()}
    if len(parts) < 2:
        return
    two = data.draw(st.lists(st.sampled_from(sorted(parts, key=sorted)), min_size=2, max_size=2, unique=True))
    forced = pair(*(min(part, key=lambda node: (rules.rank(node.namespace), node)) for part in two))
    facts.forced.add(forced)
    joined = divide(facts, rules)
    if any(rejected.reason == "FORBIDDEN" for rejected in joined.rejected):
        return
    for group in found.groups():
        assert len({id(joined.group_of[node]) for node in group}) == 1
    assert len({id(joined.group_of[node]) for part in two for node in part}) == 1
    facts.forced.discard(forced)
    assert outcome(divide(facts, rules)) == outcome(found)


def hand_made(*seen: list[Node]) -> Facts:
    return facts_of([(frozenset(together), 0) for together in seen])


def test_a_decision_brings_a_value_that_was_contested_and_takes_nobodys_place() -> None:
    """What was found to fall out: a device that a settled mailbox made a stranger's, a phone that a settled phone displaced."""
    user, other, mail, more, phone, old, device = (
        Node(name, bytes([number]))
        for name, number in (
            ("user_id", 1),
            ("user_id", 2),
            ("email", 1),
            ("email", 2),
            ("phone", 1),
            ("phone", 2),
            ("anonymous_id", 1),
        )
    )
    cases = (
        (DEFAULT_RULES, hand_made([user, phone], [other, mail, device], [mail, phone, device]), (other, mail), {other, device}),
        (TIGHT, hand_made([other, mail, phone], [other, old], [more, phone]), (other, more), {other, mail, old}),
    )
    for rules, facts, forced, before in cases:
        assert before <= divide(facts, rules).group_of[other].nodes
        facts.forced.add(pair(*forced))
        assert before | {*forced} <= divide(facts, rules).group_of[other].nodes


def test_what_people_joined_past_a_limit_keeps_nothing_of_another_time_out() -> None:
    """What was found to fall out: a phone of another time, when people brought a second one of the same."""
    user, phone, second, later = Node("user_id", b"1"), *(Node("phone", bytes([number])) for number in range(3))
    facts = facts_of([(frozenset({user, phone}), 0), (frozenset({second}), 0), (frozenset({second, later}), 11)])
    assert divide(facts, TIGHT).group_of[second].nodes == {second, later}
    facts.forced.add(pair(user, second))
    assert divide(facts, TIGHT).group_of[user].nodes == {user, phone, second, later}


def test_two_with_one_mailbox_have_it_together_once_people_decided_that_they_are_one() -> None:
    user, other, mail = Node("user_id", b"1"), Node("user_id", b"2"), Node("email", b"1")
    facts = hand_made([user, mail], [other, mail])
    assert divide(facts, DEFAULT_RULES).group_of[mail].nodes == {mail}
    facts.forced.add(pair(user, other))
    assert divide(facts, DEFAULT_RULES).group_of[mail].nodes == {user, other, mail}


def test_a_landline_joins_nobody_who_is_known_by_an_address_only() -> None:
    """Found by an attacker, before values had owners: three at one landline, none of them with an account."""
    phone, *mails = Node("phone", b"p"), *(Node("email", bytes([number])) for number in range(3))
    for amount in (2, 3):
        facts = hand_made(*([mail, phone, Node("anonymous_id", mail.value_hash)] for mail in mails[:amount]))
        found = divide(facts, DEFAULT_RULES)
        assert len({id(found.group_of[mail]) for mail in mails[:amount]}) == amount
        assert found.group_of[phone].nodes == {phone}


@given(st.lists(pairs, max_size=12))
def test_no_match_joins_two_that_a_source_keeps_once(matched: list[Pair]) -> None:
    facts = facts_of([], [("matched", found) for found in matched])
    for rules in (TIGHT, EXCLUSIVE):
        for group in divide(facts, rules).groups():
            assert all(sum(source in sources_of(node) for node in group) <= 1 for source in rules.matching.one_per_source)


def one(namespace: str, number: int) -> Node:
    return Node(namespace, bytes([number]) + namespace.encode())


@given(sightings, decisions, all_rules)
@example(  # people settle whose the tablet is, and a match would have it be another's
    seen=[
        (frozenset({one("anonymous_id", 4), one("email", 4)}), 0),
        (frozenset({one("anonymous_id", 4), one("user_id", 1), one("email", 1)}), 0),
    ],
    decided=[
        ("forced", pair(one("email", 4), one("user_id", 1))),
        ("matched", pair(one("anonymous_id", 4), one("user_id", 2))),
    ],
    rules=EXCLUSIVE,
)
def test_what_was_seen_is_joined_as_if_nothing_matched(seen: list[Sighting], decided: list[Decision], rules: Rules) -> None:
    """A match adds to what is certain, and takes nothing from it."""
    certain = divide(facts_of(seen, [(kind, found) for kind, found in decided if kind != "matched"]), rules)
    groups = divide(facts_of(seen, decided), rules).group_of
    for node, group in certain.group_of.items():
        assert group.nodes <= groups[node].nodes


@given(sightings, decisions, all_rules)
def test_an_uncertain_match_is_a_question_where_its_ends_are_apart(
    seen: list[Sighting], decided: list[Decision], rules: Rules
) -> None:
    facts = facts_of(seen, decided)
    found = divide(facts, rules)
    asked = {pair(link.strong, link.weak) for link, reason, *_ in found.rejected if reason == "LOW_CERTAINTY"}
    for matched, match in facts.matched.items():
        one, other = (found.group_of[node] for node in matched)
        if matched in asked:
            assert one is not other
            if rules.matching.band(match.weight, match.witnessed_weight) == "link":  # others say less, or one end may be another's
                assert one.recorded * other.recorded > 1 or rules.matching.one_per_source
        elif rules.matching.band(match.weight, match.witnessed_weight) == "review" and not facts.forbidden:
            assert one is other or one.sources & other.sources or not matched.isdisjoint(found.shared)


@given(sightings, decisions)
def test_matching_that_is_off_joins_and_asks_nothing(seen: list[Sighting], decided: list[Decision]) -> None:
    rules = msgspec.structs.replace(TIGHT, matching=Matching(on=False))
    without = facts_of(seen, [(kind, found) for kind, found in decided if kind != "matched"])
    assert groups_without_alone(divide(facts_of(seen, decided), rules)) == groups_without_alone(divide(without, rules))


def groups_without_alone(found: Partition | tuple[object, ...]) -> set[frozenset[Node]]:
    groups = found.groups() if isinstance(found, Partition) else found[0]
    return {group for group in groups if len(group) > 1}  # type: ignore[attr-defined]


@given(sightings, sightings, decisions)
def test_a_value_joins_nobody_who_is_two_without_it(seen: list[Sighting], more: list[Sighting], decided: list[Decision]) -> None:
    """Whatever a contested value was seen with; and it links again when one of the two is gone."""
    facts = facts_of(seen + more, [(kind, found) for kind, found in decided if kind != "matched"])
    outside = shared(facts, DEFAULT_RULES)
    users = {node for node in facts.nodes() if node.namespace == "user_id"}
    found = divide(facts, DEFAULT_RULES)
    for node in facts.nodes() - outside - users:
        beside = {other for together in facts.together if node in together for other in together - {node}}
        people = {id(found.group_of[user]) for user in beside & users}
        if len(people) > 1 and not any(node in decided for decided in facts.forced):
            assert found.group_of[node].nodes == {node}
        elif DEFAULT_RULES.of(node.namespace).owned_by == ("user_id",) and len(people) == 1 and beside <= users:
            assert node not in contests(facts, DEFAULT_RULES, outside).open, "its devices lead to nobody else"
