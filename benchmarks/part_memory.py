"""Remembering what was seen: what an event costs in identity's memory of messages and in ingest's receipts, as they grow.

`BENCH_IDS=10000000 make bench ONLY=memory` is the size that decision 26 speaks of; the default takes about a minute.
"""

import hashlib
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from benchmarks.harness import Result
from services.identity import views
from services.ingest.receipts import Applied, Position, Receipts
from services.stack.stack import Stack
from shared.store.pool import open_pool

IDS = int(os.environ.get("BENCH_IDS", "300000"))
SHARES = (0.1, 0.3, 1.0)  # of IDS: the sizes at which it is measured
BATCH = 500
LOOK_UPS = 100
INSERTS = 100
SEED = 1_000_000  # ids a statement


@dataclass
class Store:
    """A table that remembers event ids, and the production code that asks and fills it."""

    name: str
    schema: str
    table: str
    fill: str
    ask: Callable[[Sequence[bytes]], Awaitable[set[bytes]]]
    put: Callable[[Sequence[bytes]], Awaitable[None]]


async def measure(servers: Stack) -> list[Result]:
    admin = await asyncpg.connect(servers.admin_url.rsplit("/", 1)[0] + "/c360")
    results = []
    for store, pool in [await _identity(servers), await _ingest(servers)]:
        filled, measured = 0, 0  # how many ids the table holds, and how many of the last ones the measurement itself put there
        for share in SHARES:
            await _fill(admin, store, filled, (filled := int(IDS * share)) - measured)
            results += await _measure(admin, store, filled)
            measured = INSERTS * BATCH
        await pool.close()
    await admin.close()
    return results


async def _identity(servers: Stack) -> tuple[Store, Any]:
    pool = await open_pool(servers.environment_of("identity")["C360_DATABASE_URL"], "identity")

    async def put(ids: Sequence[bytes]) -> None:
        async with pool.acquire() as connection, connection.transaction():
            await views.remember(connection, ids)

    fill = "INSERT INTO identity.seen_messages SELECT {id}"
    return Store("identity", "identity", "seen_messages", fill, lambda ids: views.seen(pool, ids), put), pool


async def _ingest(servers: Stack) -> tuple[Store, Any]:
    pool = await open_pool(servers.environment_of("ingest")["C360_DATABASE_URL"], "ingest")
    receipts = Receipts(pool)

    async def put(ids: Sequence[bytes]) -> None:
        before = await receipts.position()
        rows = [Applied(event_id, b"c" * 16, before.customer) for event_id in ids]
        await receipts.apply(rows, Position(before.customer + 1, before.ingest + 1))

    fill = "INSERT INTO ingest.receipts SELECT {id}, {id}, n"
    return Store("ingest", "ingest", "receipts", fill, receipts.known, put), pool


async def _fill(admin: Any, store: Store, first: int, last: int) -> None:
    """As they come in life: in no order at all."""
    for start in range(first, last, SEED):
        numbers = f"generate_series({start}::int8, {min(start + SEED, last) - 1}) AS n"
        await admin.execute(f"{store.fill.format(id='substring(sha256(int8send(n)), 1, 16)')} FROM {numbers}", timeout=900)
    await admin.execute(f"VACUUM ANALYZE {store.schema}.{store.table}", timeout=900)


async def _measure(admin: Any, store: Store, held: int) -> list[Result]:
    table = f"{store.schema}.{store.table}"
    row = await admin.fetchrow("SELECT pg_total_relation_size($1::text::regclass), pg_indexes_size($1::text::regclass)", table)
    new = [[_id(f"{store.name} {held} {batch} {n}") for n in range(BATCH)] for batch in range(LOOK_UPS + INSERTS)]
    asked = [await _microseconds(store.ask(batch)) for batch in new[:LOOK_UPS]]
    await admin.execute("CHECKPOINT", timeout=900)
    wal = await _wal(admin)
    put = [await _microseconds(store.put(batch)) for batch in new[LOOK_UPS:]]
    wal = await _wal(admin) - wal
    name = f"{store.name}, {held:,} ids: "
    return [
        Result(name=name + "look-up", value=statistics.median(asked), unit="us", samples=asked),
        Result(name=name + "insert", value=statistics.median(put), unit="us", samples=put),
        Result(name=name + "on disk", value=row[0] / held, unit="bytes"),
        Result(name=name + "of it index", value=row[1] / held, unit="bytes"),
        Result(name=name + "WAL", value=wal / (INSERTS * BATCH), unit="bytes"),
    ]


def _id(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:16]


async def _wal(admin: Any) -> int:
    return int(await admin.fetchval("SELECT pg_current_wal_insert_lsn() - '0/0'"))


async def _microseconds(work: Awaitable[Any]) -> float:
    """An event of a batch."""
    started = time.perf_counter()
    await work
    return 1e6 * (time.perf_counter() - started) / BATCH
