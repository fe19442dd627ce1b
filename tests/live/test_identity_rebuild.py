"""Whatever happened, identity's tables are what its log tells; what isn't is found, and mended."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from random import Random
from typing import Any

import asyncpg
import msgspec
import pytest
import pytest_asyncio

from services.identity.composition import Parts
from services.identity.domain.erasure import EraseCustomer
from services.identity.rebuild import Found, rebuild, told
from services.identity.reviewing import Expiry
from services.identity.tables.expected import TABLES
from services.stack.stack import Stack
from shared.errors import CustomerError, Fenced
from shared.events.wire import RawEvent
from shared.ids import id_maker
from shared.instants import DAY, now_us
from tests.live import test_matching
from tests.live.test_identity import Store, decide_something, event_of, in_units, partition_of_store, store, traffic
from tests.live.test_matching import CAP

__all__ = ["store"]  # the fixture
# Of each table a column that the log tells of, and what somebody made of it.
TAMPERED = {
    "customers": "canonical = sha256('x')",
    "identifiers": "customer = sha256('x')",
    "merges": "other = sha256('x')",
    "former_links": "customer = sha256('x')",
    "decisions": "decided_by = 'nobody'",
    "spent_requests": "decision_id = sha256('x')",
    "proposals": "weight = 99",
    "suppressions": "erased_at = erased_at + 1",
    "erasures": "customer = sha256('x')",
    "holds": "placed_by = 'nobody'",
}


@pytest_asyncio.fixture
async def admin(servers: Stack) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(servers.admin_url.rsplit("/", 1)[0] + "/c360")
    yield connection
    await connection.close()


async def rebuilt(store: Store, *, mend: bool = False) -> Found:
    return await rebuild(store.settings, mend=mend)


def differing(found: Found) -> set[str]:
    return {table.table for table in found.tables if not table.same}


class Life:
    """All that identity does, in no order."""

    def __init__(self, store: Store, random: Random) -> None:
        self.store = store
        self.random = random
        self.units = in_units(random, self.traffic())
        self.number = 0

    def traffic(self) -> list[RawEvent]:
        people = test_matching.traffic(self.random, 60)
        browsers = [msgspec.structs.replace(event, message_id=f"b-{event.message_id}") for event in traffic(self.random, 120)]
        both = [event for two in zip(browsers, people + browsers[60:], strict=False) for event in two]
        return [self.some_later(event, now_us() + DAY) for event in both]

    def some_later(self, event: RawEvent, at: int) -> RawEvent:
        """So that who starts clean comes back."""
        late = at + event.occurred_at if self.random.random() < 0.7 else event.occurred_at
        return msgspec.structs.replace(event, occurred_at=late, received_at=at + DAY)

    async def live(self) -> None:
        acts = [self.unit] * 8 + [self.decide] * 6 + [self.erase, self.hold, self.release, self.expire, self.match]
        await self.unit(await self.store.parts(CAP))
        while self.units:
            self.number += 1
            parts = await self.store.parts(CAP)
            with contextlib.suppress(CustomerError):  # what was drawn may not be possible
                await self.random.choice(acts)(parts)
        for _ in range(2):
            self.number += 1
            await self.erase(await self.store.parts(CAP))
        await self.settled()

    async def settled(self) -> None:
        parts = await self.store.parts(CAP)
        while await parts.activator._resettle_page() or await parts.matcher.step() or await parts.unifier.graph.settle_left():
            pass

    async def unit(self, parts: Parts) -> None:
        await parts.unifier.unify(self.units.pop(), self.number, [])

    async def decide(self, parts: Parts) -> None:
        await decide_something(parts.decider, self.store.pool, self.random, self.number)

    async def erase(self, parts: Parts) -> None:
        if not (customers := await self.customers()):
            return
        one, nobody = self.random.choice(customers), self.random.randbytes(32)
        asked: dict[str, Any] = {"customer": one} if self.random.random() < 0.8 else {"customer": b"", "identifier": nobody}
        policy: Any = self.random.choice(["refuse", "start_clean", "start_clean"])
        command = EraseCustomer(request_id=f"e{self.number}", policy=policy, reason="asked", requested_by="desk", **asked)
        erasure = await parts.eraser.erase(command)
        erasure = await parts.eraser._begin(erasure)
        if erasure.stage == "begun":
            await parts.eraser._destroy_keys(erasure)

    async def hold(self, parts: Parts) -> None:
        for customer in (await self.customers())[:1]:
            await parts.holds.place(f"h{self.number}", customer, "case 1", "desk")

    async def release(self, parts: Parts) -> None:
        for row in await self.store.pool.fetch("SELECT hold_id FROM holds WHERE released_at IS NULL"):
            await parts.holds.release(f"r{self.number}", row["hold_id"], "desk")

    async def expire(self, parts: Parts) -> None:
        await Expiry(self.store.pool, parts.ledger, 90, lambda: now_us() + 91 * DAY, id_maker(now_us)).expire()

    async def match(self, parts: Parts) -> None:
        await parts.matcher.step()

    async def customers(self) -> Sequence[bytes]:
        rows = await self.store.pool.fetch("SELECT customer FROM customers WHERE erased_by IS NULL ORDER BY founding_number")
        return [row["customer"] for row in rows]


@pytest.mark.parametrize("seed", range(4))
async def test_the_tables_are_what_the_log_tells_whatever_happened(store: Store, seed: int) -> None:
    life = Life(store, Random(seed))
    parts = await store.parts()
    await parts.activator._record_shipped()
    await parts.model_activator.record_shipped()
    await life.live()
    found = await rebuilt(store)
    assert found.same, "\n".join(told(found))
    assert found.moved is not None
    assert found.position == await store.pool.fetchval("SELECT count(*) FROM events")
    again = await rebuilt(store)
    assert [table.digest for table in again.tables] == [table.digest for table in found.tables]


async def test_what_was_altered_is_found_and_mended(store: Store, admin: Any) -> None:
    """Each table in turn; whoever wrote before is fenced, and starts anew."""
    life = Life(store, Random(1))
    await life.live()
    parts, partition = await store.parts(), await partition_of_store(store.pool)
    before = {table.table: table.digest for table in (await rebuilt(store)).tables}
    tampered = set()
    for table, change in TAMPERED.items():
        query = f"UPDATE {table} SET {change} WHERE ctid = (SELECT min(ctid) FROM {table})"
        if (
            await admin.execute(query.replace(table, f"identity.{table}", 1).replace(f"FROM {table}", f"FROM identity.{table}"))
            == "UPDATE 1"
        ):
            tampered.add(table)
    assert tampered > {"customers", "identifiers", "merges", "decisions", "suppressions", "erasures"}
    found = await rebuilt(store)
    assert differing(found) == tampered
    assert all(table.missing == 1 for table in found.tables if not table.same)
    assert all(table.keys for table in found.tables if not table.same)
    assert (await rebuilt(store, mend=True)).mended
    with pytest.raises(Fenced):
        await parts.unifier.unify([event_of("1", user_id="ann")], 10_000, [])
    await life.settled()
    mended = await rebuilt(store)
    assert differing(mended) <= {"spent_requests"}, "a request too many is kept: its row can't be deleted"
    assert {table.table: table.digest for table in mended.tables if table.same} == {
        one: before[one] for one in before.keys() - differing(mended)
    }
    assert await partition_of_store(store.pool) == partition


async def test_rows_that_are_lost_come_back_from_the_log(store: Store, admin: Any) -> None:
    life = Life(store, Random(3))
    await life.live()
    partition = await partition_of_store(store.pool)
    for table in TABLES:
        await admin.execute(f"DELETE FROM identity.{table} WHERE ctid IN (SELECT ctid FROM identity.{table} LIMIT 2)")
    assert (await rebuilt(store, mend=True)).mended
    await life.settled()
    found = await rebuilt(store)
    assert found.same, "\n".join(told(found))
    assert await partition_of_store(store.pool) == partition
