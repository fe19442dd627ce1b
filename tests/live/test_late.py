"""Whoever takes long to look at is looked at beside all others: they are listed before, nothing is lost, and nobody waits in a transaction."""

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest
from c360.common.v1.common_pb2 import Position
from c360.profile.v1 import segment_pb2 as pb

from services.profile.membership_writer import MembershipWriter, Prepared
from services.profile.tables import late
from shared.errors import NotFreshEnough
from shared.ids import partition_of, to_text
from shared.store.pool import short_transaction
from tests.live.inside import Inside, identified
from tests.live.test_profile_rules import activated, command
from tests.live.test_remaking import journal, told
from tests.live.test_segments import Deadline, caught_up, inside
from tests.live.test_segments_settling import Town, document, town_of

__all__ = ["inside"]
WALKED = 3  # events; whoever has more takes long


async def all_caught_up(inside: Inside) -> None:
    keeper = inside.parts.keeper
    while await keeper.step() | await keeper.late.step():
        pass


def one_takes_long_after(inside: Inside, events: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inside.parts.keeper._writer._beginnings, "_walked_events", events)


async def members(town: Town, *fresh: Position) -> set[str]:
    asked = pb.ListSegmentMembersRequest(segment="town", purpose=town.purpose, at_least_as_fresh=fresh)
    return {one.customer_id for one in (await town.api.ListSegmentMembers(asked, Deadline(0))).members}


async def test_others_are_listed_before_who_takes_long_and_whoever_waits_for_her_position_waits(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    town, parts = await town_of(inside), inside.parts
    one_takes_long_after(inside, WALKED, monkeypatch)
    await activated(parts, command(document("Kiel")))
    await all_caught_up(inside)
    large, *others = town.streams
    await inside.record(identified(large, town.keys[large], number, city="Kiel") for number in range(1, 2 * WALKED))
    number = partition_of(large, parts.keeper._partitions)
    position = Position(log="profile", partition=number, number=parts.progress.applied(f"profile/{number}"))
    for stream in others:
        await inside.record([identified(stream, town.keys[stream], 1, city="Kiel")])
        await caught_up(parts.keeper)
        assert to_text(stream) in await members(town)
    assert await members(town) == {to_text(stream) for stream in others}
    with pytest.raises(NotFreshEnough):
        await members(town, position)
    assert await parts.keeper.late.step()
    await caught_up(parts.keeper)
    assert await members(town, position) == {to_text(stream) for stream in town.streams}
    [change] = await parts.memberships.changes("town", [large], 2**62, 5)
    assert (change.cause, change.valid_at) == ("event", WALKED), "since the first of those that are gone through"
    assert not await parts.keeper.late.step()


class Meddling:
    """Something happens between what is found and what is written of it, by whom it may."""

    def __init__(self, town: Town, random: Random, prepare: Callable[..., Awaitable[Prepared]]) -> None:
        self._town, self._random, self._prepare = town, random, prepare
        self._is_meddling = False

    async def prepare(self, *asked: Any, **turns: Any) -> Prepared:
        found = await self._prepare(*asked, **turns)
        if self._is_meddling or self._random.random() < 0.5:
            return found
        self._is_meddling, keeper = True, self._town.inside.parts.keeper
        try:
            await self._random.choice([self._town.live, keeper.late.step if turns else keeper.step, keeper.step])()
        finally:
            self._is_meddling = False
        return found


@pytest.mark.parametrize("seed", range(4))
async def test_whoever_looks_when_all_is_written_once_and_in_the_end_as_the_function_says(
    inside: Inside, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    town, parts, random = await town_of(inside), inside.parts, Random(seed)
    town.random.seed(seed)
    one_takes_long_after(inside, WALKED, monkeypatch)
    await activated(parts, command(document("Kiel")))
    writer: MembershipWriter = parts.keeper._writer
    monkeypatch.setattr(writer, "prepare", Meddling(town, random, writer.prepare).prepare)
    were_late = 0
    for number in range(25):
        await town.live()
        if number == 10:
            await activated(parts, command(document("Bremen")))
        if number == 18:
            await town.erase()
        await random.choice([parts.keeper.step, parts.keeper.step, parts.keeper.late.step])()
        were_late += bool(await late.customers(parts.keeper._pool))
    monkeypatch.undo()
    one_takes_long_after(inside, WALKED, monkeypatch)
    await all_caught_up(inside)
    assert were_late
    assert await town.listed() == {"buyers", "late", "town"}
    rows = await parts.keeper._pool.fetch("SELECT segment, customer FROM segment_members")
    assert await told(inside) == {tuple(row) for row in rows}, "nobody entered twice or left what she wasn't in"
    assert not {row[2] for row in await journal(inside)} & town.gone


async def test_in_a_transaction_that_others_wait_for_no_history_is_read(inside: Inside) -> None:
    town = await town_of(inside)
    history = inside.parts.keeper._standings.history(inside.parts.keeper._pool, inside.parts.rulebook.rules)
    async with short_transaction(inside.parts.keeper._pool):
        for read in (history.states(town.streams), history.past(town.streams, 5, 5), history.read(town.streams)):
            with pytest.raises(AssertionError, match="others wait"):
                await read
    assert await history.read(town.streams)
