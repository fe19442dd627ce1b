"""Snapshots as the log grows: those that a fold of the log would keep, whatever is lost on the way; and a read that is interrupted goes on."""

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any
from unittest.mock import patch

import pytest

from services.profile import snapshotting
from services.profile.domain.state import state_hash
from services.profile.tables import history as history_module
from services.profile.tables.folding import add as add_to
from services.profile.tables.history import History
from services.profile.tables.snapshots import SNAPSHOT_EVERY, Past
from shared.instants import END_OF_TIME
from shared.log import Record
from tests.live.inside import Inside, founded, linked, new_id, tracked
from tests.live.test_profile_rules import activated, command
from tests.live.test_segments import RULES, inside

__all__ = ["inside"]
COLUMNS = "version, pos, recorded_at, first, earliest_at, latest_at, timeless"
LONG = 5 * SNAPSHOT_EVERY


async def marks(inside: Inside, stream: bytes) -> list[tuple[Any, ...]]:
    query = f"SELECT {COLUMNS} FROM snapshots WHERE stream = $1 ORDER BY fold, version"
    return [tuple(row) for row in await inside.parts.keeper._pool.fetch(query, stream)]


def history_of(inside: Inside) -> History:
    return inside.parts.keeper._standings.history(inside.parts.keeper._pool, inside.parts.rulebook.rules)


async def lived(inside: Inside, random: Random, events: int, size: int) -> bytes:
    """Her stream: events of any instants, among which some are of no time."""
    stream = new_id()
    key = (await inside.keys([stream]))[stream]
    await inside.record([founded(stream, 1)])
    for first in range(1, events, size):
        unit = range(first, min(first + size, events))
        await inside.record(
            linked(stream, key, f"{n}@shop.example") if random.random() < 0.01 else tracked(stream, key, random.randrange(5_000))
            for n in unit
        )
    return stream


async def all_kept(inside: Inside) -> None:
    while await inside.parts.snapshotter.step():
        pass


@pytest.mark.parametrize("seed", range(3))
async def test_they_are_those_that_a_fold_of_the_log_keeps(inside: Inside, seed: int) -> None:
    random, parts = Random(seed), inside.parts
    room = random.choice([0, 20_000, 10**9])
    with patch.object(snapshotting, "WAITING_BYTES", room):
        stream = await lived(inside, random, LONG // 2, random.choice([70, 600]))
        if random.random() < 0.5:
            await all_kept(inside)
        await activated(parts, command(RULES))
        key = (await inside.keys([stream]))[stream]
        await inside.record(tracked(stream, key, random.randrange(5_000)) for _ in range(LONG // 2))
        await all_kept(inside)
    found = await marks(inside, stream)
    assert len(found) >= LONG // SNAPSHOT_EVERY
    history, instants = history_of(inside), [END_OF_TIME, 4_999, 2_500, 0]
    answers = [await history.past([stream], at, END_OF_TIME) for at in instants]
    await parts.keeper._pool.execute("DELETE FROM snapshots")
    plain = [await history.fold(await history.read([stream]), at) for at in instants]
    assert [state_hash(one[stream].held.state) for one in answers] == [state_hash(one[stream].state) for one in plain]
    await parts.keeper._pool.execute("DELETE FROM snapshots")
    await history.states([stream])
    assert set(await marks(inside, stream)) <= set(found), "of other rules there are more"


async def test_the_first_read_of_the_past_folds_no_more_than_between_two_of_them(inside: Inside) -> None:
    stream = await lived(inside, Random(0), LONG, 100)
    await all_kept(inside)
    recorded_at = await history_of(inside).recorded_at(stream, LONG // 2)
    assert recorded_at is not None
    folded = 0

    def add(past: Past, records: Sequence[Record], *rest: Any) -> None:
        nonlocal folded
        folded += len(records)
        add_to(past, records, *rest)

    with patch.object(history_module, "add", add):
        await history_of(inside).states([stream], recorded_at)
    assert folded < SNAPSHOT_EVERY + 100, "and a unit, all of which was recorded at one instant"


async def test_of_who_was_erased_none_is_kept(inside: Inside) -> None:
    stream = await lived(inside, Random(0), LONG, 100)
    await inside.parts.keeper._pool.execute("UPDATE states SET envelope = '' WHERE stream = $1", stream)
    await all_kept(inside)
    assert not await marks(inside, stream)


async def test_a_fold_that_is_interrupted_goes_on_where_it_was(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "KEPT_AT_ONCE_BYTES", 1)
    stream = await lived(inside, Random(0), LONG, 100)
    folded, is_interrupted, real = 0, False, add_to

    def add(past: Past, records: Sequence[Record], *rest: Any) -> None:
        nonlocal folded, is_interrupted
        if folded == 3 * SNAPSHOT_EVERY and not is_interrupted:
            is_interrupted = True
            raise asyncio.CancelledError
        folded += len(records)
        real(past, records, *rest)

    monkeypatch.setattr(history_module, "add", add)
    with pytest.raises(asyncio.CancelledError):
        await history_of(inside).states([stream])
    before = folded
    await history_of(inside).states([stream])
    assert folded - before == LONG - 3 * SNAPSHOT_EVERY
