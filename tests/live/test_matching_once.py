"""Sources that have each person once, named while the service runs: all is compared again, and the tables are the function of it."""

from math import inf
from random import Random

import msgspec
import pytest

from services.identity.domain.rules_document import rules_of
from services.identity.graph.facts import Facts, Node, pair
from services.identity.graph.ownership import divide
from services.identity.graph.resolve import Partition
from services.identity.graph.rules import Matching
from services.identity.matching.model import default
from services.identity.recall import NOW
from services.identity.records.likeness import Comparer
from services.identity.tables import rulebook
from tests.live.test_identity import Store, partition_of_store, sighting_of, store
from tests.live.test_identity_rules import activate, activator
from tests.live.test_matching import CAP, matched, matches_of_store, settled, traffic, writers

__all__ = ["store"]  # the fixture

ONCE = ("desk", "till", "web")
MATCHING = Matching(link_weight=8.0, review_weight=2.0, witness=False, one_per_source=ONCE)


async def test_sources_that_are_named_later_are_as_if_they_had_always_been(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.identity.matcher.RECORDS_A_STEP", 9)
    raw = traffic(Random(3), 120)
    unifier, matcher = await writers(store)
    await unifier.unify(raw, 1, [])
    await settled(unifier, matcher)
    document = msgspec.structs.replace(rulebook.SHIPPED.document, matching=MATCHING)
    await activate(store, document, "once")
    while await (await activator(store))._resettle_page():
        pass
    comparing = True
    while comparing:  # and a crash after each step
        await (await writers(store))[1].step()
        comparing = await store.pool.fetchval("SELECT again IS NOT NULL FROM matching")
    await settled(*await writers(store))
    rules = rules_of(document, 2)
    assert rules.matching.exclusive == set(ONCE)
    comparer = Comparer(default(), MATCHING.review_weight, rules.matching.exclusive)
    monkeypatch.setattr("tests.live.test_matching.COMPARER", comparer)
    facts = matched(raw, store.vault.lookup_key)
    sightings = [(event.source, sighting_of(event, store.vault.lookup_key).seen().nodes[0]) for event in raw]
    for source, node in sightings:
        facts.recorded_by[node] = facts.recorded_by.get(node, frozenset()) | {source}
    of_store = await matches_of_store(store.pool)
    assert {ends: match[:2] + match[3:] for ends, match in of_store.items()} == {
        ends: match[:2] + match[3:] for ends, match in facts.matched.items()
    }
    assert any(match.unrivalled > -inf for match in of_store.values())
    partition = divide(facts, rules)
    resolving: set[Node] = {node for _, node in sightings}
    for node in resolving - partition.group_of.keys():
        partition.add(node)
    groups = {frozenset(node.value_hash for node in group) for group in partition.groups()}
    assert await partition_of_store(store.pool) == groups - {frozenset({n.value_hash}) for n in partition.shared - resolving}
    await check_grounds(store, facts, partition)


async def check_grounds(store: Store, facts: Facts, partition: Partition) -> None:
    """What neither having a rival adds is told, and whom else either could be: in a source that has the other, and each once."""
    explanations = (await store.parts(CAP)).explanations
    unrivalled = rivals = 0
    for one, other in facts.matched:
        why = await explanations.why(one, other, NOW)
        for link in [*why.explained.links, *(one.link for one in why.explained.obstacles if one.link is not None)]:
            if link.weight is None or link.weight == inf:
                continue
            grounds = why.grounds[link]
            assert link.weight in (grounds.weighed.explanation.weight, grounds.weighed.unrivalled)
            assert link.weight == grounds.weighed.unrivalled or not link.unrivalled
            unrivalled += link.unrivalled
            rivals += len(grounds.rivals)
            group = partition.group_of[why.one.node].nodes | partition.group_of[why.other.node].nodes
            for rival, _ in grounds.rivals:
                assert rival not in group
                assert any(
                    pair(rival, end) in facts.matched and facts.recorded_by[rival] & facts.recorded_by[other]
                    for end, other in ((link.strong, link.weak), (link.weak, link.strong))
                )
    assert unrivalled
    assert rivals
