"""Making profile's views anew beside those that are served, while events come, people are erased and other makers begin."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from services.profile.composition import Parts, ProfileSettings, compose
from services.profile.domain.state import State, close, linked, state_hash
from services.profile.making import Maker, Progressed
from services.profile.tables.editions import VIEWS, Editions, Superseded, forget
from services.profile.tables.history import History
from services.profile.tables.ordered import Ordered
from services.profile.tables.snapshots import Snapshots
from services.stack.stack import Stack
from shared import bus
from shared.config import read_settings
from shared.events import customer as events
from shared.events.catalogue import Entry, EventType, make_entry
from shared.events.wire import Unit
from shared.events.wire import encode as encode_unit
from shared.ids import id_maker, partition_of
from shared.instants import now_us
from shared.log import LogReader, Record
from shared.log.records import COLUMNS, to_record
from shared.store.pool import open_pool
from shared.vault import FileKeyring, Vault
from tests.emptying import empty_log

PAGE = 9  # events: many pages, and much between them
LAST = 2
EVERY = 3  # events from snapshot to snapshot
FIRST_UNITS = 60
WAIT_S = 20
new_id = id_maker(now_us)


@dataclass
class World:
    """Profile's parts on a real server, and an identity that makes up customers."""

    pool: Any
    admin: Any
    vault: Vault
    editions: Editions
    parts: Parts
    chance: Random = field(default_factory=lambda: Random(5))
    streams: list[bytes] = field(default_factory=list)
    owners: dict[bytes, tuple[bytes, bytes]] = field(default_factory=dict)  # {identifier hash: (customer, link id)}
    units: int = 0

    def maker(self) -> Maker:
        return Maker(self.editions, self.vault, self.partitions, PAGE, LAST, EVERY)

    @property
    def partitions(self) -> int:
        return len(self.parts.notices)

    async def record(self, *units: list[Entry]) -> None:
        messages = [(self.units + n, encode_unit(Unit(self.units + n, {}, unit))) for n, unit in enumerate(units, 1)]
        self.units += len(units)
        await self.parts.recorder.record(messages)

    async def live(self, units: int) -> None:
        """Some at a time, as they come."""
        while units > 0:
            some = [await self._unit() for _ in range(self.chance.randint(1, min(units, 4)))]
            units -= len(some)
            await self.record(*some)

    async def _unit(self) -> list[Entry]:
        acts = (self.found, self.say, self.say, self.link, self.move, self.move, self.merge, self.erase)
        act = self.chance.choice(acts) if len(self.streams) > 3 else self.found
        return await act()

    async def found(self) -> list[Entry]:
        self.streams.append(new_id())
        await self.vault.create_keys(self.streams[-1:], now_us())
        public = events.CustomerFounded(founding_number=len(self.streams))
        return [make_entry(events.FOUNDED, self.streams[-1], new_id(), now_us(), public)]

    async def say(self) -> list[Entry]:
        stream = self.chance.choice(self.streams)
        public = events.Activity(source="web", resolved_by=bytes(16), received_at=now_us())
        said = events.Identified(traits={f"trait{self.chance.randrange(9)}": self.chance.random()})
        return [await self._sealed(events.IDENTIFIED, stream, public, said)]

    async def link(self, value_hash: bytes = b"", stream: bytes = b"") -> list[Entry]:
        value_hash, stream = value_hash or new_id(), stream or self.chance.choice(self.streams)
        public = events.IdentifierLinked(namespace="email", value_hash=value_hash, cause=new_id())
        entry = await self._sealed(events.LINKED, stream, public, events.LinkedValue(value="ann@example.com"))
        self.owners[value_hash] = stream, entry.event_id
        return [entry]

    async def move(self) -> list[Entry]:
        """To others and perhaps back, or to nobody."""
        if not self.owners:
            return await self.link()
        value_hash, entries = self.chance.choice(sorted(self.owners)), list[Entry]()
        for _ in range(self.chance.randint(1, 3)):
            stream, link_id = self.owners.pop(value_hash)
            public = events.IdentifierUnlinked(link_id=link_id, value_hash=value_hash, cause=new_id())
            entries.append(make_entry(events.UNLINKED, stream, new_id(), now_us(), public))
            if self.chance.random() < 0.2:
                return entries
            entries += await self.link(value_hash)
        return entries

    async def merge(self) -> list[Entry]:
        one, other = self.chance.sample(self.streams, 2)
        merge_id, number = new_id(), {"other_founding_number": 1, "cause": new_id()}
        return [
            make_entry(events.MERGED, a, new_id(), now_us(), events.CustomersMerged(merge_id=merge_id, other=b, **number))  # type: ignore[arg-type]
            for a, b in ((one, other), (other, one))
        ]

    async def erase(self) -> list[Entry]:
        """Her key goes first; the event may come units later."""
        stream = self.streams.pop(self.chance.randrange(len(self.streams)))
        hashes = tuple(value_hash for value_hash, (owner, _) in self.owners.items() if owner == stream)
        self.owners = {value_hash: held for value_hash, held in self.owners.items() if held[0] != stream}
        await self.vault.destroy([stream], now_us())
        public = events.CustomerErased(erasure_id=new_id(), policy="refuse", identifier_hashes=hashes)
        return [make_entry(events.ERASED, stream, new_id(), now_us(), public)]

    async def _sealed(self, kind: EventType, stream: bytes, public: Any, personal: Any) -> Entry:
        key = await self.vault.key(stream)
        assert key is not None
        return make_entry(kind, stream, new_id(), now_us(), public, personal, key)

    async def log(self) -> list[Record]:
        """In the order in which it became known."""
        rows = await self.pool.fetch(f"SELECT {COLUMNS} FROM events ORDER BY recorded_at, partition, pos")
        return [to_record(row) for row in rows]

    async def assert_views_are_what_the_log_gives(self) -> None:
        log = await self.log()
        streams = {record.entry.stream for record in log}
        given = await self.parts.profiles.history.fold(await self.parts.profiles.history.read(streams))
        gone = [stream for stream in streams if await self.vault.key(stream) is None]
        for stream in gone:
            close(given[stream].state)
        served = await self.parts.states.load(streams)
        assert {s: (state_hash(h.state), h.version, h.pos) for s, h in served.items()} == {
            s: (state_hash(h.state), h.version, h.pos) for s, h in given.items()
        }
        history = History(
            LogReader(self.pool),
            self.vault,
            Snapshots(self.pool, self.partitions, EVERY),
            Ordered(self.pool, self.partitions, EVERY),
            self.partitions,
        )
        from_snapshots = await history.states(streams - set(gone))
        assert {s: state_hash(h.state) for s, h in from_snapshots.items()} == {
            s: state_hash(given[s].state) for s in from_snapshots
        }
        owners = {value_hash: stream for stream, held in given.items() for value_hash in linked(held.state)}
        assert dict(await self.pool.fetch("SELECT value_hash, customer FROM identifiers")) == owners
        former = {(one.value_hash, s) for s, h in given.items() for k, one in h.state.identifiers.items() if k in h.state.cut}
        assert set(map(tuple, await self.pool.fetch("SELECT value_hash, customer FROM former_links"))) == former
        erased: dict[bytes, int] = {}
        for entry in (record.entry for record in log if record.entry.type_id == events.ERASED.id):
            erased |= {
                value_hash: max(erased.get(value_hash, 0), entry.occurred_at) for value_hash in entry.public().identifier_hashes
            }
        assert dict(await self.pool.fetch("SELECT value_hash, erased_at FROM erased_identifiers")) == erased
        kept = """SELECT stream FROM states WHERE stream = ANY($1::bytea[]) AND length(envelope) > 0
                  UNION ALL SELECT stream FROM snapshots WHERE stream = ANY($1::bytea[])
                  UNION ALL SELECT stream FROM ordered WHERE stream = ANY($1::bytea[])"""
        assert not await self.pool.fetch(kept, gone), "nothing of an erased customer is kept"

    async def rows(self, schema: str) -> dict[str, list[Any]]:
        return {view: await self.admin.fetch(f"SELECT * FROM {schema}.{view} ORDER BY 1, 2") for view in VIEWS}


