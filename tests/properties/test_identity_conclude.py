"""Laws of what is concluded: it gives the partition, changes nothing twice, and no customer is ever lost."""

from collections import defaultdict
from dataclasses import replace
from itertools import count

from hypothesis import example, given
from hypothesis import strategies as st

from services.identity.graph.conclude import Concluded, Conclusion, Founded, Split, Unlinked, conclude, evolve
from services.identity.graph.facts import Evidence, Facts, Node, pair
from services.identity.graph.ownership import divide
from services.identity.graph.resolve import Partition
from services.identity.graph.rules import DEFAULT_RULES, Rules
from tests.properties.test_identity_resolve import Decision, Sighting, all_rules, decisions, facts_of, sightings, take


def strongest(together: frozenset[Node], rules: Rules) -> Node:
    return min(together, key=lambda node: (rules.rank(node.namespace), node))


def play(seen: list[Sighting], decided: list[Decision], rules: Rules) -> tuple[Concluded, Partition, list[Conclusion]]:
    """Event by event, then decision by decision, as they come."""
    facts, known, concluded, ids = Facts(), Concluded(), [], count(1)
    resolving: set[Node] = set()

    def step() -> Partition:
        partition = divide(facts, rules)
        concluded.extend(conclude(known, partition, resolving, rules, lambda: next(ids).to_bytes(16)))
        return partition

    partition = step()
    for together, at in seen:
        facts.see(together, Evidence(at, repr((sorted(together), at)).encode()))
        resolving.add(strongest(together, rules))
        partition = step()
    for kind, found in decided:
        take(facts, kind, found)
        partition = step()
    return known, partition, concluded


def customers_together(known: Concluded) -> set[frozenset[bytes]]:
    groups = {customer: {customer} for customer in known.founding_numbers}
    for customer, other in known.edges.values():
        joined = groups[customer] | groups[other]
        assert groups[customer] is not groups[other], "an edge too many"
        for member in joined:
            groups[member] = joined
    return {frozenset(group) for group in groups.values()}


@given(sightings, decisions, all_rules)
def test_customers_are_joined_as_the_partition_says(seen: list[Sighting], decided: list[Decision], rules: Rules) -> None:
    known, partition, _ = play(seen, decided, rules)
    joined = {customer: group for group in customers_together(known) for customer in group}
    for node, customer in known.links.items():
        for other, its_customer in known.links.items():
            same = partition.group_of[node] is partition.group_of[other]
            assert (joined[customer] == joined[its_customer]) is same


ANN, BEA = Node("user_id", b"ann"), Node("user_id", b"bea")
SHOWN = Node("email", b"shown")
KEPT_OUT = [(frozenset({ANN, Node("email", bytes([number]))}), number) for number in range(5)]


@given(sightings, decisions, all_rules)
@example(  # it founds a customer by itself, is contested, and then people join it to one of the two
    seen=[*KEPT_OUT, (frozenset({ANN, SHOWN}), 6), (frozenset({BEA, SHOWN}), 7)],
    decided=[("forced", pair(SHOWN, BEA))],
    rules=DEFAULT_RULES,
)
def test_only_a_shared_value_that_nothing_resolves_by_is_linked_nowhere(
    seen: list[Sighting], decided: list[Decision], rules: Rules
) -> None:
    known, partition, _ = play(seen, decided, rules)
    resolving = {strongest(together, rules) for together, _ in seen}
    alone = {node for node, group in partition.group_of.items() if len(group.nodes) == 1}
    assert known.links.keys() == partition.group_of.keys() - (alone & partition.shared - resolving)
    for node, customer in known.own.items():
        assert known.links.get(node, customer) == customer


@given(sightings, decisions, all_rules)
def test_what_is_known_concludes_nothing(seen: list[Sighting], decided: list[Decision], rules: Rules) -> None:
    known, partition, _ = play(seen, decided, rules)
    resolving = [strongest(together, rules) for together, _ in seen]
    assert conclude(known, partition, resolving, rules, lambda: b"never") == []


@given(sightings, decisions, all_rules)
def test_replaying_the_conclusions_gives_the_same_state(seen: list[Sighting], decided: list[Decision], rules: Rules) -> None:
    known, _, concluded = play(seen, decided, rules)
    replayed = Concluded()
    for conclusion in concluded:
        evolve(replayed, conclusion)
    assert replayed == known


