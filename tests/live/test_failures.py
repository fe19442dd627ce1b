"""Of one customer no answer can be made, whatever the defect: everybody else is followed and served on every path, and it is an alarm."""

from contextlib import aclosing
from typing import Any

import grpc
import pytest
from c360.common.v1.common_pb2 import CustomerRef
from c360.profile.v1 import profile_pb2 as pb
from structlog.testing import capture_logs

from services.profile import failures
from services.profile.app import Instant
from services.profile.domain.computed import aggregates
from services.profile.past_members import Asked
from services.profile.sweep import Traits
from shared.ids import to_text
from shared.instants import now_us
from shared.rpc.errors import reason_of
from shared.telemetry import CUSTOMERS_FAILED, logger
from tests.live.inside import Inside, founded, new_id, tracked
from tests.live.test_profile_rules import AUDIT, activated, command, simulated
from tests.live.test_segments import caught_up, inside

__all__ = ["inside"]
RULES = """{"computed": {"largest": {"of": "event.name == 'Order Completed'", "aggregate": "max", "value": "event.properties.total",
                                     "window": "3650d"}},
            "segments": {"big": {"when": "computed.largest > 5.0"}}}"""
FATAL, CANARY = 66.0, "canary@example.com"


def broken(held: Any) -> list[Any]:
    numbers = [value for _, _, value in held]
    if FATAL in numbers:
        raise OverflowError(CANARY)
    return numbers


async def told_to_a_lake(inside: Inside) -> set[bytes]:
    async with aclosing(inside.parts.changes.read(AUDIT, {})) as pages:
        told = [one.told for page in [page async for page in pages] for one in page.changes if hasattr(one, "told")]
    return {one.record.members[0] for one in told if isinstance(one, Traits) and "largest" in one.record.traits}


async def members(inside: Inside) -> set[bytes]:
    return {one.customer for one in await inside.parts.memberships.members("big", b"", 10)}


async def test_a_customer_of_whom_no_answer_can_be_made_stops_nobody_else(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregates, "_numbers", broken)
    monkeypatch.setattr(failures, "log", logger("profile"))
    parts, streams = inside.parts, sorted(new_id() for _ in range(3))
    one, fatal, other = streams
    keys, at, alarms = await inside.keys(streams), now_us(), CUSTOMERS_FAILED.labels("segments")._value.get()
    await inside.define(AUDIT)
    await inside.record(founded(stream, number) for number, stream in enumerate(streams))
    await activated(parts, command(RULES))
    bought = [tracked(stream, keys[stream], at, total=FATAL if stream == fatal else 9.0) for stream in streams]
    with capture_logs() as logs:
        await inside.record(bought)
        await caught_up(parts.keeper)
        assert await members(inside) == {one, other}
        with pytest.raises(grpc.RpcError) as refused:
            await inside.calls.GetProfile(pb.GetProfileRequest(customer=CustomerRef(customer_id=to_text(fatal)), purpose="audit"))
        assert reason_of(refused.value) == "PROFILE_FAILED"
        queries = [pb.ProfileQuery(customer=CustomerRef(customer_id=to_text(stream))) for stream in streams]
        batch = await inside.calls.BatchGetProfiles(pb.BatchGetProfilesRequest(queries=queries, purpose="audit"))
        assert [result.refusal.reason for result in batch.results] == ["", "PROFILE_FAILED", ""]
        assert await told_to_a_lake(inside) == {one, other}
        in_ten_years = at + 3_660 * 86_400_000_000
        lapsed = await parts.lapses.between(streams, AUDIT, now_us(), in_ten_years)
        assert {lapse.members[0] for lapse in lapsed.lapses} == {one, other}, "their window ends, and hers can't be told"
        asked = Asked("big", parts.rulebook.rules, Instant(), AUDIT)
        then = await parts.past_members.page(asked, b"", 1_000)
        assert ({customer for customer, _ in then.members}, then.unknown) == ({one, other}, 1)
        assert (await simulated(parts.simulation, RULES.replace("> 5.0", "> 50.0"))).found.changed_customers == 0
    assert CUSTOMERS_FAILED.labels("segments")._value.get() > alarms
    assert {log["customer"] for log in logs if log["log_level"] == "error"} == {to_text(fatal)}
    assert CANARY not in str(logs)
    monkeypatch.undo()  # as a release does that mends it
    await inside.record([tracked(fatal, keys[fatal], at, total=1.0)])
    await caught_up(parts.keeper)
    assert await members(inside) == set(streams)
