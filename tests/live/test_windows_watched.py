"""Who watches everybody is told when an event leaves the window of a trait, though no event tells it; also after a break in which it did."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from c360.profile.v1 import watch_pb2 as pb
from google.protobuf.field_mask_pb2 import FieldMask

from services.profile import watches
from services.stack.stack import Stack
from shared.ids import to_text
from shared.instants import SECOND, now_us
from tests.live.inside import Inside, founded, new_id, tracked
from tests.live.mirror import PATIENCE_S
from tests.live.test_profile_rules import activated, command
from tests.properties.people_read import purpose

RULES = """{"computed": {"recent": {"of": "event.name == 'Order Completed'", "aggregate": "count", "window": "%ds"}}}"""


@pytest.fixture
async def inside(servers: Stack, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Inside]:
    monkeypatch.setattr(watches, "RECHECK_S", 0.05)
    inside = await Inside.open(servers)
    inside.confirm_consent()
    await inside.define(purpose("contract", "*", name="ads"))
    yield inside
    await inside.close()


class Buyer:
    """Bought something just now."""

    def __init__(self, inside: Inside) -> None:
        self.inside, self.stream, self.bought_at = inside, new_id(), 0

    async def buy(self) -> None:
        key = (await self.inside.keys([self.stream]))[self.stream]
        self.bought_at = now_us()
        await self.inside.record([founded(self.stream, 0), tracked(self.stream, key, self.bought_at)])


def everybody(inside: Inside, **more: Any) -> Any:
    return inside.watches.WatchProfiles(pb.WatchProfilesRequest(purpose="ads", **more), timeout=PATIENCE_S)


async def recent(call: Any, buyer: Buyer) -> tuple[float, pb.WatchProfilesResponse]:
    """What is told of the buyer next."""
    while True:
        response = await call.read()
        for one in response.changes:
            if one.customer_id == to_text(buyer.stream):
                return one.profile.traits["recent"].value.number_value, response


async def a_buyer_who_is_told_of(inside: Inside, **more: Any) -> tuple[Buyer, int, Any, pb.WatchProfilesResponse]:
    """Within the window, which on a busy machine has to be longer."""
    for seconds in (2, 4, 8):
        await activated(inside.parts, command(RULES % seconds))
        buyer = Buyer(inside)
        await buyer.buy()
        call = everybody(inside, **more)
        told, response = await recent(call, buyer)
        while not response.positions:
            response = await call.read()
        if told == 1 and now_us() < buyer.bought_at + seconds * SECOND:
            return buyer, seconds, call, response
        call.cancel()
    raise AssertionError("too slow a machine")


@pytest.mark.parametrize("how", ["on", "by place", "by positions"])
async def test_who_watches_everybody_is_told_also_after_a_break(inside: Inside, how: str) -> None:
    buyer, seconds, call, told = await a_buyer_who_is_told_of(inside)
    if how != "on":
        call.cancel()
        await asyncio.sleep(max(0, buyer.bought_at + seconds * SECOND - now_us()) / SECOND)
        more: dict[str, Any] = {"resume_place": told.place} if how == "by place" else {"resume_after": told.positions}
        call = everybody(inside, **more)
    found, _ = await recent(call, buyer)
    assert (found, now_us() >= buyer.bought_at + seconds * SECOND) == (0, True)
    call.cancel()


async def test_who_is_shown_no_such_trait_is_not_told(inside: Inside) -> None:
    await activated(inside.parts, command(RULES % 1))
    buyer = Buyer(inside)
    await buyer.buy()
    call = everybody(inside, read_mask=FieldMask(paths=["customer_id", "traits.city"]))
    while not (response := await call.read()).positions:
        pass
    await asyncio.sleep(2)
    other = Buyer(inside)
    await other.buy()
    while to_text(other.stream) not in (told := {one.customer_id for one in response.changes}):
        assert told <= {to_text(buyer.stream)}
        response = await call.read()
    assert told == {to_text(other.stream)}
    call.cancel()