@pytest_asyncio.fixture(loop_scope="session")
async def world(servers: Stack) -> AsyncIterator[World]:
    admin = await asyncpg.connect(servers.admin_url.rsplit("/", 1)[0] + "/c360")
    await empty_log(admin, "profile")
    settings = read_settings(ProfileSettings, servers.environment_of("profile"))
    pool = await open_pool(settings.database_url, "profile")
    vault_pool = await open_pool(servers.environment_of("identity")["C360_VAULT_URL"], "vault")
    vault, client = Vault(vault_pool, FileKeyring(Path(settings.keyring_file))), await bus.connect(settings.nats_url, "test")
    editions = await Editions.open(settings.database_url)
    world = World(pool, admin, vault, editions, compose(settings, pool, vault, client))
    await world.parts.recorder.load()
    await world.live(FIRST_UNITS)
    yield world
    await empty_log(admin, "profile")
    await client.close()
    for opened in (admin, pool, vault_pool, editions.pool):
        await opened.close()


async def nothing(_progress: Progressed) -> None: ...


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_comes_meanwhile_the_new_views_are_what_the_log_gives(world: World, seed: int) -> None:
    world.chance = Random(seed)
    reported: list[Progressed] = []

    async def go_on(progress: Progressed) -> None:
        reported.append(progress)
        if len(reported) < 40:
            await world.live(world.chance.randrange(4))

    # What they held before doesn't count.
    await world.admin.execute("DELETE FROM profile.identifiers; UPDATE profile.erased_identifiers SET erased_at = erased_at + 1")
    await world.admin.execute("INSERT INTO profile.identifiers VALUES (0, $1, $1)", new_id())
    await world.maker().make(go_on)
    assert await world.pool.fetchval("SELECT count(*) FROM snapshots")
    folded = [progress.folded for progress in reported]
    assert folded == sorted(folded)
    assert reported[-1].folded == reported[-1].total
    await world.assert_views_are_what_the_log_gives()
    await world.live(20)
    await world.assert_views_are_what_the_log_gives()
    assert not any((await world.rows("profile_next")).values()), "the former views are gone"


