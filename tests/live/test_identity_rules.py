"""Rules that change, on a real PostgreSQL: the tables follow as the pure function says, whatever happens meanwhile."""

from random import Random
from typing import Any

import msgspec
import pytest

from services.identity import activating, simulating
from services.identity.activating import ActivateRules, Activator
from services.identity.domain.rules_document import RulesDocument, read, rules_of
from services.identity.domain.sighting import Understanding
from services.identity.graph.difference import Difference
from services.identity.graph.facts import Node
from services.identity.recall import NOW, Instants
from services.identity.simulating import Progress
from services.identity.tables import resettling, rulebook, sharing
from services.identity.tables.rulebook import Activation
from shared.errors import TooLarge
from shared.events import customer as events
from shared.identifiers import hash_of, normalise
from shared.ids import id_maker
from shared.instants import END_OF_TIME, now_us
from shared.log import LogReader
from tests.live.test_identity import Store, in_units, names, oracle, partition_of_store, store, traffic

__all__ = ["store"]  # the fixture

# Anonymous ids never stop linking, two user ids may be one person, and the family's address is nobody's.
OPEN = """{"namespaces": [{"name": "user_id", "limit": 2}, {"name": "email", "limit": 5, "blocked": ["family@shop.example"]},
                          {"name": "*", "limit": 5}, {"name": "anonymous_id", "device": true}]}"""
STRICT = """{"namespaces": [{"name": "email", "limit": 1}, {"name": "user_id", "limit": 1, "shared_after": 2},
                            {"name": "*", "limit": 5}, {"name": "anonymous_id", "limit": 1, "window_days": 1}],
             "max_sightings": 4}"""


async def activator(store: Store) -> Activator:
    """Of a process that has just started; it checks in this one, where a test may want other limits."""
    parts = await store.parts()
    return Activator(store.pool, parts.ledger, parts.unifier.graph, parts.simulation.rules, now_us, id_maker(now_us))


async def activate(store: Store, document: RulesDocument, name: str) -> Activation:
    command = ActivateRules(request_id=name, document=document, reason="to try", activated_by="test")
    steps = [step async for step in (await activator(store)).activate(command)]
    assert isinstance(steps[-1], Activation)
    return steps[-1]


async def checked(store: Store, document: RulesDocument) -> Difference:
    steps = [step async for step in (await store.parts()).simulation.rules(rules_of(document, 0))]
    assert isinstance(steps[-1], Progress)
    assert steps[-1].identifiers == steps[-1].of
    return steps[-1].found


async def whole_log(pool: Any) -> int:
    count: int = await pool.fetchval("SELECT count(*) FROM events")
    return count


