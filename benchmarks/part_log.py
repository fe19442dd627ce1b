"""The log: append and replay, with encryption and leaf hashes on, against binary COPY and the stock eventsourcing library."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks.harness import Part, Result, timed, timed_thread
from benchmarks.stock import StockLibrary
from services.profile.domain.fold import evolve
from services.profile.domain.rules import PLAIN
from services.profile.domain.state import State
from services.stack.stack import Stack
from shared.events import customer as events
from shared.events.catalogue import Entry, make_entry
from shared.ids import id_maker, partition_of
from shared.instants import now_us
from shared.log import LogReader, LogWriter
from shared.log.writer import Versioned
from shared.store.pool import open_pool
from shared.vault import DataKey, FileKeyring, Vault
from tests.emptying import empty_log

PARTITIONS = 4
EVENTS = 10_000
BATCH = 500
CUSTOMERS = 1_000
LONG_STREAM = 2_000
ROUNDS = 9
REPLAYS = 10
YIELD_EVERY = 20
STOCK_BATCH = 300  # 100 customers of 3 events, as the library's users would write them

new_id = id_maker(now_us)


class OurLog:
    """The customer log of the profile service, written as the service writes it, views aside."""

    def __init__(self, pool: Any, admin: Any, vault: Vault) -> None:
        self._pool = pool
        self._admin = admin
        self._vault = vault
        self._streams = [new_id() for _ in range(CUSTOMERS)]

    async def append(self) -> float:
        """Events a second: seal, hash, insert, move the heads; a transaction a batch. The next batch is sealed meanwhile."""
        await empty_log(self._admin, "profile")
        keys = await self._vault.create_keys(self._streams, now_us())
        log = LogWriter(self._pool, range(PARTITIONS), now_us)
        await log.claim()
        return EVENTS / await timed(self._append(log, keys))

    async def _append(self, log: LogWriter, keys: dict[bytes, DataKey]) -> None:
        ready: asyncio.Queue[list[Versioned]] = asyncio.Queue(1)
        making = asyncio.create_task(self._make_batches(ready, keys))
        for number in range(EVENTS // BATCH):
            await log.append(await ready.get(), {"CUSTOMER": number})
        await making

    async def _make_batches(self, ready: asyncio.Queue[list[Versioned]], keys: dict[bytes, DataKey]) -> None:
        for first in range(0, EVENTS, BATCH):
            batch = []
            for number in range(first, first + BATCH):
                batch.append(self._event(number, keys))
                if not number % YIELD_EVERY:
                    await asyncio.sleep(0)  # as when events come in messages: the log's own steps go on in between
            await ready.put(batch)

    def _event(self, number: int, keys: dict[bytes, DataKey]) -> Versioned:
        stream = self._streams[number % CUSTOMERS]
        return Versioned(partition_of(stream, PARTITIONS), number // CUSTOMERS + 1, tracked(stream, number, keys[stream]))

    async def copy(self) -> float:
        """Events a second of COPY in the binary format into a table with the same columns and indexes: the limit."""
        await self._admin.execute("TRUNCATE copied")
        rows = [self._row(number) for number in range(EVENTS)]
        return EVENTS / await timed(self._copy(rows))

    async def _copy(self, rows: list[tuple[Any, ...]]) -> None:
        for first in range(0, EVENTS, BATCH):
            await self._admin.copy_records_to_table("copied", records=rows[first : first + BATCH])

    def _row(self, number: int) -> tuple[Any, ...]:
        stream = self._streams[number % CUSTOMERS]
        partition = partition_of(stream, PARTITIONS)
        return (
            partition,
            number,
            stream,
            number // CUSTOMERS,
            new_id(),
            "customer.tracked",
            1,
            1,
            1,
            b"h" * 60,
            b"e" * 200,
            b"l" * 32,
        )

    async def long_stream(self) -> bytes:
        stream = new_id()
        key = (await self._vault.create_keys([stream], now_us()))[stream]
        log = LogWriter(self._pool, range(PARTITIONS), now_us)
        await log.claim()
        entries = [tracked(stream, number, key) for number in range(LONG_STREAM)]
        await log.append([Versioned(partition_of(stream, PARTITIONS), version, e) for version, e in enumerate(entries, 1)], {})
        return stream

    async def replay(self, stream: bytes) -> float:
        """Events a second: read, decrypt, decode, fold."""
        return REPLAYS * LONG_STREAM / await timed(self._replay(stream))

    async def _replay(self, stream: bytes) -> None:
        reader = LogReader(self._pool)
        for _ in range(REPLAYS):
            key, state = await self._vault.key(stream), State()
            for record in await reader.streams([(partition_of(stream, PARTITIONS), stream)]):
                evolve(state, record.entry, *record.entry.parts(key), PLAIN)
            assert len(state.traits) == 50


def tracked(stream: bytes, number: int, key: DataKey) -> Entry:
    """About what the stock library's example stores: one changed trait of fifty."""
    activity = events.Activity(source="web", resolved_by=stream, received_at=number)
    return make_entry(
        events.IDENTIFIED,
        stream,
        new_id(),
        number,
        activity,
        events.Identified(traits={f"key{number % 50}": f"value {number}"}),
        key,
    )


