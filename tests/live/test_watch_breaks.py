"""A watch whose first look is of more than its connection lasts for comes to its end: each goes on behind what was taken before."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from typing import Any

import grpc
import pytest
from c360.common.v1.common_pb2 import CustomerRef
from c360.profile.v1 import watch_pb2 as pb

from services.profile import watches
from services.profile.api import watch, watching
from services.stack.stack import Stack
from shared.ids import to_text
from shared.rpc.sending import taken_in_time
from shared.waiting import wait_for_news
from tests.live.inside import Inside, founded, identified, new_id
from tests.live.mirror import PATIENCE_S, Mirror, Watching, shown
from tests.live.test_profile_rules import activated, command
from tests.live.test_watches import emptied, info_of
from tests.properties.people_read import purpose

TRIES_AT_MOST = 100
ALL_SENT_S = 6.0


@pytest.fixture
async def inside(servers: Stack) -> AsyncIterator[Inside]:
    async with emptied(servers) as inside:
        yield inside


@pytest.mark.parametrize("named", [False, True])
async def test_a_watch_that_breaks_after_each_message_comes_to_its_end(
    inside: Inside, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    """Meanwhile somebody changes now and then, and the rules and the purpose do once."""
    monkeypatch.setattr(watching, "CHANGES_AT_MOST", 1)
    monkeypatch.setattr(watches, "GATHERING_S", 0.0)
    await inside.define(purpose("contract", "*", name="mirror"))
    streams = sorted(new_id() for _ in range(12))
    keys = await inside.keys(streams)
    await inside.record(entry for s in streams for entry in (founded(s, 0), identified(s, keys[s], 1, city="Kiel")))
    mirror, breaks = Mirror(), 0
    while len(mirror.profiles) < len(streams):
        breaks += 1
        assert breaks <= 3 * len(streams), "each takes one message, and comes nearer"
        watched = Watching(inside, mirror, "mirror", streams if named else None)
        async with asyncio.timeout(PATIENCE_S):
            mirror.take(await anext(watched._responses))
        await watched._responses.aclose()
        if breaks % 3 == 0:
            changing = streams[breaks % len(streams)]
            await inside.record([identified(changing, keys[changing], 1 + breaks, city=f"city {breaks}")])
        if breaks == 5:
            await activated(inside.parts, command('{"traits": {"city": {"rule": "first"}}}'))
        if breaks == 12:
            await inside.define(purpose("contract", "city", name="mirror", version=2))
    async with Watching(inside, mirror, "mirror", streams if named else None) as rest:
        await rest.caught_up()
        assert mirror.profiles == await shown(inside, "mirror", streams)


@pytest.mark.parametrize("named", [False, True])
async def test_who_takes_little_at_a_time_is_dropped_each_time_further_on(
    inside: Inside, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    dropped = asyncio.Event()

    def in_time(items: AsyncGenerator[Any, None], timeout_s: float, too_late: Any) -> AsyncGenerator[Any, None]:
        return taken_in_time(_closing(items, dropped), timeout_s, too_late)

    monkeypatch.setattr(watch, "taken_in_time", in_time)
    monkeypatch.setattr(watch, "SEND_TIMEOUT_S", 0.2)
    monkeypatch.setattr(watching, "MESSAGE_BYTES", 128 * 1024)
    await inside.define(purpose("contract", name="mirror"))
    streams = [new_id() for _ in range(300)]
    keys = await inside.keys(streams)
    note = {f"note_{number}": "x" * 4_000 for number in range(20)}
    await inside.record(entry for s in streams for entry in (founded(s, 0), identified(s, keys[s], 1, **note)))
    customers = [CustomerRef(customer_id=to_text(stream)) for stream in streams] if named else []
    request, mirror, places = pb.WatchProfilesRequest(purpose="mirror", customers=customers), Mirror(), list[str]()
    while len(mirror.profiles) < len(streams):
        assert len(places) < TRIES_AT_MOST
        call = inside.watches.WatchProfiles(request, timeout=PATIENCE_S)
        dropped.clear()
        await wait_for_news(dropped, ALL_SENT_S)  # in vain when the rest goes into what connections hold by themselves
        told = await taken(call, mirror, len(streams))
        call.cancel()
        if told is not None:
            assert told.reason == "WATCH_TOO_SLOW"
            request.resume_place = told.metadata["place"]
            assert request.resume_place not in places, "each time it is further on"
            places.append(request.resume_place)
    assert len(places) > 1, "else this shows nothing"


async def _closing(items: AsyncGenerator[Any, None], closed: asyncio.Event) -> AsyncGenerator[Any, None]:
    try:
        async with aclosing(items):
            async for item in items:
                yield item
    finally:
        closed.set()


async def taken(call: Any, mirror: Mirror, goal: int) -> Any:
    """What it was ended with, if it was before the mirror has so many."""
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            try:
                while len(mirror.profiles) < goal:
                    mirror.take(await call.read())
            except grpc.aio.AioRpcError as dropped:
                return info_of(dropped)
    return None