@pytest.mark.parametrize("seed", range(3))
async def test_the_tables_follow_rules_whatever_happens_meanwhile(store: Store, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small pages, a process that is new for each of them, and events in between; then the shipped rules again."""
    monkeypatch.setattr(activating, "PAGE_IDENTIFIERS", 7)
    random, key = Random(seed), store.vault.lookup_key
    raw = traffic(random, 140)
    await (await store.unifier()).unify(raw[:80], 1, [])
    rest = in_units(random, raw[80:])
    sequence, taken = 1, raw[:80]
    shipped = rulebook.SHIPPED.document
    for name, document in (("open", read(OPEN, key)), ("strict", read(STRICT, key)), ("shipped", shipped)):
        activation = await activate(store, document, name)
        while await (one := await activator(store))._resettle_page():
            assert one._ledger.activation == (await rulebook.history(LogReader(store.pool)))[-1]
            if rest and random.random() < 0.5:
                sequence += 1
                await (await store.unifier()).unify(rest[0], sequence, [])
                taken = taken + rest.pop(0)
        sightings = Understanding(key).sightings_of({event.message_id.encode(): event for event in taken}, activation.rules)
        alone = {seen.by.value_hash for one in sightings if (seen := one.seen()).by}
        own = {frozenset(hashes) for hashes in await partition_of_store(store.pool) if len(hashes) > 1}
        assert own == {group for group in oracle(sightings, rules=activation.rules) if len(group) > 1}
        assert not any(alone & group for group in own)
    versions = await rulebook.history(LogReader(store.pool))
    assert [(one.version, one.settled) for one in versions] == [(1, True), (2, True), (3, True), (4, True)]
    assert versions[-1].rules.namespaces == versions[0].rules.namespaces
    assert await resettling.under_way(store.pool) is None


@pytest.mark.parametrize("document", [OPEN, STRICT])
async def test_the_report_is_what_comes_to_pass(store: Store, document: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checked in small pages, nothing written; settled in one page."""
    raw = traffic(Random(5), 150)
    await (await store.unifier()).unify(raw, 1, [])
    before, log = await partition_of_store(store.pool), await whole_log(store.pool)
    kept = read(document, store.vault.lookup_key)
    with monkeypatch.context() as patched:
        patched.setattr(simulating, "PAGE_IDENTIFIERS", 5)
        report = await checked(store, kept)
    assert (before, log) == (await partition_of_store(store.pool), await whole_log(store.pool))

    activation = await activate(store, kept, "once")
    assert activation.expected.merges == report.merges
    one = await activator(store)
    with monkeypatch.context() as patched:
        patched.setattr(activating, "PAGE_IDENTIFIERS", 10_000)
        assert await one._resettle_page()
        came = await resettling.under_way(store.pool)
        assert not one._ledger.activation.settled
        assert not await one._resettle_page()
    assert one._ledger.activation.settled, "what it has committed, it knows"
    assert came is not None
    found = (came.merges, came.splits, came.links, came.unlinks)
    assert found == (report.merges, report.splits, report.links, report.unlinks)
    assert report.merges + report.splits > 0


async def test_rules_that_would_make_a_kiosk_one_person_cannot_be_activated(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await (await store.unifier()).unify(traffic(Random(5), 100), 1, [])
    monkeypatch.setattr(sharing, "MAX_SIGHTINGS", 5)
    with pytest.raises(TooLarge, match="anonymous_id would link again"):
        await activate(store, read(OPEN, store.vault.lookup_key), "open")
    assert len(await rulebook.history(LogReader(store.pool))) == 1


async def test_what_is_concluded_by_new_rules_names_them_as_its_cause(store: Store) -> None:
    await (await store.unifier()).unify(traffic(Random(6), 120), 1, [])
    activation = await activate(store, read(STRICT, store.vault.lookup_key), "strict")
    one = await activator(store)
    while await one._resettle_page():
        pass
    records = await LogReader(store.pool).partition(0, activation.pos + 1, 10_000)
    unlinked = [record.entry.public() for record in records if record.entry.type_id == events.UNLINKED.id]
    assert unlinked
    assert {public.cause for public in unlinked} == {activation.event_id}
    versions = await rulebook.history(LogReader(store.pool))
    assert rulebook.in_force_at(versions, records[0].pos).version == 2
    assert rulebook.in_force_at(versions, activation.pos - 1).version == 1


async def test_a_blocked_value_links_nobody_at_a_past_instant_either(store: Store) -> None:
    base = traffic(Random(7), 1)[0]
    browsers = [
        msgspec.structs.replace(
            base, message_id=f"m{at}", user_id="", anonymous_id=f"a{at}", traits={"email": "family@shop.example"}, kind="identify",
            occurred_at=at, received_at=at,
        )
        for at in (1, 2)
    ]  # fmt: skip
    await (await store.unifier()).unify(browsers, 1, [])
    await activate(store, read(OPEN, store.vault.lookup_key), "open")
    while await (await activator(store))._resettle_page():
        pass
    explanations = (await store.parts()).explanations
    rows = await store.pool.fetch("SELECT namespace, value_hash FROM identifiers WHERE namespace = 'anonymous_id'")
    nodes = [Node(row["namespace"], row["value_hash"]) for row in rows]
    for instants in (NOW, Instants(as_of=1_000)):
        assert len({(await explanations.resolve(node, instants)).canonical for node in nodes}) == 2


async def test_what_is_explained_as_known_then_is_by_the_rules_of_that_day(store: Store) -> None:
    """Two people with a family's address: a limit keeps them apart, until the address is blocked."""
    unifier = await store.unifier()
    await unifier.unify([names(str(n), f"u{n}", "family@shop.example") for n in (1, 2)], 1, [])
    one, other = (Node("user_id", hash_of(normalise("user_id", f"u{n}"), store.vault.lookup_key)) for n in (1, 2))
    before = now_us()
    await activate(store, read(OPEN, store.vault.lookup_key), "open")
    while await (await activator(store))._resettle_page():
        pass
    explanations = (await store.parts()).explanations
    found = [await explanations.why(one, other, Instants(known_at=known)) for known in (before, END_OF_TIME)]
    assert [why.rules.version for why in found] == [1, 2]
    assert [[obstacle.kind for obstacle in why.explained.obstacles] for why in found] == [["CONTESTED", "LIMIT"], ["BLOCKED"]]
    known = await explanations.why(one, other, await explanations.instants(None, now_us()))
    assert known.explained == found[1].explained
    versions = await rulebook.history(LogReader(store.pool))
    for instant in (0, before, *(version.recorded_at for version in versions), END_OF_TIME):
        then = rulebook.fold(await LogReader(store.pool).streams([(0, rulebook.RULES_STREAM)], instant))
        assert await rulebook.known_at(LogReader(store.pool), instant) == then[-1]
