"""What hangs together with too much for a unit is settled behind the events, and everybody else's go on (decision 38)."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import msgspec
import pytest

from services.identity import settling
from services.identity.composition import Parts
from services.identity.domain.erasure import EraseCustomer
from services.identity.domain.sighting import Suppression
from services.identity.graph import region
from services.identity.graph_writer import GraphWriter
from services.identity.rebuild import told
from services.identity.tables import regions, waiting
from services.identity.tables.bounds import PAGE_UNSETTLED
from shared.events import customer as events
from shared.events.wire import RawEvent
from shared.log import LogReader
from shared.privacy import Redacted
from tests.live import test_matching
from tests.live.identity_life import Life
from tests.live.test_identity import (
    Store,
    erase,
    event_of,
    in_units,
    named,
    oracle,
    partition_of_store,
    sighting_of,
    store,
    traffic,
)
from tests.live.test_identity_rebuild import lived, rebuilt
from tests.live.test_matching import CAP
from tests.seeds import seeds

__all__ = ["store"]  # the fixture

FEW = 4


def chain(links: int, first: int = 0) -> list[RawEvent]:
    """Mailboxes and phones, each seen with the next."""
    return [link(number) for number in range(first, first + links)]


def link(number: int) -> RawEvent:
    traits = {"email": f"m{(number + 1) // 2}@x.example", "phone": f"+49151{number // 2:08d}"}
    return event_of(str(number), traits=traits)


async def at_rest(parts: Parts) -> None:
    while await parts.settler.step():
        pass


def loads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many identifiers each load of a unit brought."""
    found: list[int] = []

    async def load(pool: Any, *arguments: Any, **named: Any) -> regions.Loaded:
        loaded = await whole(pool, *arguments, **named)
        if named.get("bound") is not None:
            found.append(len(loaded.region.component_of))
        return loaded

    whole = regions.load
    monkeypatch.setattr(regions, "load", load)
    return found


@pytest.mark.parametrize("seed", range(4))
async def test_in_any_order_and_units_of_any_size_it_comes_to_the_function_of_all_facts(
    store: Store, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GraphWriter, "most", FEW)
    monkeypatch.setattr(settling, "PAGE_WAITING", 5)
    random = Random(seed)
    raw = [msgspec.structs.replace(event, message_id=f"c{event.message_id}") for event in chain(40)] + traffic(random, 80)
    random.shuffle(raw)
    parts, loaded = await store.parts(), loads(monkeypatch)
    for sequence, unit in enumerate(in_units(random, raw), 1):
        if random.random() < 0.2:
            parts = await store.parts()
        before = len(loaded)
        if random.random() < 0.3:
            await asyncio.gather(parts.settler.step(), parts.unifier.unify(unit, sequence, []))
        else:
            await parts.unifier.unify(unit, sequence, [])
        assert max(loaded[before:], default=0) <= FEW * len(unit)
    assert await store.pool.fetchval("SELECT count(*) FROM waiting_sightings") > 0
    await at_rest(parts)
    sightings = [sighting_of(event, store.vault.lookup_key) for event in raw]
    assert named(await partition_of_store(store.pool), sightings) == named(oracle(sightings), sightings)
    resolving = await store.pool.fetch("SELECT value_hash FROM identifiers WHERE resolving")
    assert {row["value_hash"] for row in resolving} == {sighting.identifiers[0][0] for sighting in sightings}


