"""Laws of what is reported before other rules are in force, where identifiers match too: whole from whichever end, and what happens then."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from services.identity.graph.difference import Difference, compare, copied, named
from services.identity.graph.facts import Node, Pair, pair
from services.identity.graph.ownership import divide
from services.identity.graph.region import settle
from services.identity.graph.rules import Matching, Namespace, Rules
from tests.properties.ruled_store import RuledStore
from tests.properties.test_identity_region import check, match
from tests.properties.test_identity_resolve import Sighting
from tests.properties.test_identity_rules import filled, nodes, partition, rules_of_the_day, seen_of, sightings

ALL_AT_ONCE = 1_000  # identifiers, more than there are
pairs = st.lists(st.builds(pair, nodes, nodes).filter(lambda found: len(found) == 2), max_size=8)


class World(NamedTuple):
    seen: list[Sighting]
    wanted: list[Pair]
    before: Rules
    after: Rules
    later: Sequence[Sighting] = ()  # seen when it is known what matches

    def store(self) -> tuple[RuledStore, list[Pair]]:
        """What is to match resolved an event, and so has a record."""
        alone = [(frozenset({node}), 0) for node in sorted({node for found in self.wanted for node in found})]
        store = filled([*alone, *self.seen], self.before)
        matched = match(store, self.wanted)
        for one in self.later:
            store.take([seen_of(one, self.before)])
        return store, matched


matching = Matching(link_weight=6.0, review_weight=1.0)
ruled = rules_of_the_day.map(lambda rules: msgspec.structs.replace(rules, matching=matching))
worlds = st.builds(World, sightings, pairs, ruled, ruled, sightings)

OTHERS = Namespace(name="*")
STRICT = Rules(
    namespaces=(
        Namespace(name="user_id", limit=1),
        Namespace(name="email", owned_by=("user_id",)),
        Namespace(name="anonymous_id", shared_after=1),
    ),
    others=OTHERS,
    others_rank=2,
)
OPEN = Rules(namespaces=(Namespace(name="user_id"), Namespace(name="email")), others=OTHERS, others_rank=2)
DEVICE, SMALLER, LARGER = Node("anonymous_id", bytes([2, 4])), Node("email", bytes([1, 1])), Node("email", bytes([3, 1]))


def of_two(value: Node, *people: int) -> list[Sighting]:
    return [(frozenset({Node("user_id", bytes([number, 0])), value}), number) for number in people]


# A device of two people links them by other rules; a mailbox that is seen with neither matches the device.
to_a_shared_one = World(of_two(DEVICE, 5, 6), [pair(DEVICE, SMALLER)], STRICT, OPEN)
# The mailbox is one of two known people, so that a component ends there; the next event of one of them doesn't see what it matches.
to_a_border = World(
    [*of_two(DEVICE, 5, 6), *of_two(LARGER, 7, 8)],
    [pair(DEVICE, LARGER)],
    STRICT,
    OPEN,
    of_two(Node("phone", bytes([9, 2])), 7),
)


def told(found: Difference) -> tuple[object, ...]:
    counts = found.merges, found.splits, found.links, found.unlinks, found.shared, found.returned
    return *counts, sorted((one.merges, sorted(one.customers), one.parts) for one in found.examples)


@example(to_a_shared_one, 1)
@example(to_a_border, 1)
@given(worlds, st.integers(1, 5))
def test_the_report_is_the_same_whatever_the_pages_are(world: World, size: int) -> None:
    store, _ = world.store()
    assert told(store.check(world.after, size)) == told(store.check(world.after, ALL_AT_ONCE))


@example(to_a_shared_one)
@example(to_a_border)
@given(worlds)
def test_what_hangs_together_is_whole_from_whichever_end(world: World) -> None:
    """Whoever is asked about finds those who would be one with it, and is found by them."""
    store, _ = world.store()
    whole: dict[Node, frozenset[Node]] = {}
    for node in store.nodes():
        region = store.region_for({node}, world.after)
        after = copied(region)
        settle(after, [], world.after, store.new_id)
        whole[node] = frozenset(one for one, label in after.component_of.items() if label == after.component_of.get(node))
    assert all(whole[other] == mine for mine in whole.values() for other in mine)


@example(to_a_shared_one, 1, 1)
@example(to_a_border, 1, 1)
@given(worlds, st.integers(1, 5), st.integers(1, 5))
def test_the_report_is_what_happens_in_pages_of_any_size(world: World, size: int, settled: int) -> None:
    store, matched = world.store()
    report = store.check(world.after, size)
    before = named(store.whole)
    silent_before = store.whole.shared | store.whole.contested
    store.activate(world.after)
    store.settle_all(settled)
    check(store, [*world.seen, *world.later], matched, recorded={node for found in matched for node in found})
    assert partition(store) == {group for group in divide(store.whole.facts, world.after).groups() if len(group) > 1}
    real, silent = compare(before, named(store.whole)), store.whole.shared | store.whole.contested
    assert (report.merges, report.splits) == (real.merges, real.splits)
    assert (report.shared, report.returned) == (len(silent - silent_before), len(silent_before - silent))
