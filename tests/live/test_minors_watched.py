"""Who watches a child is told when they come of age, by the passing of time alone; and so is who watches everybody, also whose grant ran out."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from c360.common.v1.common_pb2 import CustomerRef
from c360.profile.v1 import watch_pb2 as pb

from services.profile import watches
from services.stack.stack import Stack
from shared.events.consent import EVERY_PURPOSE, KnownAge
from shared.ids import derived_id, to_text
from shared.instants import DAY, SECOND, now_us, years_after
from tests.live.inside import Inside, founded, identified, linked, new_id
from tests.live.mirror import PATIENCE_S
from tests.properties.people_read import decision, purpose


@pytest.fixture
async def inside(servers: Stack, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Inside]:
    monkeypatch.setattr(watches, "RECHECK_S", 0.05)
    inside = await Inside.open(servers)
    inside.confirm_consent()
    ads = msgspec.structs.replace(purpose("legitimate_interest", name="ads"), minors_under=16)
    await inside.define(ads)
    await inside.define(msgspec.structs.replace(purpose("consent", name="news"), expires_after_days=1))
    yield inside
    await inside.close()


class Child:
    """Comes of age in so many seconds."""

    def __init__(self, inside: Inside, in_s: int) -> None:
        self.inside, self.stream, self.grown_at = inside, new_id(), now_us() + in_s * SECOND

    async def begin(self) -> None:
        key, email = (await self.inside.keys([self.stream]))[self.stream], f"{self.stream.hex()}@shop.example"
        await self.inside.record(
            [founded(self.stream, 0), linked(self.stream, key, email), identified(self.stream, key, 1, city="Kiel")]
        )
        known = decision(derived_id(email.encode()), "age_known", years_after(self.grown_at, -1), purpose=EVERY_PURPOSE)
        age = KnownAge(under=16, at_least=15, by="desk", reason="letter")
        await self.inside.decide(msgspec.structs.replace(known, purpose_version=0, age=age))

    def watched(self, **more: Any) -> Any:
        customer = CustomerRef(customer_id=to_text(self.stream))
        request = pb.WatchProfilesRequest(purpose="ads", customers=[customer], **more)
        return self.inside.watches.WatchProfiles(request, timeout=PATIENCE_S)


async def changed(call: Any) -> pb.WatchProfilesResponse:
    """The next that tells a change."""
    while not (response := await call.read()).changes:
        pass
    return response  # type: ignore[no-any-return]


async def a_child_that_is_gone(inside: Inside) -> tuple[Child, Any, pb.WatchProfilesResponse]:
    """On a busy machine they may have come of age before they were looked at."""
    for in_s in (2, 4, 8, 16):
        child = Child(inside, in_s)
        await child.begin()
        call = child.watched()
        first = await changed(call)
        if first.changes[0].HasField("gone"):
            assert first.changes[0].gone.reason == "MINOR"
            return child, call, first
        call.cancel()
    raise AssertionError("too slow a machine")


async def test_they_are_told_of_within_a_moment(inside: Inside) -> None:
    child, call, _ = await a_child_that_is_gone(inside)
    told = (await changed(call)).changes[0]
    assert now_us() >= child.grown_at
    assert told.profile.traits["city"].value.string_value == "Kiel"
    call.cancel()


async def test_they_are_told_of_after_a_break_in_which_they_did(inside: Inside) -> None:
    """Though no event came, and nobody decided anything."""
    child, call, response = await a_child_that_is_gone(inside)
    while not response.positions:
        response = await call.read()
    call.cancel()
    await asyncio.sleep(max(0, child.grown_at - now_us()) / SECOND)
    resumed = child.watched(resume_after=response.positions)
    assert (await changed(resumed)).changes[0].HasField("profile")
    resumed.cancel()


def everybody(inside: Inside, of: str = "ads", **more: Any) -> Any:
    return inside.watches.WatchProfiles(pb.WatchProfilesRequest(purpose=of, **more), timeout=PATIENCE_S)


async def a_child_that_nobody_is_told_of(inside: Inside) -> tuple[Child, Any, pb.WatchProfilesResponse]:
    """When everybody was looked at. On a busy machine they may have come of age by then."""
    for in_s in (3, 6, 12, 24):
        child = Child(inside, in_s)
        await child.begin()
        call, told = everybody(inside), False
        while not (response := await call.read()).positions:
            told |= is_about(child, response)
        if not told and not is_about(child, response):
            return child, call, response
        call.cancel()
    raise AssertionError("too slow a machine")


def is_about(child: Child, response: pb.WatchProfilesResponse) -> bool:
    return to_text(child.stream) in {one.customer_id for one in response.changes}


@pytest.mark.parametrize("how", ["on", "by place", "by positions"])
async def test_who_watches_everybody_is_told_too_also_after_a_break(inside: Inside, how: str) -> None:
    child, call, told = await a_child_that_nobody_is_told_of(inside)
    if how != "on":
        call.cancel()
        await asyncio.sleep(max(0, child.grown_at - now_us()) / SECOND)
        more: dict[str, Any] = {"resume_place": told.place} if how == "by place" else {"resume_after": told.positions}
        call = everybody(inside, **more)
    while not is_about(child, response := await changed(call)):
        pass
    assert now_us() >= child.grown_at
    [found] = [one for one in response.changes if one.customer_id == to_text(child.stream)]
    assert found.profile.traits["city"].value.string_value == "Kiel"
    call.cancel()


async def test_who_watches_everybody_is_told_whose_grant_ran_out(inside: Inside) -> None:
    """Whoever keeps a copy has to let it go then."""
    child = Child(inside, 3_600)
    await child.begin()
    runs_out_at = now_us() + 5 * SECOND
    email_hash = derived_id(f"{child.stream.hex()}@shop.example".encode())
    await inside.decide(decision(email_hash, "granted", runs_out_at - DAY, purpose="news"))
    call = everybody(inside, "news")
    first = (await changed(call)).changes[0]
    if first.HasField("profile"):  # else the machine was too slow
        gone = (await changed(call)).changes[0].gone
        assert gone.reason == "CONSENT_EXPIRED"
    assert now_us() >= runs_out_at
    call.cancel()
