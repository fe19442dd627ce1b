"""What only a primary has, and none of its standbys, was not written: nobody is answered for it."""

import asyncio
from typing import Any

import asyncpg
import pytest

from services.stack.stack import Stack
from shared.instants import now_us
from shared.log import LogWriter
from shared.store.pool import open_pool
from tests.live.test_log import PARTITIONS, placed
from tests.stacks import fresh_stack

GIVES_UP_AFTER_S = 1.0
PAUSE_S = 0.05
TRIES = 400
WITHOUT_A_STANDBY = "SET synchronous_commit = local"


async def wait_for(admin: asyncpg.Connection, standby: str) -> None:
    """From now on each commit does, once the server has heard of it."""
    await admin.execute(WITHOUT_A_STANDBY)
    await admin.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{standby}'")
    await admin.execute("SELECT pg_reload_conf()")


async def commits(pool: Any) -> bool:
    try:
        await pool.execute("UPDATE partition_heads SET owner_epoch = owner_epoch")
    except TimeoutError:
        return False
    return True


async def until_commits(pool: Any, wanted: bool) -> None:
    for _ in range(TRIES):
        if await commits(pool) is wanted:
            return
        await asyncio.sleep(PAUSE_S)
    raise AssertionError("the server hasn't heard of it")


async def test_a_commit_that_no_standby_has_is_not_taken_for_one() -> None:
    with fresh_stack(services=()) as stack:
        admin = await asyncpg.connect(stack.admin_url.rsplit("/", 1)[0] + "/c360")
        pool = await open_pool(database_of(stack), "profile", GIVES_UP_AFTER_S)
        writer = LogWriter(pool, PARTITIONS, now_us)
        await writer.claim()
        await writer.append([placed(1)], {})
        await wait_for(admin, "gone")
        await until_commits(pool, False)
        with pytest.raises(TimeoutError):
            await writer.append([placed(2)], {})
        assert await admin.fetchval("SELECT count(*) FROM profile.events") == 2, "the primary shows it all the same"
        await wait_for(admin, "")
        await until_commits(pool, True)
        await writer.claim()
        await writer.append([placed(3)], {})
        await pool.close()
        await admin.close()


def database_of(stack: Stack) -> str:
    return stack.environment_of("profile")["C360_DATABASE_URL"]
