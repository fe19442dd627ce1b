"""Two writers take one log over from each other again and again: nothing is lost, doubled or out of place for who reads it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.stack.stack import Stack
from shared.errors import Fenced
from shared.instants import now_us
from shared.log import LogWriter
from shared.log.raw import RawLog
from shared.store.pool import open_pool
from tests.live.test_log import PARTITIONS, placed
from tests.live.test_log import pool as pool  # noqa: PLC0414

UNITS = 30  # of each writer
EVENTS = 7  # a unit
TERM = 3  # units until a writer takes over, whether it was fenced or not


@pytest.fixture
async def other_pool(pool: Any, servers: Stack) -> AsyncIterator[Any]:
    made = await open_pool(servers.environment_of("profile")["C360_DATABASE_URL"], "profile")
    yield made
    await made.close()


async def write(pool: Any, first: int) -> tuple[list[bytes], int]:
    """The ids of the events that it was told are written, in their order, and how often it was fenced."""
    writer = LogWriter(pool, PARTITIONS, now_us)
    written: list[bytes] = []
    fenced = 0
    for unit in range(UNITS):
        events = [placed(first + unit * EVENTS + number) for number in range(EVENTS)]
        if unit % TERM == 0:
            await writer.claim()
        while True:
            try:
                written += [record.entry.event_id for record in await writer.append(events, {})]
                break
            except Fenced:
                fenced += 1
                await writer.claim()
    return written, fenced


async def read(pool: Any, partition: int, done: asyncio.Event) -> list[bytes]:
    """Every event of a partition as it comes, each once; who reads goes on behind the last one seen."""
    log = RawLog(pool)
    seen: list[bytes] = []
    last_round = False
    while not last_round:
        last_round = done.is_set()
        async for page in log.events(partition, len(seen)):
            assert [raw.record.pos for raw in page] == list(range(len(seen), len(seen) + len(page)))
            seen += [raw.entry.event_id for raw in page]
        await asyncio.sleep(0)
    return seen


async def test_readers_see_no_gap_while_writers_take_over_from_each_other(pool: Any, other_pool: Any) -> None:
    done = asyncio.Event()
    readers = [asyncio.create_task(read(other_pool, partition, done)) for partition in PARTITIONS]
    (one, fenced), (other, fenced_too) = await asyncio.gather(write(pool, 0), write(other_pool, 10_000))
    done.set()
    seen = [event_id for reader in readers for event_id in await reader]
    assert fenced + fenced_too > 0, "else nobody took over"
    assert len(one) == len(other) == UNITS * EVENTS
    assert sorted(seen) == sorted([*one, *other])
    stored = await pool.fetch("SELECT partition, next_pos FROM partition_heads")
    assert sum(row["next_pos"] for row in stored) == len(seen)
