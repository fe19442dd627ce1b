"""Remembering what was seen: what an event costs in identity's memory of messages and in ingest's receipts, as they grow.

`BENCH_IDS=10000000 make bench ONLY=memory` is the size that decision 26 speaks of; the default takes a few seconds.
"""

import hashlib
import os
import random
import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from benchmarks.harness import Result, timed
from services.identity.seen import SeenMessages
from services.ingest.receipts import Applied, Receipts
from services.stack.stack import Stack
from shared.sieve import GENERATION_IDS
from shared.store.generations import Generations
from shared.store.pool import open_pool

IDS = int(os.environ.get("BENCH_IDS", "300000"))
SHARES = (0.1, 0.3, 1.0)  # of IDS: the sizes at which it is measured
BATCH = 500
BATCHES = 100
SEEDED_AT_ONCE = 1_000_000
SEED_ID = "substring(sha256(int8send(n)), 1, 16)"


@dataclass
class Store:
    """A table that remembers event ids, and the production code that loads, asks and fills it."""

    schema: str
    table: str
    id_column: str
    seed: str  # the columns of a row, after its generation
    load: Callable[[], Awaitable[None]]
    ask: Callable[[Sequence[bytes]], Awaitable[set[bytes]]]
    put: Callable[[Sequence[bytes]], Awaitable[object]]


async def measure(servers: Stack) -> list[Result]:
    admin = await asyncpg.connect(servers.admin_url.rsplit("/", 1)[0] + "/c360")
    results = []
    for name, make in (("identity", _identity), ("ingest", _ingest)):
        pool = await open_pool(servers.environment_of(name)["C360_DATABASE_URL"], name)
        filled = 0
        for size in (int(IDS * share) for share in SHARES):
            await _fill(admin, pool, make(pool), filled, size)
            filled = size
            results += await _measure(admin, make(pool), size)
        await pool.close()
    await admin.close()
    return results


def _identity(pool: Any) -> Store:
    seen = SeenMessages(pool)

    async def put(ids: Sequence[bytes]) -> None:
        async with pool.acquire() as connection, connection.transaction():
            await seen.remember(connection, ids)

    return Store("identity", "seen_messages", "message", SEED_ID, seen.load, seen.known, put)


def _ingest(pool: Any) -> Store:
    receipts = Receipts(pool)

    async def put(ids: Sequence[bytes]) -> None:
        before = await receipts.position()
        applied = [Applied(event_id, b"c" * 16, before.customer) for event_id in ids]
        await receipts.apply([applied], before, before.customer + 1, before.ingest + 1)

    return Store("ingest", "receipts", "event_id", f"{SEED_ID}, {SEED_ID}, n", receipts.load, receipts.known, put)


async def _fill(admin: Any, pool: Any, store: Store, first: int, last: int) -> None:
    """As if that many had come, in no order."""
    await admin.execute(f"SET search_path TO {store.schema}")
    for start in range(first, last, SEEDED_AT_ONCE):
        numbers = f"generate_series({start}::int8, {min(start + SEEDED_AT_ONCE, last) - 1}) AS n"
        seed = f"INSERT INTO {store.table} SELECT n / {GENERATION_IDS}, {store.seed} FROM {numbers}"  # noqa: S608
        await admin.execute(seed, timeout=900)
    if store.schema == "ingest":
        await admin.execute("UPDATE customer_head SET receipts = $1", last)
    await admin.execute(f"VACUUM ANALYZE {store.table}", timeout=900)
    generations = Generations(pool, store.table, store.id_column)
    await generations.load()
    for generation in range(generations.newest):
        await generations.finish(admin, generation)


async def _measure(admin: Any, store: Store, size: int) -> list[Result]:
    start_s = await timed(store.load())
    new = [[_id(f"{store.table} {size} {batch} {n}") for n in range(BATCH)] for batch in range(2 * BATCHES)]
    asked = [await _microseconds(store.ask(batch)) for batch in new[:BATCHES]]
    again = [await _microseconds(store.ask(batch)) for batch in _seeded(size)]
    held = await admin.fetchval(f"SELECT count(*) FROM {store.table}", timeout=900)  # noqa: S608
    sizes = "SELECT pg_total_relation_size($1::text::regclass), pg_indexes_size($1::text::regclass)"
    disk, index = await admin.fetchrow(sizes, store.table)
    await admin.execute("CHECKPOINT", timeout=900)
    wal = await _wal(admin)
    put = [await _microseconds(store.put(batch)) for batch in new[BATCHES:]]
    wal = await _wal(admin) - wal
    name = f"{store.schema}, {size:,} ids: "
    return [
        Result(name=name + "new, look-up", value=statistics.median(asked), unit="us", samples=asked),
        Result(name=name + "again, look-up", value=statistics.median(again), unit="us", samples=again),
        Result(name=name + "insert", value=statistics.median(put), unit="us", samples=put),
        Result(name=name + "write-ahead log", value=wal / (BATCHES * BATCH), unit="bytes"),
        Result(name=name + "on disk", value=disk / held, unit="bytes"),
        Result(name=name + "of it index", value=index / held, unit="bytes"),
        Result(name=name + "start", value=start_s, unit="s"),
    ]


def _seeded(size: int) -> list[list[bytes]]:
    """Ids that the table has, from all over it."""
    chance = random.Random(1)  # noqa: S311
    return [[hashlib.sha256(chance.randrange(size).to_bytes(8)).digest()[:16] for _ in range(BATCH)] for _ in range(BATCHES)]


def _id(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:16]


async def _wal(admin: Any) -> int:
    return int(await admin.fetchval("SELECT pg_current_wal_insert_lsn() - '0/0'"))


async def _microseconds(work: Awaitable[Any]) -> float:
    """An event of a batch."""
    return 1e6 * await timed(work) / BATCH
