"""Remembering what was seen: what an event costs in identity's memory of messages and in ingest's receipts, as they grow.

`BENCH_IDS=10000000 make bench ONLY=memory` is the size that decision 26 speaks of; the default takes a few seconds.
"""

import hashlib
import os
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import asyncpg

from benchmarks.harness import Result, timed
from benchmarks.loading import cpu_s
from services.identity.tables.seen import SeenMessages
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
# What it is compared with: the ids under an index of their own.
PLAIN = """CREATE TABLE identity.plain_index (generation int4, message bytea PRIMARY KEY);
           GRANT SELECT, INSERT ON identity.plain_index TO c360_identity"""
GENERATION = f"n / {GENERATION_IDS}, "
SEED_ID = "substring(sha256(int8send(n)), 1, 16)"


@dataclass
class Store:
    """A table that remembers event ids, and the production code that loads, asks and fills it."""

    schema: str
    table: str
    id_column: str
    seed: str  # the columns of a row
    load: Callable[[], Awaitable[None]]
    ask: Callable[[Sequence[bytes]], Awaitable[set[bytes]]]
    put: Callable[[Sequence[bytes]], Awaitable[object]]


async def measure(servers: Stack) -> list[Result]:
    admin = await asyncpg.connect(servers.admin_url.rsplit("/", 1)[0] + "/c360")
    await admin.execute(PLAIN)
    cpu = partial(_cpu_s, servers.pid("postgres") or 0)
    results = []
    for name, make in (("identity", _plain), ("identity", _identity), ("ingest", _ingest)):
        pool = await open_pool(servers.environment_of(name)["C360_DATABASE_URL"], name)
        filled = 0
        for size in (int(IDS * share) for share in SHARES):
            await _fill(admin, pool, make(pool), filled, size)
            filled = size
            results += await _measure(admin, cpu, make(pool), size)
        await pool.close()
    await admin.close()
    return results


def _plain(pool: Any) -> Store:
    async def nothing() -> None: ...

    async def ask(ids: Sequence[bytes]) -> set[bytes]:
        asked = "SELECT message FROM unnest($1::bytea[]) AS asked (message) JOIN plain_index USING (message)"
        return {row["message"] for row in await pool.fetch(asked, ids)}

    def put(ids: Sequence[bytes]) -> Awaitable[object]:
        return pool.execute("INSERT INTO plain_index (message) SELECT unnest($1::bytea[])", ids)  # type: ignore[no-any-return]

    return Store("identity", "plain_index", "message", "0, " + SEED_ID, nothing, ask, put)


def _identity(pool: Any) -> Store:
    seen = SeenMessages(pool)

    async def put(ids: Sequence[bytes]) -> None:
        async with pool.acquire() as connection, connection.transaction():
            await seen.remember(connection, ids)

    return Store("identity", "seen_messages", "message", GENERATION + SEED_ID, seen.load, seen.known, put)


def _ingest(pool: Any) -> Store:
    receipts = Receipts(pool)

    async def put(ids: Sequence[bytes]) -> None:
        before = await receipts.head()
        applied = [Applied(event_id, b"c" * 16, before.customer) for event_id in ids]
        await receipts.apply([applied], before, before.customer + 1, before.ingest + 1)

    return Store("ingest", "receipts", "event_id", f"{GENERATION}{SEED_ID}, {SEED_ID}, n", receipts.load, receipts.known, put)


async def _fill(admin: Any, pool: Any, store: Store, first: int, last: int) -> None:
    """As if that many had come, in no order."""
    await admin.execute(f"SET search_path TO {store.schema}")
    for start in range(first, last, SEEDED_AT_ONCE):
        numbers = f"generate_series({start}::int8, {min(start + SEEDED_AT_ONCE, last) - 1}) AS n"
        seed = f"INSERT INTO {store.table} SELECT {store.seed} FROM {numbers}"  # noqa: S608
        await admin.execute(seed, timeout=900)
    if store.schema == "ingest":
        await admin.execute("UPDATE customer_head SET receipts = $1", last)
    await admin.execute(f"VACUUM ANALYZE {store.table}", timeout=900)
    if store.table == "plain_index":
        return
    generations = Generations(pool, store.table, store.id_column)
    await generations.load()
    for generation in range(generations.newest):
        await generations.finish(admin, generation)


async def _measure(admin: Any, cpu_s: Callable[[], float], store: Store, size: int) -> list[Result]:
    name = f"{store.table}, {size:,} ids: "

    async def rate(what: str, work: Callable[[Sequence[bytes]], Awaitable[object]], batches: list[list[bytes]]) -> list[Result]:
        before, samples = cpu_s(), []
        for batch in batches:
            samples.append(1e6 * await timed(work(batch)) / BATCH)
        used = 1e6 * (cpu_s() - before) / (BATCH * len(batches))
        return [
            Result(name=name + what, value=statistics.median(samples), unit="us", samples=samples),
            Result(name=f"{name}{what}, CPU", value=used, unit="us"),
        ]

    start_s = await timed(store.load())
    new = [[_id(f"{store.table} {size} {batch} {n}") for n in range(BATCH)] for batch in range(2 * BATCHES)]
    looked_up = await rate("new", store.ask, new[:BATCHES]) + await rate("again", store.ask, _seeded(size))
    held = await admin.fetchval(f"SELECT count(*) FROM {store.table}", timeout=900)  # noqa: S608
    sizes = "SELECT pg_total_relation_size($1::text::regclass), pg_indexes_size($1::text::regclass)"
    disk, index = await admin.fetchrow(sizes, store.table)
    await admin.execute("CHECKPOINT", timeout=900)
    wal = await _wal(admin)
    put = await rate("insert", store.put, new[BATCHES:])
    wal = await _wal(admin) - wal
    return [
        *looked_up,
        *put,
        Result(name=name + "write-ahead log", value=wal / (BATCHES * BATCH), unit="bytes"),
        Result(name=name + "on disk", value=disk / held, unit="bytes"),
        Result(name=name + "of it index", value=index / held, unit="bytes"),
        Result(name=name + "start", value=start_s, unit="s"),
    ]


def _seeded(size: int) -> list[list[bytes]]:
    """Ids that the table has, from all over it."""
    chance = random.Random(1)
    return [[hashlib.sha256(chance.randrange(size).to_bytes(8)).digest()[:16] for _ in range(BATCH)] for _ in range(BATCHES)]


def _id(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:16]


async def _wal(admin: Any) -> int:
    return int(await admin.fetchval("SELECT pg_current_wal_insert_lsn() - '0/0'"))


def _cpu_s(postgres: int) -> float:
    """Of this process and of the database's: what neighbours on the machine change least."""
    return time.process_time() + cpu_s(postgres, with_children=True)
