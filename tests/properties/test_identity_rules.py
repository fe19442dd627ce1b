"""Laws of changed rules: the graph follows them as if they had always been in force, whatever happens meanwhile."""

from collections.abc import Sequence
from copy import deepcopy
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from services.identity.domain.decision import Act, stand_for, to_merge
from services.identity.graph.conclude import Linked, Unlinked
from services.identity.graph.difference import compare, difference, named
from services.identity.graph.facts import Evidence, Node, pair
from services.identity.graph.ownership import divide
from services.identity.graph.region import Region, Seen
from services.identity.graph.rules import Namespace, Rules
from tests.properties.ruled_store import RuledStore
from tests.properties.test_identity_region import check
from tests.properties.test_identity_resolve import Sighting

NAMES = ["user_id", "email", "phone", "loyalty", "anonymous_id"]
# Each value's hash is another one's in no namespace, as keyed hashes are: pages go by them.
nodes = st.builds(lambda name, number: Node(name, bytes([number, NAMES.index(name)])), st.sampled_from(NAMES), st.integers(1, 4))
sightings = st.lists(st.tuples(st.frozensets(nodes, min_size=1, max_size=4), st.integers(0, 30)), max_size=25)

acts: list[Act] = ["merge", "split", "forbid"]
decided = st.lists(st.tuples(st.sampled_from(acts), nodes, nodes), max_size=4)


@st.composite
def any_rules(draw: st.DrawFn, windows: Sequence[int | None] = (None, 5), bounds: Sequence[int] = (2, 4, 1000)) -> Rules:
    order = draw(st.permutations(["user_id", "email", "phone", "anonymous_id"]))
    limits, shares = st.sampled_from([None, 1, 2, 5]), st.sampled_from([None, 1, 2, 3])

    def namespace(name: str) -> Namespace:
        window = draw(st.sampled_from(windows))
        owners = draw(st.integers(1, 2))
        owned = tuple(owner for owner in draw(st.sampled_from([(), ("user_id",), ("user_id", "email", "phone")])) if owner != name)
        return Namespace(
            name=name, limit=draw(limits), window_us=window, shared_after=draw(shares), values_an_owner=owners, owned_by=owned
        )

    return Rules(
        namespaces=tuple(namespace(name) for name in order),
        others=namespace("*"),
        others_rank=draw(st.integers(0, 4)),
        max_cluster=draw(st.sampled_from([4, 200])),
        max_sightings=draw(st.sampled_from(bounds)),
        blocked=draw(st.frozensets(nodes.map(lambda node: node.value_hash), max_size=3)),
    )


rules_of_the_day = any_rules()


def seen_of(sighting: Sighting, rules: Rules) -> Seen:
    """As the service orders them: blocked ones last, and an event of blocked ones only resolves by itself."""
    together, at = sighting
    ordered = sorted(together, key=lambda node: (node.value_hash in rules.blocked, rules.rank(node.namespace), node))
    evidence = Evidence(at, repr((sorted(together), at)).encode())
    blocked = ordered[0].value_hash in rules.blocked
    return Seen(tuple(ordered), evidence, Node("event", evidence.event_id) if blocked else None)


def filled(seen: list[Sighting], rules: Rules) -> RuledStore:
    store = RuledStore(rules)
    for one in seen:
        store.take([seen_of(one, rules)])
    return store


def partition(store: RuledStore) -> set[frozenset[Node]]:
    """Identifiers that name one customer, as it is concluded."""
    canonical = store.whole.known.canonical()
    groups: dict[bytes, set[Node]] = {}
    for node, customer in store.whole.known.links.items():
        groups.setdefault(canonical[customer], set()).add(node)
    return {frozenset(group) for group in groups.values() if len(group) > 1}


@given(sightings, decided, rules_of_the_day, rules_of_the_day, st.integers(1, 5), st.randoms(use_true_random=False))
def test_decisions_hold_under_changed_rules(
    seen: list[Sighting], by_hand: list[tuple[Act, Node, Node]], before: Rules, after: Rules, size: int, random: Random
) -> None:
    """As facts, they outlive the rules under which they were taken."""
    store = filled(seen, before)
    for act, one, other in by_hand:
        store.decide(act, one, other)
    report = store.check(after, size)
    before_it = named(store.whole)
    store.activate(after)
    random.shuffle(store.waiting)
    store.settle_all(size)
    expected = {group for group in divide(store.whole.facts, after).groups() if len(group) > 1}
    assert partition(store) == expected
    real = compare(before_it, named(store.whole))
    assert (report.merges, report.splits) == (real.merges, real.splits)


