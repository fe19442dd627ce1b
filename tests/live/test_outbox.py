"""Identity's outbox on a real PostgreSQL."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.identity.tables import outbox
from services.identity.tables.outbox import Outbox
from services.stack.stack import Stack
from shared.store.pool import open_pool

UNITS = [bytes([number]) * 100 for number in range(6)]


@pytest.fixture
async def pool(servers: Stack) -> AsyncIterator[Any]:
    pool = await open_pool(servers.environment_of("identity")["C360_DATABASE_URL"], "identity")
    await pool.execute("DELETE FROM outbox")
    yield pool
    await pool.execute("DELETE FROM outbox")
    await pool.close()


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
