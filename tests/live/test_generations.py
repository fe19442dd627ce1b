"""A table of remembered ids answers for all of them, over many generations, starts, failures and replicas."""

from collections.abc import AsyncIterator
from random import Random
from typing import Any

import asyncpg
import pytest

from services.identity.tables.seen import SeenMessages
from services.ingest.receipts import Applied, Receipts
from services.stack.stack import Stack
from shared.ids import derived_id
from shared.sieve import BITS_AN_ID
from shared.store.pool import open_pool

SIZE = 32  # ids of a generation
POSITIONS = SIZE * BITS_AN_ID


@pytest.fixture
async def pools(servers: Stack) -> AsyncIterator[tuple[Any, Any]]:
    """Of identity and of ingest, with nothing remembered."""
    admin = await asyncpg.connect(servers.admin_url.rsplit("/", 1)[0] + "/c360")
    await admin.execute("TRUNCATE identity.seen_messages, identity.seen_messages_sieve, ingest.receipts, ingest.receipts_sieve")
    await admin.execute("UPDATE ingest.customer_head SET customer = 0, ingest = 0, receipts = 0")
    identity, ingest = [await open_pool(servers.environment_of(name)["C360_DATABASE_URL"], name) for name in ("identity", "ingest")]
    yield identity, ingest
    await admin.execute("TRUNCATE identity.seen_messages, identity.seen_messages_sieve, ingest.receipts, ingest.receipts_sieve")
    await admin.execute("UPDATE ingest.customer_head SET customer = 0, ingest = 0, receipts = 0")
    await admin.close()
    await identity.close()
    await ingest.close()


def an_id(number: int) -> bytes:
    return derived_id(b"event", b"%d" % number)


async def remember(pool: Any, seen: SeenMessages, ids: list[bytes], *, fails: bool = False) -> None:
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await seen.remember(connection, ids)
        await (transaction.rollback() if fails else transaction.commit())
    if fails:
        await seen.load()


async def test_identity_remembers_over_generations_starts_and_failures(pools: tuple[Any, Any]) -> None:
    pool, chance = pools[0], Random(7)
    seen, remembered, number = SeenMessages(pool, POSITIONS), set[bytes](), 0
    await seen.load()
    for _ in range(160):
        batch = [an_id(number + n) for n in range(chance.randrange(1, SIZE))]
        number += len(batch)
        fails = chance.random() < 0.2
        await remember(pool, seen, batch, fails=fails)
        remembered |= set() if fails else set(batch)
        if chance.random() < 0.1:
            seen = SeenMessages(pool, POSITIONS)
            await seen.load()
        asked = [an_id(chance.randrange(number + 10)) for _ in range(30)]
        assert await seen.known(asked) == remembered & set(asked)
    assert await seen.known([an_id(n) for n in range(number)]) == remembered
    generations = await pool.fetchval("SELECT max(generation) FROM seen_messages")
    assert generations > 40, "the second block of the sieve is in use"


async def test_replicas_agree_where_a_receipt_is(pools: tuple[Any, Any]) -> None:
    """Each follows CUSTOMER at its own pace; whichever is ahead writes."""
    pool, chance = pools[1], Random(7)
    units = [[Applied(an_id(1_000 * unit + n), b"c" * 16, unit) for n in range(chance.randrange(SIZE))] for unit in range(60)]
    replicas = [Receipts(pool, POSITIONS) for _ in range(2)]
    heads = [await replica.head() for replica in replicas]
    while min(head.customer for head in heads) < len(units):
        which = chance.randrange(2)
        at = heads[which].customer
        some = units[at : at + chance.randrange(1, 5)]
        if some:
            heads[which] = await replicas[which].apply(some, heads[which], at + len(some), at)
    late = Receipts(pool, POSITIONS)
    await late.load()
    everything = {applied.event_id for unit in units for applied in unit}
    for receipts in (*replicas, late):
        assert await receipts.known(everything) == everything
        assert await receipts.known([an_id(-1)]) == set()
        assert await receipts.find(units[5][0].event_id) == units[5][0]
    assert await pool.fetchval("SELECT receipts FROM customer_head") == len(everything)