@given(sightings, decisions, all_rules)
def test_an_identifier_founds_once_and_its_customer_is_its_own_for_ever(
    seen: list[Sighting], decided: list[Decision], rules: Rules
) -> None:
    _, _, concluded = play(seen, decided, rules)
    founded = [conclusion for conclusion in concluded if isinstance(conclusion, Founded)]
    assert len({conclusion.node for conclusion in founded}) == len(founded)


@given(sightings, decisions, all_rules, st.randoms(use_true_random=False))
def test_another_order_joins_the_same_identifiers(
    seen: list[Sighting], decided: list[Decision], rules: Rules, random: object
) -> None:
    shuffled = list(seen)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    expected, partition, _ = play(seen, decided, rules)
    found, same, _ = play(shuffled, decided, rules)
    assert same.groups() == partition.groups()
    assert named_together(found) == named_together(expected)


@given(sightings, decisions, all_rules)
def test_what_is_told_to_be_certain_is_what_no_match_is_needed_for(
    seen: list[Sighting], decided: list[Decision], rules: Rules
) -> None:
    """By the links and the merges that aren't likely, whatever came first: no grant crosses the others (decision 58)."""
    known, _, _ = play(seen, decided, rules)
    facts = facts_of(seen, [(kind, found) for kind, found in decided if kind != "matched"])
    check_certainty(known, divide(facts, rules))


def check_certainty(known: Concluded, unmatched: Partition) -> None:
    """`unmatched` is the partition as if nothing matched."""
    sure = replace(known, edges={merge_id: ends for merge_id, ends in known.edges.items() if merge_id not in known.likely})
    parts = {customer: part for part in customers_together(sure) for customer in part}
    certain = unmatched.group_of
    for node, customer in known.links.items():
        for other, its_customer in known.links.items():
            joined = node == other or (node in certain and other in certain and certain[node] is certain[other])
            assert (parts[customer] == parts[its_customer]) is joined


def named_together(known: Concluded) -> set[frozenset[Node]]:
    """What resolves, and with whom."""
    canonical, groups = known.canonical(), defaultdict[bytes, set[Node]](set)
    for node, customer in known.links.items():
        groups[canonical[customer]].add(node)
    return {frozenset(group) for group in groups.values()}


@given(sightings, all_rules)
def test_what_turns_out_to_be_shared_is_told_to_all_whose_it_was(seen: list[Sighting], rules: Rules) -> None:
    """Else whoever can have a value seen with somebody else's could end what its owner forbade by it."""
    facts, known, ids = Facts(), Concluded(), count(1)
    shared: set[Node] = set()
    resolving: set[Node] = set()
    for together, at in seen:
        facts.see(together, Evidence(at, repr((sorted(together), at)).encode()))
        resolving.add(strongest(together, rules))
        partition, before = divide(facts, rules), bound(known)
        newly_shared = partition.shared - shared
        concluded = conclude(known, partition, resolving, rules, lambda: next(ids).to_bytes(16), newly_shared)
        shared, after, parted = set(partition.shared), bound(known), told_of_shared(concluded)
        for customer, nodes in before.items():
            cluster = next(found for found in customers_together(known) if customer in found)
            told = {node for member in cluster for node in parted.get(member, ())}
            assert nodes & newly_shared <= after[customer] | told
            assert told <= newly_shared


def bound(known: Concluded) -> dict[bytes, set[Node]]:
    """By customer, what is linked to it and to all that merges join to it."""
    clusters = {customer: cluster for cluster in customers_together(known) for customer in cluster}
    return {customer: {node for node, linked in known.links.items() if linked in cluster} for customer, cluster in clusters.items()}


def told_of_shared(concluded: list[Conclusion]) -> dict[bytes, set[Node]]:
    told: dict[bytes, set[Node]] = {}
    for one in concluded:
        if isinstance(one, Split):
            for end in (one.customer, one.other):
                told.setdefault(end, set()).update(one.shared)
        elif isinstance(one, Unlinked) and one.shared:
            told.setdefault(one.customer, set()).add(one.node)
    return told
