"""The past is read from a standby of PostgreSQL where that has it, and from the primary where it hasn't: whatever it does, nothing is older than asked."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, Final

import asyncpg
import pytest_asyncio
from c360.common.v1.common_pb2 import CustomerRef
from c360.profile.v1 import profile_pb2 as pb

from shared.ids import to_text
from shared.instants import now_us
from shared.telemetry import LOG_READS
from tests.e2e.client import timestamp
from tests.e2e.test_backup import commands
from tests.live.inside import Inside, identified
from tests.live.test_ready import Shown
from tests.servers import free_port, give, running, superuser_password, type_in
from tests.stacks import fresh_stack

EVENTS: Final = 40
PAUSE_S: Final = 0.05
TRIES: Final = 1_000


class Past(Shown):
    def __init__(self, inside: Inside, follower: asyncpg.Connection) -> None:
        super().__init__(inside)
        self._follower = follower

    async def follow(self, follows: bool) -> None:
        await self._follower.execute(f"SELECT pg_wal_replay_{'resume' if follows else 'pause'}()")
        for _ in range(TRIES):
            if follows or await self._follower.fetchval("SELECT pg_get_wal_replay_pause_state()") == "paused":
                return
            await asyncio.sleep(PAUSE_S)
        raise AssertionError("it doesn't stop")

    async def city(self, known_at: int) -> str:
        answer = await self.inside.calls.GetProfile(pb.GetProfileRequest(**self._asked(known_at)))
        return str(answer.profile.traits["city"].value.string_value)

    async def events(self, known_at: int) -> int:
        request = pb.GetTimelineRequest(**self._asked(known_at), kinds=["identified"], page_size=500)
        return len((await self.inside.calls.GetTimeline(request)).entries)

    def _asked(self, known_at: int) -> dict[str, Any]:
        moment = timestamp(datetime.fromtimestamp(known_at // 1_000_000, UTC).replace(microsecond=known_at % 1_000_000))
        return {"customer": CustomerRef(customer_id=to_text(self.stream)), "purpose": "news", "known_at": moment}


def read_from(server: str) -> float:
    return float(LOG_READS.labels(server)._value.get())


@pytest_asyncio.fixture(loop_scope="session")
async def past(tmp_path: Path) -> AsyncIterator[Past]:
    with fresh_stack(services=()) as stack:
        server = stack.admin_url.rpartition("/")[0]
        type_in(commands("standby"), tmp_path, SERVER=server, STANDBY_DATA=str(tmp_path / "standby"))
        give(tmp_path / "standby")
        with running(tmp_path / "standby", free_port(), superuser_password(stack)) as standby:
            url = stack.environment_of("profile")["C360_DATABASE_URL"]
            there = url.replace(f":{stack.ports['postgres']}/", f":{standby.admin_url.rpartition(':')[2].partition('/')[0]}/")
            follower = await asyncpg.connect(standby.admin_url.rpartition("/")[0] + "/c360")
            past = Past(await Inside.open(stack, standby_url=there), follower)
            await past.begin()
            yield past
            await past.inside.close()
            await follower.close()


async def test_whatever_the_standby_does_the_past_is_what_was_known_then(past: Past) -> None:
    chance, told = Random(87), list[tuple[int, int]]()
    for number in range(EVENTS):
        await past.inside.record([identified(past.stream, past.keys[past.stream], number + 2, city=f"city {number}")])
        told.append((now_us(), number))
        if chance.random() < 0.3:
            await past.follow(chance.random() < 0.5)
        for known_at, known in (told[-1], chance.choice(told)):
            assert await past.city(known_at) == f"city {known}"
            assert await past.events(known_at) == known + 2
    await past.follow(True)


async def test_it_is_read_there_as_soon_as_it_is_there_and_not_before(past: Past) -> None:
    await past.follow(False)
    await past.inside.record([identified(past.stream, past.keys[past.stream], 2, city="Hull")])
    there, known_at = read_from("standby"), now_us()
    assert (await past.city(known_at), await past.events(known_at)) == ("Hull", 2)
    assert read_from("standby") == there, "it hasn't all that this process has committed"
    await past.follow(True)
    for _ in range(TRIES):
        assert (await past.city(known_at), await past.events(known_at)) == ("Hull", 2)
        if read_from("standby") >= there + 2:
            return
        await asyncio.sleep(PAUSE_S)
    raise AssertionError("it is never read there")
