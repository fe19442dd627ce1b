"""While the keeper is behind the log, time passes for whoever the log has nothing new of: no step is longer than it may be."""

import asyncio
from typing import Any

import pytest
from c360.profile.v1 import segment_pb2 as pb
from prometheus_client import REGISTRY

from services.profile.domain.expressions.language import instant_of
from services.profile.memberships import Keeper
from services.profile.portions import Looks, Portion
from services.profile.standings import Standings
from services.profile.tables.memberships import set_due
from shared.instants import SECOND, from_timestamp, now_us
from tests.live.inside import Inside, founded, identified, new_id, tracked
from tests.live.test_profile_rules import activated, command
from tests.live.test_segments import PATIENCE_S, Deadline, caught_up, inside
from tests.live.test_segments_settling import Town, document, town_of

__all__ = ["inside"]
RULES = """{"computed": {"recent": {"of": "event.name == 'Order Completed'", "aggregate": "count", "window": "2s"},
                         "orders": {"of": "event.name == 'Order Completed'", "aggregate": "count"}},
            "segments": {"trial": {"when": "instant(traits.ends) > now"},
                         "regulars": {"when": "computed.recent < 2 && computed.orders >= 3"}}}"""
LOOKS_A_STEP = 40
BURST = 60  # customers, each some 6 looks


async def on_trial(inside: Inside, stream: bytes) -> int:
    """Until when: after it was written that she is."""
    key = (await inside.keys([stream]))[stream]
    for seconds in (2, 20, 200):  # of which a busy machine may need a part
        ends = now_us() + seconds * SECOND
        await inside.record([identified(stream, key, seconds, ends=instant_of(ends).isoformat())])
        await caught_up(inside.parts.keeper)
        if (await inside.parts.memberships.sizes()).get("trial"):
            return ends
    raise AssertionError


async def burst(inside: Inside) -> None:
    streams = [new_id() for _ in range(BURST)]
    keys = await inside.keys(streams)
    await inside.record([founded(stream, number + 1) for number, stream in enumerate(streams)])
    await inside.record([tracked(stream, keys[stream], number * SECOND) for number in (10, 20, 30) for stream in streams])


async def counted_step(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> tuple[bool, int]:
    """And how many looks at the past it made of a portion, at most."""
    made, done = [0], Looks.done

    async def count(looks: Looks, much: int) -> None:
        try:
            await done(looks, much)
        finally:
            made.append(looks.made)

    with monkeypatch.context() as patched:
        patched.setattr(Looks, "done", count)
        return await keeper.step(), max(made)


async def test_time_passes_for_others_while_a_burst_is_followed(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    parts, keeper, somebody = inside.parts, inside.parts.keeper, new_id()
    await inside.record([founded(somebody, 0)])
    await activated(parts, command(RULES))
    await caught_up(keeper)
    ends = await on_trial(inside, somebody)
    keeper._followed, keeper._due = Portion(100, LOOKS_A_STEP), Portion(100, LOOKS_A_STEP)
    await burst(inside)
    await asyncio.sleep(max(0, ends - now_us()) / SECOND)
    more, looks = await counted_step(keeper, monkeypatch)
    sizes = await parts.memberships.sizes()
    assert more
    assert "trial" not in sizes, "in the first step after the instant"
    assert "regulars" not in sizes, "the burst is still to be followed"
    most = looks
    while more:
        more, looks = await counted_step(keeper, monkeypatch)
        most = max(most, looks)
    assert LOOKS_A_STEP // 2 < most <= LOOKS_A_STEP + 1
    assert (await parts.memberships.sizes()) == {"regulars": BURST}


async def test_a_burst_is_looked_at_once_a_customer_however_her_events_lie(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper, looked, look = inside.parts.keeper, list[bytes](), Standings.look
    await activated(inside.parts, command(RULES))
    await caught_up(keeper)

    async def counted(standings: Standings, pool: Any, rules: Any, segments: Any, streams: Any, **more: Any) -> Any:
        looked.extend(streams)
        return await look(standings, pool, rules, segments, streams, **more)

    monkeypatch.setattr(Standings, "look", counted)
    keeper._followed = Portion(5)
    await burst(inside)
    await caught_up(keeper)
    assert len(looked) == len(set(looked)) == BURST
    assert (await inside.parts.memberships.sizes()) == {"regulars": BURST}
    await burst(inside)
    await caught_up(keeper)
    assert len(looked) == 2 * BURST, "of others"


async def lags(town: Town) -> list[pb.MembershipLag]:
    """As each answer with what is written says it, in which all are one."""
    asked: Any = {"purpose": town.purpose, "segment": "town"}
    wait = Deadline(PATIENCE_S)
    answers: list[Any] = [
        await town.api.ListSegments(pb.ListSegmentsRequest(purpose=town.purpose), wait),
        await town.api.ListSegmentMembers(pb.ListSegmentMembersRequest(**asked), wait),
        await town.api.ListSegmentSizes(pb.ListSegmentSizesRequest(**asked), wait),
        await town.api.ListMembershipChanges(pb.ListMembershipChangesRequest(**asked), wait),
    ]
    assert answers[0].settled, "by the rules"
    assert all(one.HasField("lag") is answers[0].HasField("lag") for one in answers)
    return [one.lag for one in answers if one.HasField("lag")]


async def test_answers_and_metrics_say_how_far_behind_memberships_are(inside: Inside) -> None:
    town, keeper = await town_of(inside), inside.parts.keeper
    await activated(inside.parts, command(document("Kiel")))
    await caught_up(keeper)
    assert await lags(town) == []
    began = now_us()
    await inside.record(identified(stream, town.keys[stream], 1, city="Kiel") for stream in town.streams)
    for lag in await lags(town):
        assert (lag.events, began <= from_timestamp(lag.begin_time) <= now_us()) == (len(town.streams), True)
    keeper._followed = Portion(1)
    await keeper.step()  # of one stream of each partition
    events = REGISTRY.get_sample_value("c360_segments_behind_events")
    assert events
    assert [lag.events for lag in await lags(town)] == [events] * 4
    assert (REGISTRY.get_sample_value("c360_segments_behind_seconds") or 0) > 0
    await caught_up(keeper)
    assert await lags(town) == []
    assert REGISTRY.get_sample_value("c360_segments_behind_events") == 0
    assert REGISTRY.get_sample_value("c360_segments_behind_seconds") == 0


async def test_who_is_due_by_time_and_was_not_looked_at_is_said_to_be_behind(inside: Inside) -> None:
    town, keeper = await town_of(inside), inside.parts.keeper
    await activated(inside.parts, command(document("Kiel")))
    await caught_up(keeper)
    await set_due(keeper._pool, {town.streams[0]: 5 * SECOND})
    assert [(lag.events, from_timestamp(lag.begin_time)) for lag in await lags(town)] == [(0, 5 * SECOND)] * 4
    await caught_up(keeper)
    assert await lags(town) == []
