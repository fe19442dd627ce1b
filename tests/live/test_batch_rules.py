"""Several profiles by rules that the call chooses: each is what GetProfile gives by them, or is refused with, now and as of then."""

from itertools import product
from typing import Any

import grpc
import pytest
from c360.common.v1.common_pb2 import CustomerRef
from c360.profile.v1 import profile_pb2 as pb
from c360.profile.v1 import rules_pb2

from services.profile.api.batching import PAST_QUERIES_AT_MOST
from shared.ids import to_text
from shared.instants import now_us, to_timestamp
from shared.rpc.errors import reason_of
from tests.live.inside import Inside, erased, founded, identified, new_id, tracked
from tests.live.test_profile_rules import AUDIT, activated, command
from tests.live.test_segments import inside

__all__ = ["inside"]
FIRST = """{"traits": {"city": {"rule": "first"}}}"""
COUNTED = """{"computed": {"orders": {"of": "event.name == 'Order Completed'", "aggregate": "count"}}}"""
CHOICES = [
    rules_pb2.RulesChoice(),
    rules_pb2.RulesChoice(of=rules_pb2.RULES_OF_NOW),
    *(rules_pb2.RulesChoice(version=version) for version in (1, 2, 3, 9)),
]


async def one_by_one(inside: Inside, asked: pb.GetProfileRequest) -> pb.Profile | str:
    try:
        found: pb.Profile = (await inside.calls.GetProfile(asked)).profile
        return found
    except grpc.aio.AioRpcError as refused:
        return reason_of(refused)


async def test_each_is_what_it_is_alone(inside: Inside) -> None:
    await inside.define(AUDIT)
    streams = [new_id() for _ in range(3)]
    keys = await inside.keys(streams)
    for number, stream in enumerate(streams):
        cities = [identified(stream, keys[stream], at, city=city) for at, city in ((1, "Kiel"), (2, "Bremen"))]
        await inside.record([founded(stream, number), *cities, tracked(stream, keys[stream], 3)])
    then = to_timestamp(now_us())
    await activated(inside.parts, command(FIRST))
    await activated(inside.parts, command(COUNTED))
    await inside.record([erased(streams[0])])
    named = [CustomerRef(customer_id=to_text(one)) for one in (*streams, new_id())]
    instants: list[dict[str, Any]] = [{}, {"known_at": then}, {"valid_at": then}]
    found = set()
    for choice, instant in product(CHOICES, instants):
        common = {"purpose": "audit", "rules": choice, **instant}
        batch = pb.BatchGetProfilesRequest(queries=[pb.ProfileQuery(customer=one) for one in named], **common)
        told = [one.refusal.reason or one.profile for one in (await inside.calls.BatchGetProfiles(batch)).results]
        assert told == [await one_by_one(inside, pb.GetProfileRequest(customer=one, **common)) for one in named]
        found |= {one if isinstance(one, str) else one.rules_version for one in told}
    assert {1, 2, 3, "RULES_UNKNOWN"} <= found


async def test_by_other_rules_as_many_are_asked_for_as_of_the_past(inside: Inside) -> None:
    await inside.define(AUDIT)
    await activated(inside.parts, command(FIRST))
    queries = [pb.ProfileQuery(customer=CustomerRef(customer_id=to_text(new_id())))] * (PAST_QUERIES_AT_MOST + 1)
    for version, refusal in ((2, ""), (1, "BATCH_TOO_LARGE"), (0, "RULES_VERSION_INVALID")):
        choice = rules_pb2.RulesChoice(version=version)
        asked = pb.BatchGetProfilesRequest(queries=queries, purpose="audit", rules=choice)
        if not refusal:
            assert len((await inside.calls.BatchGetProfiles(asked)).results) == len(queries)
            continue
        with pytest.raises(grpc.RpcError) as refused:
            await inside.calls.BatchGetProfiles(asked)
        assert reason_of(refused.value) == refusal
