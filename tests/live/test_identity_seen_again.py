"""Facts of what was seen together that are lost from the table come back from the events, and nothing does of who is erased."""

from random import Random
from typing import Any

import msgspec
import pytest

from services.identity.domain.sighting import Suppression
from services.identity.rebuild import told
from services.identity.tables import views
from shared.events.catalogue import Entry
from shared.events.wire import RawEvent, decode_unit
from shared.instants import DAY, now_us
from tests.live.test_identity import Store, decide_something, erase, in_units, partition_of_store, settle_behind, store, traffic
from tests.live.test_identity_rebuild import admin, rebuilt

__all__ = ["admin", "store"]  # fixtures
FACTS = "SELECT sighting_id, nodes, occurred_at, event_id, source FROM sightings ORDER BY 1"


async def events_of(store: Store) -> list[Entry]:
    """As profile's log has them."""
    units = await store.pool.fetch("SELECT unit FROM outbox ORDER BY number")
    return [entry for row in units for entry in decode_unit(row["unit"]).entries]


async def read_back(store: Store, entries: list[Entry]) -> int:
    parts = await store.parts()
    found = await parts.seen_again.hear(entries)
    await settle_behind(parts)
    return found


async def lived(store: Store, random: Random, *, erased: bool = False) -> None:
    """Events, decisions, and one who is `erased` and, where she may, begins anew: of that the log isn't told here."""
    now = now_us()
    raw = [
        msgspec.structs.replace(e, occurred_at=now - DAY + n, received_at=now - DAY + n) for n, e in enumerate(traffic(random, 120))
    ]
    for sequence, unit in enumerate(in_units(random, raw), 1):
        parts = await store.parts()
        await parts.unifier.unify(unit, sequence, [])
        if random.random() < 0.3:
            await decide_something(parts.decider, store.pool, random, sequence)
    if erased:
        someone = await store.members("user_id", f"user-{random.randrange(12)}")
        await erase(store, someone, Suppression(b"e", random.choice(["refuse", "start_clean"]), now))
    later = [_later(event, now + n) for n, event in enumerate(traffic(random, 40), 1)]
    parts = await store.parts()
    await parts.unifier.unify(later, 1_000, [])
    await settle_behind(parts)


def _later(event: RawEvent, at: int) -> RawEvent:
    return msgspec.structs.replace(event, message_id=f"later-{event.message_id}", occurred_at=at, received_at=at)


@pytest.mark.parametrize("seed", range(4))
async def test_lost_facts_come_back_and_what_is_there_stays_as_it_is(store: Store, admin: Any, seed: int) -> None:
    random = Random(seed)
    await lived(store, random, erased=True)
    before, partition, entries = await store.pool.fetch(FACTS), await partition_of_store(store.pool), await events_of(store)
    random.shuffle(entries)
    assert await read_back(store, entries) == 0, "nothing is missing"
    assert await store.pool.fetch(FACTS) == before
    lost = [row["sighting_id"] for row in before if random.random() < [1.0, 0.5, 0.2, 0.05][seed]] or [before[0]["sighting_id"]]
    await admin.execute("DELETE FROM identity.sightings WHERE sighting_id = ANY($1)", lost)
    assert sum([await read_back(store, page) for page in (entries[:70], entries[50:], entries[:30])]) >= len(lost)
    assert await store.pool.fetch(FACTS) == before
    assert await partition_of_store(store.pool) == partition


async def test_a_look_at_the_tables_says_how_lost_facts_come_back(store: Store, admin: Any) -> None:
    await lived(store, Random(1))
    assert (await rebuilt(store)).same
    await admin.execute("DELETE FROM identity.sightings")
    found = await rebuilt(store)
    assert not found.same
    assert "c360 identity match read-back" in "\n".join(told(found))
    await read_back(store, await events_of(store))
    found = await rebuilt(store)
    assert found.same, "\n".join(told(found))
    assert "read-back" not in "\n".join(told(found))


async def test_who_came_apart_for_lack_of_facts_is_one_again_under_the_same_id(store: Store, admin: Any) -> None:
    await lived(store, Random(2))
    partition = await partition_of_store(store.pool)
    who = await store.pool.fetchval("SELECT customer FROM merges LIMIT 1")
    canonical = (await views.members(store.pool, who))[0]
    await admin.execute("DELETE FROM identity.sightings")
    await admin.execute("INSERT INTO identity.unsettled SELECT value_hash FROM identity.identifiers")
    await settle_behind(await store.parts())
    assert await partition_of_store(store.pool) != partition
    await read_back(store, await events_of(store))
    assert await partition_of_store(store.pool) == partition
    assert (await views.members(store.pool, who))[0] == canonical
    found = await rebuilt(store)
    assert found.same, "\n".join(told(found))
