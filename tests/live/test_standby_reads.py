"""What is read from a standby is never older than what the process has committed: else the primary answers."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import asyncpg
import pytest

from services.stack.postgres import Postgres
from services.stack.stack import Stack
from shared.instants import now_us
from shared.log import LogReader, LogWriter
from shared.log.standby import REST_S, StandbyReads, committed
from shared.store.pool import open_pool
from tests.e2e.test_backup import commands
from tests.live.test_log import PARTITIONS, placed
from tests.servers import free_port, give, running, superuser_password, type_in
from tests.stacks import fresh_stack

WHO = "SELECT pg_is_in_recovery()"
PAUSE_S = 0.05
TRIES = 1_000


class Both:
    """A primary with a writer, and a standby that is told when to follow."""

    def __init__(self, writer: LogWriter, reads: StandbyReads, follower: asyncpg.Connection) -> None:
        self.writer = writer
        self.reads = reads
        self._follower = follower
        self.now = 0.0

    async def follow(self, follows: bool) -> None:
        await self._follower.execute(f"SELECT pg_wal_replay_{'resume' if follows else 'pause'}()")
        for _ in range(TRIES):
            if follows or await self._follower.fetchval("SELECT pg_get_wal_replay_pause_state()") == "paused":
                return
            await asyncio.sleep(PAUSE_S)
        raise AssertionError("it doesn't stop")

    async def answers_from_the_standby(self) -> bool:
        return bool(await self.reads.fetchval(WHO))

    async def until_the_standby_answers(self) -> None:
        for _ in range(TRIES):
            if await self.answers_from_the_standby():
                return
            await asyncio.sleep(PAUSE_S)
        raise AssertionError("it never has all")

    async def positions(self) -> list[int]:
        reader = LogReader(self.reads)
        return [record.pos for partition in PARTITIONS for record in await reader.partition(partition, 0, 10_000)]


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[Both]:
    with fresh_stack(services=()) as stack:
        server = stack.admin_url.rpartition("/")[0]
        type_in(commands("standby"), tmp_path, SERVER=server, STANDBY_DATA=str(tmp_path / "standby"))
        give(tmp_path / "standby")
        with running(tmp_path / "standby", free_port(), superuser_password(stack)) as standby:
            async for made in connected(stack, standby):
                yield made


async def connected(stack: Stack, standby: Postgres) -> AsyncIterator[Both]:
    url = stack.environment_of("profile")["C360_DATABASE_URL"]
    there = url.replace(f":{stack.ports['postgres']}/", f":{standby.admin_url.rpartition(':')[2].partition('/')[0]}/")
    primary, pool = await open_pool(url, "profile"), await open_pool(there, "profile", waits=False)
    follower = await asyncpg.connect(standby.admin_url.rpartition("/")[0] + "/c360")
    writer = LogWriter(primary, PARTITIONS, now_us)
    reads = StandbyReads(primary, pool, lambda: committed(writer.heads), lambda: made.now)
    made = Both(writer, reads, follower)
    try:
        yield made
    finally:
        await asyncio.gather(primary.close(), pool.close(), follower.close())


async def test_who_has_committed_nothing_yet_asks_the_primary(both: Both) -> None:
    assert not await both.answers_from_the_standby()


async def test_a_standby_that_is_behind_is_not_asked_and_one_that_has_all_is(both: Both) -> None:
    await both.writer.claim()
    await both.writer.append([placed(1)], {})
    await both.until_the_standby_answers()
    await both.follow(False)
    await both.writer.append([placed(2)], {})
    assert not await both.answers_from_the_standby()
    assert len(await both.positions()) == 2
    await both.follow(True)
    await both.until_the_standby_answers()
    assert len(await both.positions()) == 2


async def test_whatever_the_standby_does_nothing_that_was_committed_is_missing(both: Both) -> None:
    await both.writer.claim()
    choose = Random(81)
    for number in range(1, 60):
        await both.writer.append([placed(number)], {})
        if choose.random() < 0.2:
            await both.follow(choose.random() < 0.5)
        assert len(await both.positions()) == number
    await both.follow(True)


async def test_a_standby_that_is_away_is_left_alone_for_a_while(both: Both) -> None:
    await both.writer.claim()
    await both.until_the_standby_answers()
    there = both.reads._standby
    await there.close()
    assert not await both.answers_from_the_standby()
    both.now += REST_S / 2
    assert not await both.answers_from_the_standby()
