"""A lake has nothing of a child for a purpose that may not see children: not before they come of age, and nothing that was there once they are known to be one.

Who comes of age is in it from their next event on, as who grants anew: what was withheld doesn't come back.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from c360.profile.v1 import export_pb2 as pb
from c360.profile.v1.export_pb2_grpc import ExportServiceStub

from services.stack.stack import Stack
from shared.events.consent import EVERY_PURPOSE, KnownAge
from shared.ids import derived_id, to_text
from shared.instants import SECOND, now_us
from tests.live.inside import Inside, identified
from tests.live.test_minors_watched import Child
from tests.properties.people_read import decision, purpose


@pytest.fixture
async def inside(servers: Stack) -> AsyncIterator[Inside]:
    inside = await Inside.open(servers)
    inside.confirm_consent()
    await inside.define(msgspec.structs.replace(purpose("legitimate_interest", name="ads"), minors_under=16))
    yield inside
    await inside.close()


class Lake:
    """What one exporter was told, run by run."""

    def __init__(self, inside: Inside) -> None:
        self.stub: Any = ExportServiceStub(inside.channel)
        self.positions: list[Any] = []

    async def told_of(self, child: Child) -> tuple[bool, int]:
        """In one run, and how many events were withheld."""
        is_told, withheld = False, 0
        async for page in self.stub.ExportChanges(pb.ExportChangesRequest(purpose="ads", next_positions=self.positions)):
            self.positions, withheld = page.next_positions, page.withheld_count
            is_told |= any(to_text(child.stream) in str(change) for change in page.changes)
        return is_told, withheld

    async def keeps(self, child: Child) -> bool:
        """As it asks at each start and once an hour."""
        asked = pb.CheckExportedRequest(purpose="ads", customer_ids=[to_text(child.stream)])
        answer = await self.stub.CheckExported(asked)
        assert answer.can_end
        return not answer.refused_customer_ids


async def a_child(inside: Inside) -> Child:
    """Who hasn't come of age when they are exported, as they may have on a busy machine."""
    for in_s in (2, 4, 8, 16):
        child, lake = Child(inside, in_s), Lake(inside)
        await child.begin()
        told, withheld = await lake.told_of(child)
        kept = await lake.keeps(child)
        if now_us() < child.grown_at:
            assert (told, withheld > 0, kept) == (False, True, False)
            return child
    raise AssertionError("too slow a machine")


async def another_event(child: Child) -> None:
    key = (await child.inside.vault.keys([child.stream]))[child.stream]
    await child.inside.record([identified(child.stream, key, 2, city="Hull")])


async def test_who_comes_of_age_is_in_it_from_their_next_event_on(inside: Inside) -> None:
    child, lake = await a_child(inside), Lake(inside)
    await lake.told_of(child)
    await asyncio.sleep(max(0, child.grown_at - now_us()) / SECOND)
    assert await lake.keeps(child)
    assert await lake.told_of(child) == (False, 0)
    await another_event(child)
    assert await lake.told_of(child) == (True, 0)


async def test_who_is_known_to_be_a_child_afterwards_has_to_go(inside: Inside) -> None:
    child, lake = Child(inside, -1), Lake(inside)
    await child.begin()
    assert await lake.told_of(child) == (True, 0)
    assert await lake.keeps(child)
    known = decision(derived_id(f"{child.stream.hex()}@shop.example".encode()), "age_known", now_us(), purpose=EVERY_PURPOSE)
    age = KnownAge(under=12, at_least=11, by="desk", reason="letter")
    await inside.decide(msgspec.structs.replace(known, purpose_version=0, age=age))
    assert not await lake.keeps(child)
    await another_event(child)
    assert await lake.told_of(child) == (False, 1)
