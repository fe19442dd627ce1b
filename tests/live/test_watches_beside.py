"""However many watch everybody, and however slowly they read, the loop comes round to all else that a process does."""

import asyncio
from collections.abc import AsyncIterator
from unittest.mock import patch

import grpc
import pytest
from c360.profile.v1 import watch_pb2 as pb
from c360.profile.v1.watch_pb2_grpc import WatchServiceStub

from services.profile.api import watching
from services.profile.api.messages import profile_message
from services.profile.batches import Batches
from services.profile.watch_turns import AT_IT_AT_ONCE, FEW, TOLD_AT_ONCE
from services.stack.stack import Stack
from tests.live.giant import AUDIT
from tests.live.inside import Inside, founded, identified, new_id
from tests.turns import Turns

WATCHES = 20
CUSTOMERS = 200  # two looks, each of as many as are looked at together
PATIENCE_S = 120.0


@pytest.fixture
async def inside(servers: Stack) -> AsyncIterator[Inside]:
    inside = await Inside.open(servers)
    await inside.define(AUDIT)
    streams = [new_id() for _ in range(CUSTOMERS)]
    keys = await inside.keys(streams)
    life = ([founded(stream, n), identified(stream, keys[stream], n, city="Kiel")] for n, stream in enumerate(streams))
    await inside.record(entry for entries in life for entry in entries)
    yield inside
    await inside.close()


async def told_of_all(inside: Inside, number: int) -> int:
    """By a watch on a channel of its own, which doesn't read before it has to."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{inside.port}", options=[("c360.test", number)]) as channel:
        told = set[str]()
        async for response in WatchServiceStub(channel).WatchProfiles(pb.WatchProfilesRequest(purpose="audit"), timeout=PATIENCE_S):
            told.update(change.customer_id for change in response.changes)
            if len(told) == CUSTOMERS:
                break
            await asyncio.sleep(0.01)
        return len(told)


async def test_of_many_who_look_at_much_a_few_do_so_at_a_time(inside: Inside) -> None:
    looking, most = 0, 0
    seen = Batches.seen

    async def counting(self: Batches, customers: list[bytes], *arguments: object, **named: object) -> object:
        nonlocal looking, most
        looking += len(customers) > FEW
        most = max(most, looking)
        try:
            return await seen(self, customers, *arguments, **named)  # type: ignore[arg-type]
        finally:
            looking -= len(customers) > FEW

    async with Turns() as turns:
        with patch.object(Batches, "seen", counting), patch.object(watching, "profile_message", turns.of(profile_message)):
            found = await asyncio.gather(*(told_of_all(inside, number) for number in range(WATCHES)))
    assert found == [CUSTOMERS] * WATCHES, "each is told of all"
    assert 0 < most <= AT_IT_AT_ONCE
    assert 0 < turns.most <= 2 * AT_IT_AT_ONCE * TOLD_AT_ONCE, "the end of one's and the beginning of the next one's"