@given(sightings, sightings, rules_of_the_day, rules_of_the_day, st.integers(1, 5), st.randoms(use_true_random=False))
def test_changed_rules_are_as_if_they_had_always_been_in_force(
    seen: list[Sighting], later: list[Sighting], before: Rules, after: Rules, size: int, random: Random
) -> None:
    store = filled(seen, before)
    store.activate(after)
    random.shuffle(store.waiting)
    rest = list(later)
    while store.waiting:
        store.resettle(size, crash=random.random() < 0.2)
        if rest and random.random() < 0.5:
            store.take([seen_of(rest.pop(0), after)])
    for one in rest:
        store.take([seen_of(one, after)])
    check(store, seen + later)
    assert partition(store) == partition(filled(seen + later, after))


@given(sightings, rules_of_the_day, rules_of_the_day, st.integers(1, 5))
def test_the_old_rules_again_give_the_old_partition_again(seen: list[Sighting], before: Rules, after: Rules, size: int) -> None:
    store = filled(seen, before)
    expected = partition(store)
    store.activate(after)
    store.settle_all(size)
    store.activate(before)
    store.settle_all(size)
    assert partition(store) == expected


@given(sightings, rules_of_the_day, rules_of_the_day, rules_of_the_day, st.integers(1, 5), st.integers(0, 8))
def test_rules_that_overtake_unfinished_ones_win(
    seen: list[Sighting], before: Rules, between: Rules, after: Rules, size: int, done: int
) -> None:
    store = filled(seen, before)
    store.activate(between)
    for _ in range(done):
        if store.waiting:
            store.resettle(size)
    store.activate(after)
    store.settle_all(size)
    check(store, seen)


@given(sightings, rules_of_the_day, rules_of_the_day, st.integers(1, 5))
def test_the_report_is_what_happens_when_it_is_applied_at_once(
    seen: list[Sighting], before: Rules, after: Rules, size: int
) -> None:
    store = filled(seen, before)
    as_it_was = deepcopy(store.whole)
    report = store.check(after, size)
    assert store.whole == as_it_was

    store.activate(after)
    silent_before, before_it = store.whole.shared | store.whole.contested, named(store.whole)
    store.unsettled |= set(store.waiting)
    conclusions = store.take([])
    real = compare(before_it, named(store.whole))
    assert (report.merges, report.splits) == (real.merges, real.splits)
    assert {frozenset(found.customers) for found in report.examples} == {frozenset(found.customers) for found in real.examples}
    assert report.links == sum(isinstance(one, Linked) for one in conclusions)
    assert report.unlinks == sum(isinstance(one, Unlinked) for one in conclusions)
    silent = store.whole.shared | store.whole.contested
    assert silent >= divide(store.whole.facts, after).contested
    assert report.shared == len(silent - silent_before)
    assert report.returned == len(silent_before - silent), "what is contested instead of shared links nobody either"


@given(sightings, rules_of_the_day, rules_of_the_day, st.integers(1, 5))
def test_what_hangs_together_is_settled_once_however_small_the_pages_are(
    seen: list[Sighting], before: Rules, after: Rules, size: int
) -> None:
    store = filled(seen, before)
    store.check(after, size)
    component_of = store.whole.component_of
    settled = [{component_of[node] for node in page if node in component_of} for page in store.checked]
    assert sum(map(len, settled)) <= len(set(component_of.values()))


@given(sightings, rules_of_the_day, nodes, nodes, st.sampled_from(acts))
def test_simulating_a_decision_equals_taking_it(seen: list[Sighting], rules: Rules, one: Node, other: Node, act: Act) -> None:
    store = filled(seen, rules)
    if one == other or not {one, other} <= store.whole.known.links.keys():
        return

    def amend(region: Region) -> None:
        """As `taking` does it, to simulate as to decide."""
        if act == "merge":
            region.facts.forced.add(pair(*to_merge(region, rules, one, other)))
        else:
            region.facts.forbidden.add(pair(*stand_for(region, rules, one, other)))

    simulated = difference(store.load({one, other}), rules, store.new_id, amend)
    before_it = named(store.whole)
    if store.decide(act, one, other) is None:
        return
    real = compare(before_it, named(store.whole))
    assert (simulated.merges, simulated.splits) == (real.merges, real.splits)


@given(sightings, any_rules(windows=[None], bounds=[1000]))
def test_a_blocked_value_links_nothing_and_owns_nothing(seen: list[Sighting], rules: Rules) -> None:
    """With a window it tells one thing more: when what it was seen with was seen first; and to who is crowded, that it was seen once more.

    What is seen by itself is no fact.
    """
    store = filled(seen, rules)
    blocked = {node for node in store.nodes() if node.value_hash in rules.blocked}
    assert all(group.isdisjoint(blocked) for group in partition(store))
    without = RuledStore(rules)
    for one in (seen_of(sighting, rules) for sighting in seen):  # the same events, as evidence is told from evidence by them
        if rest := tuple(node for node in one.nodes if node not in blocked):
            without.take([Seen(rest, one.evidence)])
    assert partition(store) == partition(without)
