"""The lease of a log: one has it; another gets it when it has run out or was given up, and never while it is kept."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine

import asyncpg
import pytest

from services.stack.stack import Stack
from shared.errors import Fenced
from shared.log.ownership import LOOK_S, Ownership, open_ownership

SOON_S = 30.0

Open = Callable[[str], Coroutine[None, None, Ownership]]


@pytest.fixture
async def replica(servers: Stack) -> AsyncIterator[Open]:
    """Makes what a process of that name has of the lease."""
    url, opened = servers.environment_of("identity")["C360_DATABASE_URL"], list[Ownership]()
    await let_run_out(servers)

    async def made(name: str) -> Ownership:
        opened.append(await open_ownership(url, "identity", name))
        return opened[-1]

    yield made
    for one in opened:
        await one.give_up()


async def let_run_out(servers: Stack) -> None:
    """As six seconds without a sign of its owner would."""
    admin = await asyncpg.connect(servers.admin_url.rsplit("/", 1)[0] + "/c360")
    await admin.execute("UPDATE identity.log_owners SET until = now() - interval '1 second'")
    await admin.close()


async def test_of_many_that_ask_at_once_one_gets_it(replica: Open) -> None:
    several = [await replica(f"replica {number}") for number in range(5)]
    takes = [asyncio.create_task(one.take()) for one in several]
    await asyncio.wait(takes, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.sleep(2 * LOOK_S)  # the others look again
    assert [take.done() for take in takes].count(True) == 1
    for take in takes:
        take.cancel()


async def test_who_stands_by_gets_it_once_it_is_given_up(replica: Open) -> None:
    owner, other = await replica("one"), await replica("other")
    await owner.take()
    waiting = asyncio.create_task(other.take())
    await asyncio.sleep(2 * LOOK_S)
    assert not waiting.done()
    await owner.give_up()
    await asyncio.wait_for(waiting, SOON_S)


async def test_an_owner_whose_lease_ran_out_leaves_when_another_has_it_and_stays_when_nobody_has(
    servers: Stack, replica: Open
) -> None:
    owner, other = await replica("one"), await replica("other")
    await owner.take()
    await let_run_out(servers)
    await owner.confirm()
    await let_run_out(servers)
    await other.take()
    with pytest.raises(Fenced):
        await owner.confirm()
    with pytest.raises(Fenced):
        await asyncio.wait_for(owner.keep(), SOON_S)


async def test_who_is_started_in_the_place_of_the_owner_has_its_lease(replica: Open) -> None:
    await (await replica("one")).take()
    await asyncio.wait_for((await replica("one")).take(), SOON_S)
