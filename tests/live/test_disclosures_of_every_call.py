"""Every call of profile that is for a purpose is made, about somebody who permits it and about somebody who doesn't: both leave a record."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import grpc
import pytest
import pytest_asyncio
from c360.common.v1.common_pb2 import CustomerRef
from c360.profile.v1 import disclosure_pb2, export_pb2, history_pb2, profile_pb2, rules_pb2, segment_pb2, watch_pb2
from google.protobuf.message_factory import GetMessageClass

from services.stack.stack import Stack
from shared.ids import to_text
from shared.instants import now_us, to_timestamp
from shared.rpc.errors import reason_of
from tests.architecture.test_disclosures import METHODS, MODULES, OF_NOBODY
from tests.live.inside import Inside, founded, identified, tracked
from tests.live.test_disclosures import rederived, who_read
from tests.live.test_profile_rules import activated, command
from tests.live.test_ready import Shown
from tests.live.test_segments import caught_up
from tests.waiting import DEADLINE_S

RULES: Final = """{"computed": {"recent": {"of": "event.name == 'Order Completed'", "aggregate": "count", "window": "1s"}},
                   "segments": {"kiel": {"when": "traits.city == 'Kiel'"}}}"""
OTHER_RULES: Final = RULES.replace("'Kiel'", "'Hull'")

POINT: Final = history_pb2.Point()
NAMED: Final[dict[str, Callable[[CustomerRef], Any]]] = {
    "GetProfile": lambda who: profile_pb2.GetProfileRequest(customer=who, purpose="news"),
    "BatchGetProfiles": lambda who: profile_pb2.BatchGetProfilesRequest(
        queries=[profile_pb2.ProfileQuery(customer=who)], purpose="news"
    ),
    "LookupCustomer": lambda who: profile_pb2.LookupCustomerRequest(customer=who, purpose="news"),
    "ListIdentifiers": lambda who: profile_pb2.ListIdentifiersRequest(customer=who, purpose="news"),
    "ListMembers": lambda who: profile_pb2.ListMembersRequest(customer=who, purpose="news"),
    "GetTimeline": lambda who: profile_pb2.GetTimelineRequest(customer=who, purpose="news"),
    "WatchProfile": lambda who: profile_pb2.WatchProfileRequest(customer=who, purpose="news"),
    "ReplayCustomer": lambda who: profile_pb2.ReplayCustomerRequest(customer=who, purpose="news"),
    "DiffProfile": lambda who: history_pb2.DiffProfileRequest(customer=who, purpose="news", old=POINT, new=POINT),
    "ListProfileChanges": lambda who: history_pb2.ListProfileChangesRequest(customer=who, purpose="news"),
    "ExplainTrait": lambda who: rules_pb2.ExplainTraitRequest(customer=who, purpose="news", trait="city"),
    "GetMembership": lambda who: segment_pb2.GetMembershipRequest(customer=who, purpose="news"),
    "ListMembershipChanges": lambda who: segment_pb2.ListMembershipChangesRequest(customer=who, purpose="news", segment="kiel"),
    "WatchProfiles": lambda who: watch_pb2.WatchProfilesRequest(customers=[who], purpose="news"),
}
OF_ALL: Final[dict[str, Callable[[], Any]]] = {
    "ListSegmentMembers": lambda: segment_pb2.ListSegmentMembersRequest(purpose="news", segment="kiel"),
    "ListMembershipChanges": lambda: segment_pb2.ListMembershipChangesRequest(purpose="news", segment="kiel"),
    "WatchProfiles": lambda: watch_pb2.WatchProfilesRequest(purpose="news"),
    "ExportEvents": lambda: export_pb2.ExportEventsRequest(purpose="news", source="web"),
    "ExportChanges": lambda: export_pb2.ExportChangesRequest(purpose="news"),
    "SimulateRules": lambda: rules_pb2.SimulateRulesRequest(purpose="news", document=OTHER_RULES, examples=5),
}
REFRESHED: Final = {"RefreshExported"}  # of several who are named; who may not be seen is left out, and it isn't told why
ENDLESS: Final = {"WatchProfile", "WatchProfiles"}
CALLS: Final = {
    method.name: (service.full_name, method)
    for module in MODULES
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}


@pytest_asyncio.fixture(loop_scope="session")
async def shown(servers: Stack) -> AsyncIterator[Shown]:
    """Two of Kiel; the other one has permitted nothing."""
    shown = Shown(await Inside.open(servers))
    await shown.begin()
    other = shown.other
    await shown.inside.record([founded(other, 2), identified(other, shown.keys[other], 3, city="Kiel")])
    await activated(shown.inside.parts, command(RULES))
    await caught_up(shown.inside.parts.keeper)
    yield shown
    await shown.inside.close()


def by_id(stream: bytes) -> CustomerRef:
    return CustomerRef(customer_id=to_text(stream))


async def called(shown: Shown, method: str, request: Any) -> str:
    """To the end, or until something is told; empty, or the reason why not."""
    service, found = CALLS[method]
    kind = shown.inside.channel.unary_stream if found.server_streaming else shown.inside.channel.unary_unary
    answer = GetMessageClass(found.output_type)
    call: Any = kind(f"/{service}/{method}", type(request).SerializeToString, answer.FromString)
    made = call(request, metadata=(("x-c360-caller", method),))
    try:
        if not found.server_streaming:
            await made
            return ""
        async for _ in made:
            if method in ENDLESS:
                made.cancel()
                break
    except grpc.RpcError as error:
        return reason_of(error)
    return ""


async def verdicts(shown: Shown, stream: bytes, method: str) -> set[tuple[str, int, str]]:
    return {(one.call, one.verdict, one.reason) for one in await who_read(shown, stream, caller=method)}


def test_every_call_for_a_purpose_is_made_here() -> None:
    assert {*NAMED, *OF_ALL, *REFRESHED} == set(METHODS) - OF_NOBODY.keys()


@pytest.mark.parametrize("method", NAMED)
async def test_about_one_who_is_named_an_answer_leaves_a_record_and_a_refusal_does(shown: Shown, method: str) -> None:
    assert await called(shown, method, NAMED[method](by_id(shown.stream))) == ""
    assert await verdicts(shown, shown.stream, method) == {(method, disclosure_pb2.VERDICT_PERMIT, "")}
    for one in await who_read(shown, shown.stream, caller=method):
        assert (await rederived(shown, one))[0], "and it follows again"
    refused = await called(shown, method, NAMED[method](by_id(shown.other)))
    assert refused == ("" if method in {"BatchGetProfiles", "WatchProfiles"} else "CONSENT_MISSING")  # in their answers
    assert await verdicts(shown, shown.other, method) == {(method, disclosure_pb2.VERDICT_DENY, "CONSENT_MISSING")}
    for denied in await who_read(shown, shown.other, caller=method):
        assert await rederived(shown, denied) == (True, []), "and it follows again"


@pytest.mark.parametrize("method", NAMED)
async def test_while_it_is_not_known_what_holds_a_refusal_leaves_a_record(shown: Shown, method: str) -> None:
    shown.inside.parts.lease._until = 0.0
    assert await called(shown, method, NAMED[method](by_id(shown.stream))) == "CONSENT_NOT_CONFIRMED"
    gap = (method, disclosure_pb2.VERDICT_GAP, "CONSENT_NOT_CONFIRMED")
    assert await verdicts(shown, shown.stream, method) == {gap}


@pytest.mark.parametrize("method", OF_ALL)
async def test_of_who_is_listed_each_who_is_told_of_has_a_record(shown: Shown, method: str) -> None:
    assert await called(shown, method, OF_ALL[method]()) == ""
    assert await verdicts(shown, shown.stream, method) == {(method, disclosure_pb2.VERDICT_PERMIT, "")}
    assert not await verdicts(shown, shown.other, method)
    for one in await who_read(shown, shown.stream, caller=method):
        assert (await rederived(shown, one))[0], "and it follows again"


async def test_what_changed_by_time_alone_and_is_exported_leaves_a_record(shown: Shown) -> None:
    at = now_us()
    ordered = [tracked(stream, shown.keys[stream], at) for stream in (shown.stream, shown.other)]
    await shown.inside.record(ordered)
    ids = [by_id(stream).customer_id for stream in (shown.stream, shown.other)]
    async with asyncio.timeout(DEADLINE_S):
        while not await verdicts(shown, shown.stream, "RefreshExported"):
            request = export_pb2.RefreshExportedRequest(purpose="news", customer_ids=ids, since=to_timestamp(at))
            assert await called(shown, "RefreshExported", request) == ""
    assert not await verdicts(shown, shown.other, "RefreshExported")


async def test_a_segment_that_the_purpose_may_not_see_is_refused_with_a_record(shown: Shown) -> None:
    await shown.purpose(2, "email")
    assert await called(shown, "ListMembershipChanges", NAMED["ListMembershipChanges"](by_id(shown.stream))) == "NOT_IN_PURPOSE"
    [found] = await who_read(shown)
    assert (found.verdict, found.reason) == (disclosure_pb2.VERDICT_DENY, "NOT_IN_PURPOSE")
