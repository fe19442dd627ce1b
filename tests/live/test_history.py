"""Reading the past on a real PostgreSQL: ranges of a log, and snapshots that never change what a replay gives."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.profile.domain.rules import PLAIN, Keeping, fold_digest
from services.profile.domain.state import Held, state_hash
from services.profile.tables.history import History, counts
from services.profile.tables.ordered import PREFIX_COLUMNS, Ordered
from services.profile.tables.snapshots import PAST_COLUMNS, Mark, Past, Snapshots
from services.stack.stack import Stack
from shared.events import customer as events
from shared.events.catalogue import Entry, make_entry
from shared.ids import id_maker, partition_of
from shared.instants import END_OF_TIME, now_us
from shared.log import LogReader, LogWriter, Record, Stretch
from shared.log.reader import BEGINNING, NEWEST
from shared.log.writer import Versioned
from shared.store.pool import open_pool
from shared.vault import DataKey, FileKeyring, Vault
from tests.emptying import empty_log

PARTITIONS = 4
EVERY = 3  # events from snapshot to snapshot
new_id = id_maker(now_us)


@dataclass
class World:
    pool: Any
    vault: Vault
    writer: LogWriter
    reader: LogReader

    def history(self, keeping: Keeping = PLAIN, every: int = EVERY) -> History:
        snapshots, ordered = Snapshots(self.pool, PARTITIONS, every), Ordered(self.pool, PARTITIONS, every)
        return History(self.reader, self.vault, snapshots, ordered, PARTITIONS, keeping)

    async def append(self, *entries: Entry) -> list[Record]:
        versions = {e.stream: await self.reader.version(partition_of(e.stream, PARTITIONS), e.stream) for e in entries}
        placed = []
        for entry in entries:
            versions[entry.stream] += 1
            placed.append(Versioned(partition_of(entry.stream, PARTITIONS), versions[entry.stream], entry))
        return await self.writer.append(placed, {})

    async def key(self, stream: bytes) -> DataKey:
        return (await self.vault.create_keys([stream], now_us()))[stream]

    async def alter(self, table: str, own: str, stream: bytes, column: str, value: str) -> None:
        columns = ["partition", "stream", "fold", *own.split(", ")]
        taken = ", ".join(value if name == column else name for name in columns)
        rows = await self.pool.fetch(f"SELECT {taken} FROM {table} WHERE stream = $1", stream)
        await self.pool.execute(f"DELETE FROM {table} WHERE stream = $1", stream)
        await self.pool.copy_records_to_table(table, records=[tuple(row) for row in rows], columns=columns)

    async def alter_snapshots(self, stream: bytes, column: str, value: str) -> None:
        await self.alter("snapshots", f"{PAST_COLUMNS}, envelope, seal", stream, column, value)

    async def snapshots(self, stream: bytes) -> list[int]:
        rows = await self.pool.fetch("SELECT version FROM snapshots WHERE stream = $1 ORDER BY version", stream)
        return [row["version"] for row in rows]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(servers: Stack) -> AsyncIterator[World]:
    admin = await asyncpg.connect(servers.admin_url.rsplit("/", 1)[0] + "/c360")
    await empty_log(admin, "profile")
    await admin.close()
    pool = await open_pool(servers.environment_of("profile")["C360_DATABASE_URL"], "profile")
    identity = servers.environment_of("identity")
    vault_pool = await open_pool(identity["C360_VAULT_URL"], "vault")
    vault = Vault(vault_pool, FileKeyring(Path(identity["C360_KEYRING_FILE"])))
    world = World(pool, vault, LogWriter(pool, range(PARTITIONS), now_us), LogReader(pool))
    await world.writer.claim()
    yield world
    await pool.close()
    await vault_pool.close()


def identified(stream: bytes, key: DataKey, number: int, occurred_at: int = 0) -> Entry:
    public = events.Activity(source="web", resolved_by=b"h" * 16, received_at=0)
    personal = events.Identified(traits={f"trait{number % 4}": number})
    return make_entry(events.IDENTIFIED, stream, new_id(), occurred_at, public, personal, key)


def shown(held: dict[bytes, Held]) -> dict[bytes, tuple[str, int, int]]:
    return {stream: (state_hash(h.state), h.version, h.pos) for stream, h in held.items()}


async def replayed(history: History, streams: list[bytes], known_at: int) -> dict[bytes, tuple[str, int, int]]:
    return shown(await history.fold(await history.read(streams, known_at)))


appends = st.tuples(st.just("append"), st.lists(st.tuples(st.integers(0, 1), st.integers(0, 30)), min_size=1, max_size=7))
reads = st.tuples(st.just("read"), st.integers(0, 100), st.integers(-1, 31))
purges = st.tuples(st.just("purge"), st.integers(0, 1))


@settings(max_examples=settings().max_examples * 2 // 5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(appends, appends, reads, reads, purges), max_size=14))
async def test_a_replay_with_snapshots_is_a_replay_without(world: World, steps: list[tuple[Any, ...]]) -> None:
    """Whenever they were taken, kept or dropped, and whatever instant is asked for."""
    streams, history, recorded = [new_id(), new_id()], world.history(), [now_us()]
    keys = [await world.key(stream) for stream in streams]
    for step in steps:
        what, argument = step[0], step[1]
        if what == "append":
            entries = [identified(streams[who], keys[who], number, occurred_at=number) for who, number in argument]
            recorded.append((await world.append(*entries))[-1].recorded_at)
        elif what == "purge":
            await Snapshots.purge(world.pool, [streams[argument]])
        else:
            known_at = recorded[argument * len(recorded) // 101]
            assert shown(await history.states(streams, known_at)) == await replayed(history, streams, known_at)
            valid_at = step[2]
            past = await history.past(streams, valid_at, known_at)
            folded = await history.fold(await history.read(streams, known_at), valid_at)
            assert shown({stream: one.held for stream, one in past.items()}) == shown(folded)
    assert shown(await history.states(streams)) == await replayed(history, streams, now_us())
    for stream in streams:
        assert all(version % EVERY == 0 for version in await world.snapshots(stream))


# Of what is ordered: a number that is altered, or the prefixes of so many events are gone; None: all of it is.
damages = st.one_of(st.sampled_from(PREFIX_COLUMNS.split(", ")), st.integers(0, 8), st.none())
asked_at = st.tuples(st.integers(-1, 31), st.integers(0, 100), st.lists(damages, max_size=1))


@settings(max_examples=settings().max_examples * 2 // 5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=9), min_size=1, max_size=9),
    st.integers(1, 3),
    st.lists(asked_at, min_size=2, max_size=8),
)
async def test_a_history_that_came_in_any_order_is_read_as_a_replay_gives_it(
    world: World, happened: list[list[int]], every: int, asked: list[tuple[int, int, list[Any]]]
) -> None:
    """Whatever is kept of its stretches, and whatever somebody did to that."""
    stream, history, recorded = new_id(), world.history(every=every), list[int]()
    key = await world.key(stream)
    for unit in happened:
        entries = [identified(stream, key, number, occurred_at=at) for number, at in enumerate(unit)]
        recorded.append((await world.append(*entries))[-1].recorded_at)
    for valid_at, percent, damage in asked:
        known_at = recorded[percent * (len(recorded) - 1) // 100]
        past = await history.past([stream], valid_at, known_at)
        folded = await history.fold(await history.read([stream], known_at), valid_at)
        assert shown({stream: past[stream].held}) == shown(folded)
        for what in damage:
            if isinstance(what, str):
                await world.alter("ordered", f"{PREFIX_COLUMNS}, envelope", stream, what, f"{what} # 1")
            else:
                gone = "DELETE FROM ordered WHERE stream = $1 AND events % 9 = coalesce($2, events % 9)"
                await world.pool.execute(gone, stream, what)


async def test_of_a_history_that_came_out_of_order_a_block_of_each_stretch_is_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two systems, one after the other."""
    stream, history, length = new_id(), world.history(), 50 * EVERY
    key = await world.key(stream)
    for _ in range(2):
        await world.append(*(identified(stream, key, number, occurred_at=number) for number in range(length // 2)))
    first = [(await history.past([stream], 33, now_us()))[stream] for _ in range(2)]  # one leaves snapshots, one what is ordered
    asked: list[Stretch] = []
    counted: list[int] = []
    history_of, of_versions = world.reader.history, world.reader.of_versions

    async def watched(stretches: Any, **limits: Any) -> list[Record]:
        asked.extend(stretches)
        return await history_of(stretches, **limits)

    async def counting(partition: int, stream: bytes, versions: Any) -> list[Record]:
        counted.append(len(versions))
        return await of_versions(partition, stream, versions)

    monkeypatch.setattr(world.reader, "history", watched)
    monkeypatch.setattr(world.reader, "of_versions", counting)
    again = (await history.past([stream], 33, now_us()))[stream]
    assert {shown({stream: one.held})[stream] for one in [*first, again]} == {shown({stream: again.held})[stream]}
    stretches = list(Ordered(world.pool, PARTITIONS, EVERY).stretches(stream, length))
    assert all(stretch.first > stretches[-1].last for stretch in asked), "of what is behind them a block at most"
    assert len(stretches) <= 6
    assert sum(counted) <= EVERY * len(stretches)


async def test_a_second_read_replays_only_what_came_after_the_snapshot(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stream, history = new_id(), world.history()
    key = await world.key(stream)
    await world.append(*(identified(stream, key, number) for number in range(8)))
    first = shown(await history.states([stream]))
    assert await world.snapshots(stream) == [3, 6]
    asked: list[Stretch] = []
    read = world.reader.history

    async def watched(stretches: Any, **limits: Any) -> list[Record]:
        asked.extend(stretches)
        return await read(stretches, **limits)

    monkeypatch.setattr(world.reader, "history", watched)
    assert shown(await history.states([stream])) == first
    assert [stretch.first for stretch in asked] == [7]


async def test_a_snapshot_of_another_fold_is_ignored(world: World) -> None:
    stream = new_id()
    key = await world.key(stream)
    await world.append(*(identified(stream, key, number) for number in range(4)))
    await world.history(Keeping(others=True)).states([stream])
    await world.alter_snapshots(stream, "fold", f"'\\x{fold_digest(PLAIN).hex()}'::bytea")
    assert shown(await world.history().states([stream])) == await replayed(world.history(), [stream], now_us())


async def test_an_altered_snapshot_is_ignored(world: World) -> None:
    stream = new_id()
    key = await world.key(stream)
    await world.append(*(identified(stream, key, number) for number in range(4)))
    snapshots = Snapshots(world.pool, PARTITIONS, EVERY)
    forged = snapshots.take(Held(version=3, pos=1), Mark(stream, 3, 1, 0, 1, 0, 0), DataKey(b"?" * 32))
    await snapshots.keep([forged])
    assert shown(await world.history().states([stream])) == await replayed(world.history(), [stream], now_us())


async def test_an_altered_mark_passes_over_nothing(world: World) -> None:
    stream = new_id()
    key = await world.key(stream)
    await world.append(*(identified(stream, key, number, occurred_at=9 - number) for number in range(8)))
    await world.history().states([stream])
    await world.alter_snapshots(stream, "earliest_at", "100")
    past = await world.history().past([stream], 4, now_us())
    assert shown({stream: past[stream].held}) == shown(await world.history().fold(await world.history().read([stream]), 4))


async def test_a_stream_whose_key_is_gone_has_no_snapshot_read_or_written(world: World) -> None:
    stream = new_id()
    await world.append(*(identified(stream, DataKey(b"?" * 32), number) for number in range(4)))
    held = (await world.history().states([stream]))[stream]
    assert (held.version, held.state.traits) == (4, {})
    assert await world.snapshots(stream) == []


async def test_of_who_is_erased_no_snapshot_stays_even_one_that_was_being_kept(world: World) -> None:
    """A read that has the state of before, and the key of before, keeps it while the erasure's transaction runs, or later."""
    stream, partition = (one := new_id()), partition_of(one, PARTITIONS)
    key = await world.key(stream)
    records = await world.append(*(identified(stream, key, number) for number in range(EVERY)))
    snapshots = Snapshots(world.pool, PARTITIONS, EVERY)
    [taken] = world.history().advance(Past(), records, key)
    async with world.pool.acquire() as connection, connection.transaction():
        await connection.execute("INSERT INTO states VALUES ($1, $2, 3, 0, '', 'sealed')", partition, stream)
    async with world.pool.acquire() as connection, connection.transaction():
        pid = await connection.fetchval("SELECT pg_backend_pid()")
        await connection.execute("UPDATE states SET envelope = '' WHERE partition = $1 AND stream = $2", partition, stream)
        await Snapshots.purge(connection, [stream])
        keeping = asyncio.create_task(snapshots.keep([taken]))
        waits = "SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid))"
        async with asyncio.timeout(10):
            while not keeping.done() and not await world.pool.fetchval(waits, pid):
                pass
    await keeping
    await snapshots.keep([taken])
    assert await world.snapshots(stream) == []


async def test_a_stream_is_read_by_versions_and_by_recorded_time(world: World) -> None:
    one, two = new_id(), new_id()
    key = await world.key(one)
    first = await world.append(*(identified(one, key, number) for number in range(3)))
    second = await world.append(*(identified(one, key, number) for number in range(2)), identified(two, await world.key(two), 1))
    places = {stream: partition_of(stream, PARTITIONS) for stream in (one, two)}

    async def versions(*stretches: Stretch, **limits: Any) -> list[tuple[bytes, int]]:
        return sorted((r.entry.stream, r.version) for r in await world.reader.history(stretches, **limits))

    assert await versions(Stretch(places[one], one, 2, 4)) == [(one, 2), (one, 3), (one, 4)]
    both = [Stretch(places[one], one, 5), Stretch(places[two], two)]
    assert await versions(*both) == sorted([(one, 5), (two, 1)])
    for types, found in ((events.TIMED_IDS, [(one, 5), (two, 1)]), (events.TIMELESS_IDS, [])):
        assert await versions(*both, types=types) == sorted(found)
        assert await versions(both[0], types=types) == [place for place in found if place[0] == one]
    assert await versions(Stretch(places[one], one), recorded_since=second[0].recorded_at) == [(one, 4), (one, 5)]
    assert await versions(Stretch(places[one], one), known_at=first[0].recorded_at) == [(one, 1), (one, 2), (one, 3)]
    by_position = await world.reader.partition(places[one], first[0].pos, 100, last=first[1].pos)
    assert [record.version for record in by_position] == [1, 2]


async def test_a_stretch_read_alone_is_as_read_with_others(world: World) -> None:
    one, two = new_id(), new_id()
    keys = {stream: await world.key(stream) for stream in (one, two)}
    units = [
        await world.append(*[identified(stream, keys[stream], number) for number in range(2)]) for stream in (one, two, one, one)
    ]
    instants = [BEGINNING, *(unit[0].recorded_at for unit in units), END_OF_TIME]
    other = Stretch(partition_of(two, PARTITIONS), two)
    for first, last, since, known_at in itertools.product((1, 3), (2, 5, NEWEST), instants, instants):
        stretch = Stretch(partition_of(one, PARTITIONS), one, first, last)
        alone = await world.reader.history([stretch], recorded_since=since, known_at=known_at)
        together = await world.reader.history([stretch, other], recorded_since=since, known_at=known_at)
        assert alone == [record for record in together if record.entry.stream == one]


async def test_the_position_of_an_instant_is_found_by_halving(world: World) -> None:
    stream = new_id()
    key, partition = await world.key(stream), partition_of(stream, PARTITIONS)
    for number in range(9):
        await world.append(*(identified(stream, key, number) for _ in range(1 + number % 3)))
    records = await world.reader.partition(partition, 0, 10_000)
    instants = {instant for record in records for instant in (record.recorded_at - 1, record.recorded_at)} | {0, now_us()}
    positions = await asyncio.gather(*(world.reader.position_after(partition, instant) for instant in instants))
    for instant, position in zip(instants, positions, strict=True):
        assert position == sum(1 for record in records if record.recorded_at <= instant)


@pytest.mark.parametrize(("past", "folds"), [(False, 1), (True, 2)])
async def test_what_several_reads_at_once_miss_is_read_and_folded_by_one_of_them(
    world: World, monkeypatch: pytest.MonkeyPatch, past: bool, folds: int
) -> None:
    """Snapshots; and, where what had happened is asked for of what came in no order, stretches besides."""
    stream, history, length, readers = new_id(), world.history(), 200 * EVERY, 10
    key = await world.key(stream)
    await world.append(*(identified(stream, key, number, occurred_at=number * 7 % length) for number in range(length)))
    known_at, valid_at = now_us(), length // 2
    read, counted = world.reader.history, list[int]()

    async def counting(stretches: Any, **limits: Any) -> list[Record]:
        found = await read(stretches, **limits)
        counted.append(len(found))
        return found

    def asked() -> Awaitable[dict[bytes, Past]]:
        return history.past([stream], valid_at, END_OF_TIME) if past else history.known([stream], known_at)

    monkeypatch.setattr(world.reader, "history", counting)
    answers = await asyncio.gather(*(asked() for _ in range(readers)))
    assert len({shown({stream: one[stream].held})[stream] for one in answers}) == 1
    assert folds * (length - 2 * EVERY) <= sum(counted) <= folds * (length + readers * 2 * EVERY), (
        "the whole once, and what is behind it"
    )


async def test_one_that_waits_makes_it_when_who_came_first_gives_up(world: World) -> None:
    stream, history = new_id(), world.history()
    key = await world.key(stream)
    await world.append(*(identified(stream, key, number) for number in range(10 * EVERY)))
    async with history.snapshots.making(stream):
        second = asyncio.create_task(history.known([stream], now_us()))
        third = asyncio.create_task(history.known([stream], now_us()))
        done, _ = await asyncio.wait([second, third], timeout=0.2)
        assert not done
        second.cancel()
    assert shown({stream: (await third)[stream].held}) == await replayed(history, [stream], now_us())


points = st.tuples(st.integers(-1, 31) | st.just(END_OF_TIME), st.integers(0, 100))


@settings(max_examples=settings().max_examples * 2 // 5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=4), min_size=1, max_size=5), points, points)
async def test_what_counts_at_one_of_two_points_alone_is_what_a_replay_has_at_one(
    world: World, happened: list[list[int]], one: tuple[int, int], other: tuple[int, int]
) -> None:
    streams, history, recorded = [new_id(), new_id()], world.history(), [now_us()]
    for unit in happened:
        founding = events.CustomerFounded(founding_number=1)
        timeless = [make_entry(events.FOUNDED, streams[number % 2], new_id(), number, founding) for number in unit[:1]]
        entries = [identified(streams[number % 2], await world.key(streams[number % 2]), number, number) for number in unit]
        recorded.append((await world.append(*timeless, *entries))[-1].recorded_at)
    first, second = ((valid_at, recorded[percent * (len(recorded) - 1) // 100]) for valid_at, percent in (one, other))
    found = [record.entry.event_id for record in await history.between(streams, first, second)]
    counted = [record.entry.event_id for record in await history.read(streams) if counts(record, *first) != counts(record, *second)]
    assert sorted(found) == sorted(counted)