@pytest.mark.parametrize("seed", seeds(3))
async def test_whatever_else_happens_meanwhile_the_tables_are_what_the_log_and_the_facts_tell(
    store: Store, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decisions, erasures, matches; rules and models; processes die."""
    monkeypatch.setattr(GraphWriter, "most", 3 + seed % 3 * 4)
    monkeypatch.setattr(settling, "PAGE_WAITING", 3 + seed % 2 * 20)
    await lived(store, Life(store, Random(seed), ruled=seed % 2 == 0, waits=True))


async def test_who_gets_a_customer_of_their_own_meanwhile_stays_one_with_whom_they_were(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A phone that was linked to a mailbox's customer, and by which an event resolves now."""
    parts = await store.parts()
    await parts.unifier.unify(chain(1), 1, [])
    [mailbox] = await store.members("email", "m0@x.example")
    monkeypatch.setattr(GraphWriter, "most", 1)
    await parts.unifier.unify([event_of("10", traits={"phone": "+4915100000000"}), *chain(1, 1)], 2, [])
    assert await waiting.count(store.pool) == 1
    rows = await store.pool.fetch("SELECT value_hash, customer FROM identifiers WHERE own AND resolving")
    own = {row["value_hash"]: row["customer"] for row in rows}
    phone = own[store.hash_of("phone", "+4915100000000")]
    assert await store.members("email", "m0@x.example") == [mailbox, phone]
    merged = [r.entry for r in await LogReader(store.pool).partition(0, 0, 10_000) if r.entry.type_id == events.MERGED.id]
    assert {entry.public().chain for entry in merged} == {("email", "phone"), ("phone", "email")}
    assert {entry.occurred_at for entry in merged} == {10}, "it was caused by that event"
    await at_rest(parts)
    rows = await store.pool.fetch("SELECT value_hash, customer FROM identifiers WHERE own AND resolving")
    assert own == {row["value_hash"]: row["customer"] for row in rows}, "an event stands where it stood"
    sightings = [sighting_of(event, store.vault.lookup_key) for event in chain(2)]
    assert await partition_of_store(store.pool) == oracle(sightings) | {frozenset({store.hash_of("phone", "+4915100000000")})}


@asynccontextmanager
async def looking(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[[], None]]:
    """While something is being looked at, for as long as one likes; gives what ends that."""
    begun, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def look(*arguments: Any) -> region.Looked:
        loop.call_soon_threadsafe(begun.set)
        go_on.wait()
        return region.look(*arguments)

    monkeypatch.setattr(settling, "look", look)
    task = asyncio.create_task(parts.settler.step())
    try:
        await begun.wait()
        yield go_on.set
    finally:
        go_on.set()
        await task


async def test_while_a_long_chain_is_settled_everybody_elses_events_are_seen(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = await store.parts()
    await parts.unifier.unify(chain(600), 1, [])
    await at_rest(parts)
    await parts.unifier.unify(chain(1, 600), 2, [])
    async with looking(parts, monkeypatch):
        email = {"email": "ann@y.example"}
        await parts.unifier.unify([event_of("9000", user_id="ann", traits=email), *chain(1, 601)], 3, [])
        assert await store.members("user_id", "ann") == await store.members("email", "ann@y.example") != []
        assert await store.members("email", "m301@x.example"), "an event of the chain stands with its own customer"
    await at_rest(parts)
    sightings = [sighting_of(event, store.vault.lookup_key) for event in chain(602)]
    expected = {group for group in oracle(sightings) if not group.isdisjoint({store.hash_of("email", "m301@x.example")})}
    assert expected <= await partition_of_store(store.pool)


async def test_what_is_linked_behind_the_events_is_said_and_what_is_erased_meanwhile_is_not(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GraphWriter, "most", 2)
    parts = await store.parts()
    await parts.unifier.unify(chain(6), 1, [])
    assert await waiting.count(store.pool) == 6
    hers = store.hash_of("email", "m1@x.example")
    hashes = await erase(store, await store.members("email", "m1@x.example"), Suppression(b"e", "refuse", 1_000))
    parts.unifier.forget()
    assert hashes == {hers}
    rows = await waiting.page(store.pool, 10)
    assert all(hers not in row.value_hashes and len(row.value_hashes) == len(row.sealed) == 2 for row in rows)
    await at_rest(parts)
    assert await said(store, {hash_ for row in rows for hash_ in row.value_hashes}) >= {"+4915100000000", "m2@x.example"}
    sightings = [sighting_of(event, store.vault.lookup_key) for event in chain(6)]
    assert await partition_of_store(store.pool) == oracle(sightings, erased=hashes)


async def test_what_is_always_touched_while_it_is_looked_at_is_settled_all_the_same(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody is erased during each look; in a turn of the writer nobody can be."""
    monkeypatch.setattr(GraphWriter, "most", FEW)
    parts, raw = await store.parts(), chain(20)
    await parts.unifier.unify(raw, 1, [])
    assert await waiting.count(store.pool) > 0
    looks: list[bool] = []
    turn: Any = parts.ledger.turn

    def look(*arguments: Any) -> region.Looked:
        looks.append(in_turn := turn.__self__._lock.locked())
        if not in_turn:
            parts.unifier.forget()
        return region.look(*arguments)

    monkeypatch.setattr(settling, "look", look)
    await at_rest(parts)
    assert looks == [*[False] * settling.MOST_IN_VAIN, True]
    sightings = [sighting_of(event, store.vault.lookup_key) for event in raw]
    assert await partition_of_store(store.pool) == oracle(sightings)


async def test_what_came_first_is_settled_first_whatever_comes_of_a_chain_meanwhile(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much more of it there is than a look takes."""
    monkeypatch.setattr(GraphWriter, "most", 1)
    monkeypatch.setattr(settling, "PAGE_WAITING", 5)
    parts, number, mail = await store.parts(), 10, {"email": "ann@x.example"}
    await parts.unifier.unify(chain(number), 1, [])
    await parts.unifier.unify([event_of("9000", user_id="ann", traits=mail)], 2, [])
    looks = 0
    while not await store.members("email", mail["email"]):
        await parts.unifier.unify(chain(10, number), 3 + looks, [])
        await parts.settler.step()
        number, looks = number + 10, looks + 1
        assert looks <= 3, "ten sightings were before hers, of which a look takes five"
    assert await waiting.count(store.pool) > 10


async def test_the_gauge_says_what_matches_and_erasures_left_too(store: Store) -> None:
    await (await store.parts()).unifier.unify(chain(3), 1, [])
    await store.pool.execute("INSERT INTO unsettled SELECT value_hash FROM identifiers")
    assert await waiting.count_all(store.pool) == await left(store) > 0


async def erased(store: Store, parts: Parts, user: str) -> None:
    """Up to where the keys are destroyed."""
    customer = (await store.members("user_id", user))[0]
    asked = EraseCustomer(request_id="e", policy="refuse", reason="asked", requested_by="desk", customer=customer, identifier=b"")
    await parts.eraser._destroy_keys(await parts.eraser._begin(await parts.eraser.erase(asked)))


async def test_what_waits_to_be_linked_to_who_is_erased_and_was_seen_with_nobody_else_is_erased_with_them(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it would be if it hadn't waited: her address doesn't become that of whoever has the phone."""
    parts, phone, mail = await store.parts(), {"phone": "+4915100000000"}, {"email": "her@x.example"}
    await parts.unifier.unify([event_of("1", traits=phone)], 1, [])
    monkeypatch.setattr(GraphWriter, "most", 1)
    await parts.unifier.unify([event_of("2", user_id="her", traits=phone | mail)], 2, [])
    assert await waiting.count(store.pool) == 1
    [owner] = await store.members("phone", phone["phone"])
    await erased(store, parts, "her")
    await at_rest(parts)
    assert await waiting.count(store.pool) == 0
    assert await store.members("email", mail["email"]) == []
    assert await store.members("phone", phone["phone"]) == [owner]
    await parts.unifier.unify([event_of("3", user_id="him", traits=mail)], 3, [])
    await at_rest(parts)
    assert await store.members("user_id", "him") == [], "the event is refused"
    found = await rebuilt(store)
    assert found.same, "\n".join(told(found))


async def test_who_an_erased_ones_event_waits_to_join_are_joined_and_what_they_are_linked_to_is_said(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A phone and an address of others: her key is gone, and the address stands with its own customer's event too."""
    monkeypatch.setattr(settling, "PAGE_WAITING", 1)  # hers goes first, by itself
    parts, phone, mail = await store.parts(), {"phone": "+4915100000000"}, {"email": "his@x.example"}
    await parts.unifier.unify([event_of("1", traits=phone)], 1, [])
    monkeypatch.setattr(GraphWriter, "most", 1)
    await parts.unifier.unify([event_of("2", user_id="her", traits=phone | mail)], 2, [])
    await parts.unifier.unify([event_of("3", user_id="him", traits=mail)], 3, [])
    assert await waiting.count(store.pool) == 2
    await erased(store, parts, "her")
    await at_rest(parts)
    assert await waiting.count(store.pool) == 0
    him = await store.members("user_id", "him")
    assert len(him) == 2
    assert await store.members("phone", phone["phone"]) == await store.members("email", mail["email"]) == him
    assert mail["email"] in await said(store, {store.hash_of("email", mail["email"])})
    found = await rebuilt(store)
    assert found.same, "\n".join(told(found))


async def test_an_identifier_that_is_erased_by_itself_waits_no_longer(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    parts, phone, mail = await store.parts(), {"phone": "+4915100000000"}, {"email": "her@x.example"}
    monkeypatch.setattr(GraphWriter, "most", 1)
    await parts.unifier.unify([event_of("2", user_id="her", traits=phone | mail)], 1, [])
    named = store.hash_of("email", mail["email"])
    asked = EraseCustomer(request_id="e", policy="refuse", reason="asked", requested_by="desk", customer=b"", identifier=named)
    await parts.eraser._begin(await parts.eraser.erase(asked))
    await at_rest(parts)
    assert await store.members("email", mail["email"]) == []
    assert await store.members("phone", phone["phone"]) == await store.members("user_id", "her") != []


async def test_matches_and_erasures_of_what_hangs_together_with_too_much_are_left_to_be_settled_behind(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GraphWriter, "most", 2)
    parts, raw = await store.parts(CAP), test_matching.traffic(Random(3), 80)
    await parts.unifier.unify(raw, 1, [])
    await at_rest(parts)
    loaded = loads(monkeypatch)
    while await parts.matcher.step():
        pass
    assert await left(store) > 0
    await at_rest(parts)
    someone = await store.pool.fetchrow(
        """SELECT min(customer) AS customer FROM identifiers JOIN customers USING (customer) GROUP BY component
           ORDER BY count(DISTINCT canonical) DESC, count(*) DESC LIMIT 1"""
    )
    command = EraseCustomer(
        request_id="e", policy="refuse", reason="asked", requested_by="desk", customer=someone["customer"], identifier=b""
    )
    await parts.eraser._destroy_keys(await parts.eraser._begin(await parts.eraser.erase(command)))
    while await parts.unifier.graph.settle_left():
        pass
    assert await left(store) > 0
    assert max(loaded) <= 2 * PAGE_UNSETTLED
    await at_rest(parts)
    while await parts.matcher.step() or await parts.settler.step():
        pass
    found = await rebuilt(store)
    assert found.moved is not None
    assert found.same, "\n".join(told(found))


async def test_what_is_left_of_a_chain_is_not_settled_by_what_comes_from_others(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it, or an event of the chain in the same unit, make them wait."""
    monkeypatch.setattr(GraphWriter, "most", 2)
    parts, pieces = await store.parts(), [link(number) for number in range(100, 200, 4)]
    await parts.unifier.unify([*chain(40), *pieces], 1, [])
    await at_rest(parts)
    await store.pool.execute("INSERT INTO unsettled SELECT value_hash FROM identifiers")
    loaded, email = loads(monkeypatch), {"email": "ann@y.example"}
    ann = event_of("9000", user_id="ann", traits=email)
    await parts.unifier.unify([ann, *chain(1, 40)], 2, [])
    assert await store.members("user_id", "ann") == await store.members("email", "ann@y.example") != []
    assert max(loaded) <= 2 * 2
    assert await left(store) > 80, "what is small is settled in turns of its own"
    await at_rest(parts)
    assert await left(store) == 0
    sightings = [sighting_of(event, store.vault.lookup_key) for event in [*chain(41), *pieces, ann]]
    assert await partition_of_store(store.pool) == oracle(sightings)


async def left(store: Store) -> int:
    return int(await store.pool.fetchval("SELECT count(*) FROM unsettled"))


async def said(store: Store, hashes: Collection[bytes]) -> set[str]:
    """Values that the log tells of these."""
    found = set()
    for record in await LogReader(store.pool).partition(0, 0, 10_000):
        if record.entry.type_id == events.LINKED.id and record.entry.public().value_hash in hashes:
            personal = record.entry.personal(await store.vault.key(record.entry.stream))
            if not isinstance(personal, Redacted | None):
                found.add(personal.value)  # type: ignore[attr-defined]
    return found
