"""Identity's outbox on a real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from nats.aio.client import Client

from services.identity.tables import outbox
from services.identity.tables.outbox import Outbox
from services.stack.stack import Stack
from shared import bus
from shared.bus import Relay, publish_at
from shared.bus.connection import ensure_stream
from shared.poison import Halted
from shared.store.pool import open_pool

GOES_ON_S = 1.0  # it would halt at once
UNITS = [bytes([number]) * 100 for number in range(6)]


@pytest.fixture
async def pool(servers: Stack) -> AsyncIterator[Any]:
    pool = await open_pool(servers.environment_of("identity")["C360_DATABASE_URL"], "identity")
    await pool.execute("DELETE FROM outbox")
    yield pool
    await pool.execute("DELETE FROM outbox")
    await pool.close()


@pytest.fixture
async def client(servers: Stack) -> AsyncIterator[Client]:
    client = await bus.connect(servers.broker_url, "test")
    yield client
    await client.close()


@pytest.fixture
async def stream(client: Client) -> AsyncIterator[str]:
    name = f"TEST-{uuid4().hex[:8]}"
    yield name
    await client.jetstream().delete_stream(name)


async def handed_over(pool: Any, units: list[bytes]) -> Outbox:
    handed = Outbox(pool)
    await handed.load()
    async with pool.acquire() as connection, connection.transaction():
        await handed.put(connection, units, 1)
    handed.committed(units)
    return handed


async def everything(reads: Outbox, limit: int = 200) -> list[tuple[int, bytes]]:
    read: list[tuple[int, bytes]] = []
    while page := await reads.read(len(read), limit):
        read += page
    return read


async def test_many_large_units_are_read_some_at_a_time_and_none_is_left_out(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    await handed_over(pool, UNITS)
    monkeypatch.setattr(outbox, "READ_BYTES", 250)
    later = Outbox(pool)
    await later.load()
    assert [number for number, _ in await later.read(0, 200)] == [0, 1, 2]
    assert [number for number, _ in await later.read(0, 2)] == [0, 1]
    assert await everything(later) == list(enumerate(UNITS))


async def test_a_unit_that_is_larger_than_what_is_read_at_once_is_read_alone(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    await handed_over(pool, UNITS)
    monkeypatch.setattr(outbox, "READ_BYTES", 1)
    later = Outbox(pool)
    await later.load()
    assert await later.read(3, 200) == [(3, UNITS[3])]


async def test_units_that_are_no_more_in_memory_are_read_from_the_table(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "KEPT_BYTES", 250)
    handed = await handed_over(pool, UNITS)
    assert list(handed._newest) == [4, 5]
    assert await everything(handed) == list(enumerate(UNITS))


async def lost_to(pool: Any, client: Client, stream: str, theirs: int) -> Relay:
    """The relay of who handed over four units, and then lost the log to one that published `theirs` after them."""
    ours = await handed_over(pool, UNITS[:4])
    async with pool.acquire() as connection, connection.transaction():
        await connection.executemany("INSERT INTO outbox (number, unit, created_at) VALUES ($1, $2, 1)", list(enumerate(UNITS))[4:])
    await ensure_stream(client, stream, 1)
    for number in range(4 + theirs):
        await publish_at(client, stream, number, b"unit")
    return Relay(client, stream, ours.read, knows=ours.knows)


@pytest.mark.parametrize("theirs", [1, 2])
async def test_what_the_new_owner_of_the_log_published_is_not_taken_for_what_nobody_wrote(
    pool: Any, client: Client, stream: str, theirs: int
) -> None:
    relay = await lost_to(pool, client, stream, theirs)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(GOES_ON_S):
            await relay.run()
    assert relay.published == 4 + theirs


async def test_what_nobody_wrote_halts_the_relay_also_of_who_lost_the_log(pool: Any, client: Client, stream: str) -> None:
    relay = await lost_to(pool, client, stream, 3)
    with pytest.raises(Halted):
        await relay.run()
