"""One customer with more of everything than anybody should have is still answered, within a message, and what is cut is said."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import pytest
from c360.common.v1.common_pb2 import CustomerRef
from c360.profile.v1 import profile_pb2 as pb
from google.protobuf.field_mask_pb2 import FieldMask

from services.profile import record
from services.profile.api import batching
from services.profile.api.bounds import LISTED_AT_MOST
from services.profile.api.messages import profile_message
from services.profile.domain import state
from services.profile.domain.fold import evolve_to
from services.profile.domain.state import MAX_TRAITS
from services.profile.http.door import ProfileDoor
from services.profile.http.resources import MEMBERS_MOST
from services.profile.tables.states import States
from shared.access_tokens import TokenFile
from shared.ids import from_text, to_text
from shared.instants import SECOND
from shared.log import placing
from shared.log.records import leaf_of
from shared.pieces import AT_ONCE
from tests.live.giant import EACH, EVENTS, MERGES, PLANS, STEP_US, TIMEOUT_S, address, giant, inside
from tests.live.inside import Inside, founded, identified, linked, new_id, tracked
from tests.turns import Turns

SINCE = 80_000  # of the events: before them nothing is asked for

__all__ = ["giant", "inside"]


async def pages(call: Any, request: Any) -> list[Any]:
    found = []
    while True:
        found.append(await call(request, timeout=TIMEOUT_S))
        request.page_token = found[-1].next_page_token
        if not request.page_token:
            return found


async def test_its_profile_says_what_was_cut_and_the_rest_is_listed(inside: Inside, giant: CustomerRef) -> None:
    profile = (await inside.calls.GetProfile(pb.GetProfileRequest(customer=giant, purpose="audit"), timeout=TIMEOUT_S)).profile
    identifiers = EACH * (MERGES + 1)
    assert {cut.field: (cut.sent_count, cut.total_count) for cut in profile.truncated} == {
        "member_ids": (LISTED_AT_MOST, MERGES + 1),
        "identifiers": (LISTED_AT_MOST, identifiers),
    }
    listed = await pages(inside.calls.ListIdentifiers, pb.ListIdentifiersRequest(customer=giant, purpose="audit", page_size=500))
    assert len({one.value for page in listed for one in page.identifiers}) == identifiers
    members = await pages(inside.calls.ListMembers, pb.ListMembersRequest(customer=giant, purpose="audit", page_size=500))
    ids = [member for page in members for member in page.member_ids]
    assert len(set(ids)) == len(ids) == MERGES + 1
    assert set(profile.member_ids) < set(ids)


async def test_a_page_of_its_timeline_is_read_where_it_stands(inside: Inside, giant: CustomerRef) -> None:
    request = pb.GetTimelineRequest(customer=giant, purpose="audit", page_size=3, sources=["shop"], names=["Step 0"])
    request.since_time.seconds = SINCE * STEP_US // SECOND
    entries = [entry for page in await pages(inside.calls.GetTimeline, request) for entry in page.entries]
    assert [entry.occur_time.seconds for entry in entries] == [n * 60 for n in range(EVENTS - 1_000, SINCE - 1, -1_000)]


async def test_a_batch_of_it_and_a_lookup_are_answered(inside: Inside, giant: CustomerRef) -> None:
    queries = [pb.ProfileQuery(customer=giant)] * 60
    answer = await inside.calls.BatchGetProfiles(pb.BatchGetProfilesRequest(queries=queries, purpose="audit"), timeout=TIMEOUT_S)
    told = [result.refusal.reason or result.profile.customer_id for result in answer.results]
    assert set(told) == {told[0], "BATCH_FULL"}
    assert told == sorted(told, key=lambda reason: reason == "BATCH_FULL"), "the first ones fit"
    found = await inside.calls.LookupCustomer(pb.LookupCustomerRequest(customer=giant, purpose="audit"), timeout=TIMEOUT_S)
    assert (found.customer_id, found.member_count, len(found.member_ids)) == (told[0], MERGES + 1, LISTED_AT_MOST)


@asynccontextmanager
async def reading(inside: Inside, customer: CustomerRef, directory: Path) -> AsyncIterator[httpx.AsyncClient]:
    """The HTTP Profile API of a customer, for auditors."""
    parts, tokens = inside.parts, TokenFile(directory / "tokens.json")
    token = tokens.add("auditor", "main", "audit", os.urandom)
    door = ProfileDoor(
        parts.profiles,
        parts.belongings,
        parts.timelines,
        parts.origins,
        parts.progress,
        tokens,
        b"key",
        inside.disclosures.disclosed,
    )
    base = f"http://door/v1/spaces/main/collections/users/profiles/{customer.customer_id}/"
    async with httpx.AsyncClient(transport=httpx.ASGITransport(door), base_url=base, auth=(token, ""), timeout=TIMEOUT_S) as client:
        yield client


async def test_over_http_it_is_answered_too(inside: Inside, giant: CustomerRef, tmp_path: Path) -> None:
    async with reading(inside, giant, tmp_path) as client:
        ids = (await client.get("external_ids?limit=100")).json()["data"]
        assert len(ids) == 100
        assert all(one["created_at"] for one in ids)
        told = (await client.get("metadata?verbose=true")).json()["metadata"]
        assert (len(told["member_ids"]), told["member_count"]) == (MEMBERS_MOST, MERGES + 1)
        assert told["created_at"] < told["updated_at"]
        assert len((await client.get("events?limit=100&sort=asc")).json()["data"]) == 100
        assert (await client.get("traits")).json()["traits"] == {"plan": f"plan {PLANS - 1}"}


async def test_traits_that_no_message_holds_are_named_and_can_be_asked_for(inside: Inside) -> None:
    stream = new_id()
    key = (await inside.keys([stream]))[stream]
    traits = {f"trait_{number:04}": "ü" * 2_000 for number in range(MAX_TRAITS)}
    some = [dict(list(traits.items())[first : first + 100]) for first in range(0, MAX_TRAITS, 100)]
    await inside.record([founded(stream, 0), *(identified(stream, key, 0, **part) for part in some)])
    request = pb.GetProfileRequest(customer=CustomerRef(customer_id=to_text(stream)), purpose="audit")
    profile = (await inside.calls.GetProfile(request, timeout=TIMEOUT_S)).profile
    (cut,) = profile.truncated
    assert (cut.field, cut.sent_count, cut.total_count) == ("traits", len(profile.traits), MAX_TRAITS)
    assert sorted([*profile.traits, *cut.left_out]) == sorted(traits)
    request.read_mask.CopyFrom(FieldMask(paths=[f"traits.{name}" for name in cut.left_out[:100]]))
    more = (await inside.calls.GetProfile(request, timeout=TIMEOUT_S)).profile
    assert sorted(more.traits) == sorted(cut.left_out[:100])
    assert not more.truncated


async def test_of_more_identifiers_than_are_kept_it_is_said_how_many_are_missing(
    inside: Inside, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(state, "MAX_NAMED", 4)
    stream = new_id()
    key = (await inside.keys([stream]))[stream]
    customer = CustomerRef(customer_id=to_text(stream))

    async def told(*numbers: int) -> tuple[int, int, int, int]:
        """How many identifiers are in a profile, how many it says there are, how many are listed, and how many that list says are cut."""
        addresses = [address(stream, number) for number in numbers]
        await inside.record(linked(stream, key, address) for address in addresses)
        await inside.record([tracked(stream, key, 1, "Step 0", naming=addresses)])
        profile = (
            await inside.calls.GetProfile(pb.GetProfileRequest(customer=customer, purpose="audit"), timeout=TIMEOUT_S)
        ).profile
        in_all = {cut.field: cut.total_count for cut in profile.truncated}.get("identifiers", len(profile.identifiers))
        listed = await inside.calls.ListIdentifiers(
            pb.ListIdentifiersRequest(customer=customer, purpose="audit"), timeout=TIMEOUT_S
        )
        return len(profile.identifiers), in_all, len(listed.identifiers), listed.cut_count

    await inside.record([founded(stream, 0)])
    assert await told(0, 1) == (2, 2, 2, 0)
    sent, in_all, listed_count, cut = await told(2, 3, 4, 5)
    assert (sent, in_all, sent + cut) == (listed_count, 6, 6)
    assert cut >= 2
    async with reading(inside, customer, tmp_path) as client:
        assert (await client.get("external_ids")).json()["cut_count"] == cut


@pytest.mark.parametrize("size", [1, 500])
async def test_a_page_of_large_events_ends_where_a_message_does(inside: Inside, size: int) -> None:
    stream = new_id()
    key = (await inside.keys([stream]))[stream]
    large = (tracked(stream, key, number, note="x" * 30_000) for number in range(200))
    await inside.record([founded(stream, 0), *large])
    request = pb.GetTimelineRequest(
        customer=CustomerRef(customer_id=to_text(stream)), purpose="audit", page_size=size, kinds=["tracked"]
    )
    entries = [entry for page in await pages(inside.calls.GetTimeline, request) for entry in page.entries]
    assert [entry.occur_time.nanos // 1_000 for entry in entries] == list(range(199, -1, -1))


async def test_others_have_their_turn_after_every_so_many_events_of_a_large_unit(inside: Inside) -> None:
    stream, large = new_id(), 950
    key = (await inside.keys([stream]))[stream]
    unit = [founded(stream, 0), *(tracked(stream, key, number) for number in range(large))]
    async with Turns() as turns:
        with (
            patch.object(record, "evolve_to", turns.of(evolve_to)),
            patch.object(placing, "leaf_of", turns.of(leaf_of)),
        ):
            await inside.record(unit)
    assert 0 < turns.most <= 2 * AT_ONCE, "the end of one thing and the beginning of the next"


async def test_others_have_their_turn_between_two_of_it_in_a_batch(inside: Inside, giant: CustomerRef) -> None:
    request = pb.BatchGetProfilesRequest(queries=[pb.ProfileQuery(customer=giant)] * 10, purpose="audit")
    async with Turns() as turns:
        with patch.object(batching, "profile_message", turns.of(profile_message)):
            await inside.calls.BatchGetProfiles(request, timeout=TIMEOUT_S)
    assert 0 < turns.most <= 2


async def test_where_it_belongs_is_looked_up_again_without_going_along_the_chain(inside: Inside, giant: CustomerRef) -> None:
    standings, rules, pool = inside.parts.keeper._standings, inside.parts.rulebook.rules, inside.reader._pool
    look = partial(standings.look, rules=rules, segments=None, streams=[from_text(giant.customer_id, "customer_id")])
    rings = Turns()
    with patch.object(States, "load", rings.of(States.load)):
        first = await look(pool)
        rings.done = 0
        again = await look(pool)
    assert rings.done == 1
    (members,) = again.clusters.values()
    assert members.keys() == next(iter(first.clusters.values())).keys()
    assert len(members) == MERGES + 1