async def test_a_service_that_runs_forgets_what_it_had_of_the_former_views(world: World) -> None:
    """Else its next unit would write the wrong state into the new ones."""
    stream = world.streams[0]
    key, (held,) = await world.vault.key(stream), (await world.parts.held.get([stream])).values()
    assert key is not None
    held.state = State(founding_number=99)
    await world.maker().make(nothing)
    public = events.Activity(source="web", resolved_by=bytes(16), received_at=now_us())
    await world.record([make_entry(events.TRACKED, stream, new_id(), now_us(), public, events.Tracked(name="x"), key)])
    await world.assert_views_are_what_the_log_gives()


async def test_what_is_interrupted_leaves_everything_as_it_was(world: World) -> None:
    before = await world.rows("profile")

    async def fail(progress: Progressed) -> None:
        if progress.folded > 2 * PAGE:
            raise KeyError

    with pytest.raises(KeyError):
        await world.maker().make(fail)
    assert await world.rows("profile") == before
    assert not any((await world.rows("profile_next")).values())


async def test_of_two_makers_the_one_that_began_last_goes_on(world: World) -> None:
    """The same holds of one that was killed: what it left is thrown away."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def wait(progress: Progressed) -> None:
        if progress.folded > FIRST_UNITS // 2:
            begun.set()
            await go_on.wait()

    first = asyncio.create_task(Maker(Editions(world.editions.pool), world.vault, world.partitions, PAGE).make(wait))
    await asyncio.wait_for(begun.wait(), WAIT_S)
    assert any((await world.rows("profile_next")).values())
    await world.maker().make(nothing)
    go_on.set()
    with pytest.raises(Superseded):
        await first
    await world.assert_views_are_what_the_log_gives()


async def test_a_reader_that_takes_long_delays_the_exchange_and_nobody_else(world: World) -> None:
    reading = world.admin.transaction()
    await reading.start()
    await world.admin.execute("SELECT FROM profile.states")
    making = asyncio.create_task(world.maker().make(nothing))
    before = await world.pool.fetchval("SELECT max(edition) FROM partition_heads")
    for _ in range(5):
        await asyncio.wait_for(world.live(1), WAIT_S)
        await asyncio.wait_for(world.parts.states.load(world.streams), WAIT_S)
    assert not making.done()
    await reading.rollback()
    assert await asyncio.wait_for(making, WAIT_S) < WAIT_S
    assert await world.pool.fetchval("SELECT max(edition) FROM partition_heads") == before + 1
    await world.assert_views_are_what_the_log_gives()


async def test_an_erasure_reaches_what_a_killed_maker_left(world: World) -> None:
    stream = world.streams[0]
    await world.admin.execute("INSERT INTO profile_next.states SELECT * FROM profile.states WHERE stream = $1", stream)
    partition = partition_of(stream, world.partitions)
    snapshot = "INSERT INTO profile_next.snapshots VALUES ($1, $2, 'x', 1, 0, 0, 0, 0, 0, false, 'x', 'x')"
    await world.admin.execute(snapshot, partition, stream)
    ordered = "INSERT INTO profile_next.ordered VALUES ($1, $2, 'x', 1, 4, 0, 0, 0, 0, 'x')"
    await world.admin.execute(ordered, partition, stream)
    await world.admin.execute("INSERT INTO profile_next.identifiers VALUES (0, 'x', $1)", stream)
    await forget(world.pool, [stream], world.partitions)
    assert not any((await world.rows("profile_next")).values())