@asynccontextmanager
async def our_log(servers: Stack) -> AsyncIterator[OurLog]:
    environment = servers.environment_of("profile") | {"vault": servers.environment_of("identity")["C360_VAULT_URL"]}
    admin = await asyncpg.connect(servers.admin_url.rsplit("/", 1)[0] + "/c360")
    await admin.execute("CREATE TABLE copied (LIKE profile.events INCLUDING INDEXES)")
    pool = await open_pool(environment["C360_DATABASE_URL"], "profile")
    vault_pool = await open_pool(environment["vault"], "vault")
    try:
        yield OurLog(pool, admin, Vault(vault_pool, FileKeyring(Path(environment["C360_KEYRING_FILE"]))))
    finally:
        await admin.close()
        await pool.close()
        await vault_pool.close()


async def measure(servers: Stack) -> list[Result]:
    async with our_log(servers) as ours:
        stock = StockLibrary(servers.admin_url, f"stock_{uuid.uuid4().hex[:8]}")
        sealed = StockLibrary(servers.admin_url, f"stock_{uuid.uuid4().hex[:8]}", encrypted=True)
        append = Part("events/s", ROUNDS)

        async def stock_recorder() -> float:
            return EVENTS / await timed_thread(lambda: stock.insert(EVENTS, BATCH))

        async def stock_application() -> float:
            return EVENTS / await timed_thread(lambda: stock.save(EVENTS, STOCK_BATCH))

        async def stock_encrypted() -> float:
            return EVENTS / await timed_thread(lambda: sealed.save(EVENTS, STOCK_BATCH))

        await append.run(
            append=ours.append,
            binary_copy=ours.copy,
            stock_recorder=stock_recorder,
            stock_application=stock_application,
            stock_encrypted=stock_encrypted,
        )

        stream = await ours.long_stream()
        aggregate, sealed_aggregate = stock.long_aggregate(LONG_STREAM), sealed.long_aggregate(LONG_STREAM)
        replay = Part("events/s", ROUNDS)

        async def our_replay() -> float:
            return await ours.replay(stream)

        async def stock_replay() -> float:
            return REPLAYS * LONG_STREAM / await timed_thread(lambda: [stock.get(aggregate) for _ in range(REPLAYS)])

        async def stock_encrypted_replay() -> float:
            return REPLAYS * LONG_STREAM / await timed_thread(lambda: [sealed.get(sealed_aggregate) for _ in range(REPLAYS)])

        await replay.run(replay=our_replay, stock_replay=stock_replay, stock_encrypted_replay=stock_encrypted_replay)
        stock.close()
        sealed.close()
    return [
        append.result("append", "binary_copy", at_least=0.5),
        append.result("append", "stock_application", at_least=5),
        append.result("append", "stock_encrypted"),
        append.result("append", "stock_recorder"),
        append.result("binary_copy"),
        append.result("stock_recorder"),
        append.result("stock_application"),
        append.result("stock_encrypted"),
        replay.result("replay", "stock_replay", at_least=10),
        replay.result("replay", "stock_encrypted_replay"),
        replay.result("stock_replay"),
        replay.result("stock_encrypted_replay"),
    ]
