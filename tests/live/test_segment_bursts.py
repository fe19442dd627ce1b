"""While the keeper is behind the log, time passes for whoever the log has nothing new of: no step is longer than it may be."""

import asyncio

import pytest

from services.profile.domain.expressions.language import instant_of
from services.profile.memberships import Keeper
from services.profile.portions import Looks, Portion
from shared.instants import SECOND, now_us
from tests.live.inside import Inside, founded, identified, new_id, tracked
from tests.live.test_profile_rules import activated, command
from tests.live.test_segments import caught_up, inside

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
