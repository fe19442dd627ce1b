"""The log on a real PostgreSQL: gapless, fenced, append-only, all or nothing."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.stack.ports import SERVICES
from services.stack.stack import Stack
from shared.errors import Fenced, InvalidInput, LogDamaged, VersionGap
from shared.events import customer as events
from shared.events.catalogue import Entry, make_entry
from shared.ids import derived_id, id_maker, partition_of
from shared.instants import now_us
from shared.log import LogReader, LogWriter, merkle, raw, takeover
from shared.log import writer as writer_module
from shared.log.checkpoints import Checkpoints
from shared.log.records import leaf_of
from shared.log.seam import PartitionRecorder
from shared.log.seam.datastore import Datastore
from shared.log.writer import Versioned
from shared.store import pool as pool_module
from shared.store.pool import open_pool
from shared.vault import FileKeyring
from tests.emptying import empty_log

PARTITIONS = [0, 1, 2, 3]
new_id = id_maker(now_us)


@pytest.fixture
async def pool(servers: Stack) -> AsyncIterator[Any]:
    """As the profile service's own role, with an empty customer log."""
    admin = await asyncpg.connect(servers.admin_url.rsplit("/", 1)[0] + "/c360")
    await empty_log(admin, "profile")
    await admin.close()
    pool = await open_pool(servers.environment_of("profile")["C360_DATABASE_URL"], "profile")
    yield pool
    await pool.close()


def founded(number: int) -> Entry:
    stream = derived_id(b"log test", number.to_bytes(4))
    return make_entry(events.FOUNDED, stream, new_id(), number, events.CustomerFounded(founding_number=number))


def placed(number: int, version: int = 1) -> Versioned:
    entry = founded(number)
    return Versioned(partition_of(entry.stream, len(PARTITIONS)), version, entry)


async def writer(pool: Any, clock: Any = now_us) -> LogWriter:
    made = LogWriter(pool, PARTITIONS, clock)
    await made.claim()
    return made


async def positions(pool: Any) -> dict[int, list[int]]:
    rows = await pool.fetch("SELECT partition, pos FROM events ORDER BY partition, pos")
    return {p: [row["pos"] for row in rows if row["partition"] == p] for p in PARTITIONS}


async def test_positions_have_no_gap_in_any_partition(pool: Any) -> None:
    log = await writer(pool)
    for batch in range(5):
        await log.append([placed(batch * 10 + n) for n in range(10)], {"CUSTOMER": batch})
    found = await positions(pool)
    assert sum(len(p) for p in found.values()) == 50
    assert all(p == list(range(len(p))) for p in found.values())


async def test_the_consumed_position_and_the_views_are_committed_with_the_events_or_not_at_all(pool: Any) -> None:
    log = await writer(pool)

    async def failing_view(connection: Any, records: Any) -> None:
        await connection.execute("UPDATE consent_head SET consumed = consumed + 1000")
        raise RuntimeError("the view fails")

    before = await pool.fetchval("SELECT consumed FROM consent_head")
    with pytest.raises(RuntimeError):
        await log.append([placed(1)], {"CUSTOMER": 7}, failing_view)
    assert await pool.fetchval("SELECT consumed FROM consent_head") == before
    assert (await writer(pool)).consumed("CUSTOMER") == 0
    assert await pool.fetchval("SELECT count(*) FROM events") == 0


async def test_a_writer_whose_partitions_were_taken_over_can_not_write(pool: Any) -> None:
    old = await writer(pool)
    await old.append([placed(1)], {})
    new = await writer(pool)
    with pytest.raises(Fenced):
        await old.append([placed(2)], {"CUSTOMER": 99})
    await new.append([placed(3)], {"CUSTOMER": 5})
    assert (await writer(pool)).consumed("CUSTOMER") == 5
    assert await pool.fetchval("SELECT count(*) FROM events") == 2


async def test_a_writer_that_was_paused_in_a_transaction_does_not_lock_out_the_one_that_takes_over(
    pool: Any, servers: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "IDLE_IN_TRANSACTION_MS", 500)
    paused_pool = await open_pool(servers.environment_of("profile")["C360_DATABASE_URL"], "profile")
    async with paused_pool.acquire() as paused:
        transaction = paused.transaction()
        await transaction.start()
        await paused.execute("UPDATE partition_heads SET next_pos = next_pos + 1")
        async with asyncio.timeout(20):
            await (await writer(pool)).append([placed(1)], {})
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError)):
            await paused.execute("SELECT 1")
    paused_pool.terminate()
    assert (await positions(pool))[placed(1).partition] == [0]


@pytest.mark.parametrize("through_the_seam", [False, True])
async def test_a_writer_that_was_paused_inside_its_copy_does_not_keep_the_one_that_takes_over_waiting(
    pool: Any, servers: Stack, monkeypatch: pytest.MonkeyPatch, through_the_seam: bool
) -> None:
    monkeypatch.setattr(takeover, "PATIENCE_S", 0.5)
    url = servers.environment_of("profile")["C360_DATABASE_URL"]
    paused = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.live.stopped_writer", url, stderr=subprocess.DEVNULL)
    try:
        await asyncio.to_thread(os.waitid, os.P_PID, paused.pid, os.WSTOPPED | os.WNOWAIT)
        async with asyncio.timeout(20):
            if through_the_seam:
                with closing(Datastore(url, "profile")) as datastore:
                    await asyncio.to_thread(PartitionRecorder(datastore, PARTITIONS[-1], len(PARTITIONS)).claim)
            log = await writer(pool)
        await log.append([placed(1)], {"CUSTOMER": 1})
    finally:
        paused.send_signal(signal.SIGCONT)
        code = await paused.wait()
    assert code != 0, "what it was writing is refused"
    assert (await positions(pool))[placed(1).partition] == [0]


async def test_a_client_that_was_cut_off_is_noticed_by_the_server(pool: Any, servers: Stack) -> None:
    settings = servers.environment_of("profile")["C360_DATABASE_URL"], "profile"
    assert await pool.fetchval("SHOW idle_in_transaction_session_timeout") == "5s"
    with closing(Datastore(*settings)) as datastore, datastore.transaction() as cursor:
        for name in (*pool_module.KEEPALIVES, "idle_in_transaction_session_timeout", "statement_timeout"):
            cursor.execute(f"SHOW {name}")
            assert [*(cursor.fetchone() or {}).values()] != ["0"], name


async def test_a_reader_never_sees_a_gap_while_writers_write(pool: Any) -> None:
    log, reader, done = await writer(pool), LogReader(pool), asyncio.Event()

    async def read(partition: int) -> list[int]:
        seen: list[int] = []
        while True:
            finished = done.is_set()
            records = await reader.partition(partition, len(seen), 7)
            seen += [record.pos for record in records]
            assert seen == list(range(len(seen)))
            if finished and not records:
                return seen

    readers = [asyncio.create_task(read(partition)) for partition in PARTITIONS]
    for batch in range(60):
        await log.append([placed(batch * 10 + n) for n in range(10)], {})
    done.set()
    assert sum(len(seen) for seen in await asyncio.gather(*readers)) == 600


async def test_of_two_writers_that_race_one_is_fenced_and_nothing_is_half_written(pool: Any) -> None:
    old = await writer(pool)
    new = await writer(pool)
    results = await asyncio.gather(old.append([placed(1)], {}), new.append([placed(2)], {}), return_exceptions=True)
    assert [type(r) for r in results] == [Fenced, list]
    assert await pool.fetchval("SELECT count(*) FROM events") == 1


CHANGES = ("UPDATE {} SET partition = 9", "DELETE FROM {}", "TRUNCATE {}", "DROP TABLE {}")


@pytest.mark.parametrize(("service", "log"), [*((service, service) for service in SERVICES), ("profile", "disclosures")])
@pytest.mark.parametrize("table", ["events", "merkle_nodes", "checkpoints"])
async def test_no_services_role_can_change_history(servers: Stack, service: str, log: str, table: str) -> None:
    pool = await open_pool(servers.environment_of(service)["C360_DATABASE_URL"], log)
    assert await pool.fetchval(f"SELECT count(*) FROM {table}") >= 0
    for change in CHANGES:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute(change.format(table))
    await pool.close()


async def test_the_services_role_can_not_move_a_head_to_another_partition(pool: Any) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await pool.execute("UPDATE partition_heads SET partition = partition + 10")


@pytest.mark.parametrize(
    ("pos", "version", "stream"), [(-7, 2, bytes(16)), (1, 0, bytes(16)), (1, 1, b"short")], ids=["position", "version", "stream"]
)
async def test_the_services_role_can_not_put_an_event_where_none_can_be(pool: Any, pos: int, version: int, stream: bytes) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await pool.execute("INSERT INTO events VALUES (0, $1, $2, $3, '', '', 1, 0, 0, '', '', '')", pos, stream, version)


async def test_who_checks_reads_every_row_also_a_second_one_at_the_end_of_a_page(
    pool: Any, servers: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await writer(pool)).append([placed(1, version) for version in range(1, 6)], {})
    monkeypatch.setattr(raw, "PAGE_EVENTS", 2)
    admin = await asyncpg.connect(servers.admin_url.rsplit("/", 1)[0] + "/c360", server_settings={"search_path": "profile"})
    change = admin.transaction()
    await change.start()
    await admin.execute("ALTER TABLE events DROP CONSTRAINT events_partition_pos_key, DROP CONSTRAINT events_place")
    for changed in ("1, stream, 99", "1, stream, 98", "-7, stream, 97", f"{2**63 - 1}, stream, 96"):
        rest = "event_id, type_id, schema_version, recorded_at, occurred_at, header, envelope, leaf"
        await admin.execute(f"INSERT INTO events SELECT partition, {changed}, {rest} FROM events WHERE pos = 0")
    partition = placed(1).partition
    pages = [page async for page in raw.RawLog(admin).events(partition)]
    await change.rollback()
    await admin.close()
    assert [event.record.pos for page in pages for event in page] == [-7, 0, 1, 1, 1, 2, 3, 4, 2**63 - 1]


async def test_recorded_time_never_runs_backwards_when_the_clock_does(pool: Any) -> None:
    instants = iter([1_000, 500, 500])
    log = await writer(pool, lambda: next(instants))
    for number in (1, 1, 1):
        version = 1 + await pool.fetchval("SELECT count(*) FROM events")
        await log.append([placed(number, version)], {})
    assert [row["recorded_at"] for row in await pool.fetch("SELECT recorded_at FROM events ORDER BY pos")] == [1_000, 1_001, 1_002]


async def test_a_unit_whose_commit_was_not_confirmed_is_resolved_by_the_head(
    pool: Any, servers: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backend is killed after it committed and before the client hears of it."""
    log = await writer(pool)
    admin = await asyncpg.connect(servers.admin_url)
    commit = asyncpg.transaction.Transaction._Transaction__commit

    async def commit_and_lose_the_answer(self: Any) -> None:
        pid = self._connection.get_server_pid()
        await commit(self)
        await admin.execute("SELECT pg_terminate_backend($1)", pid)
        raise asyncpg.ConnectionDoesNotExistError("the answer was lost")

    with monkeypatch.context() as patched:
        patched.setattr(asyncpg.transaction.Transaction, "_Transaction__commit", commit_and_lose_the_answer)
        records = await log.append([placed(1)], {"CUSTOMER": 3})
    await admin.close()
    assert len(records) == 1
    await log.append([placed(2)], {"CUSTOMER": 4})
    assert await pool.fetchval("SELECT count(*) FROM events") == 2


async def test_a_unit_that_was_cut_off_before_its_commit_is_not_taken_for_written(
    pool: Any, servers: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backend is killed when everything but the commit was sent to it."""
    log = await writer(pool)
    admin = await asyncpg.connect(servers.admin_url)
    commit = asyncpg.transaction.Transaction._Transaction__commit

    async def lose_the_server_and_commit(self: Any) -> None:
        assert await admin.fetchval("SELECT pg_terminate_backend($1, 10000)", self._connection.get_server_pid())
        await commit(self)

    with monkeypatch.context() as patched:
        patched.setattr(asyncpg.transaction.Transaction, "_Transaction__commit", lose_the_server_and_commit)
        with pytest.raises(pool_module.DOWN):
            await log.append([placed(1)], {"CUSTOMER": 3})
    await admin.close()
    assert sum(len(found) for found in (await positions(pool)).values()) == 0
    assert {head.next_pos for head in (await log.claim()).values()} == {0}
    assert log.consumed("CUSTOMER") == 0
    await log.append([placed(1)], {"CUSTOMER": 3})
    assert (await positions(pool))[placed(1).partition] == [0]
    assert (await writer(pool)).consumed("CUSTOMER") == 3


async def test_a_stream_is_read_as_far_as_it_was_known(pool: Any) -> None:
    instants = iter([1_000, 2_000])
    log = await writer(pool, lambda: next(instants))
    entry = founded(1)
    partition = partition_of(entry.stream, len(PARTITIONS))
    await log.append([Versioned(partition, 1, entry)], {})
    await log.append([Versioned(partition, 2, entry)], {})
    reader = LogReader(pool)
    assert [r.version for r in await reader.streams([(partition, entry.stream)])] == [1, 2]
    assert [r.version for r in await reader.streams([(partition, entry.stream)], known_at=1_999)] == [1]
    assert await reader.streams([(partition, entry.stream)], known_at=999) == []
    assert (await reader.streams([(partition, entry.stream)]))[0].entry == entry


CHANGED = {
    "stream": bytes(16),
    "version": 2,
    "event_id": bytes(16),
    "type_id": "customer.erased",
    "schema_version": 2,
    "recorded_at": 7,
    "occurred_at": 7,
    "header": b"forged",
    "envelope": b"forged",
}


@pytest.mark.parametrize("part", CHANGED)
async def test_the_leaf_commits_to_every_stored_field(pool: Any, part: str) -> None:
    log = await writer(pool)
    [record] = await log.append([placed(1)], {})
    stored = await pool.fetchrow("SELECT * FROM events")
    parts = {name: stored[name] for name in CHANGED}
    assert stored["leaf"] == leaf_of_parts(**parts) == leaf_of(record.entry, 1, record.recorded_at)
    assert stored["leaf"] != leaf_of_parts(**parts | {part: CHANGED[part]})


def leaf_of_parts(version: int, recorded_at: int, **entry: Any) -> bytes:
    return leaf_of(Entry(**entry), version, recorded_at)


async def test_a_version_that_is_remembered_no_more_is_looked_up(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "KNOWN_STREAMS", 2)
    log = await writer(pool)
    await log.append([placed(1), placed(2), placed(3)], {})
    assert {stream for _, stream in log._newest} == {founded(2).stream, founded(3).stream}
    with pytest.raises(VersionGap):
        await log.append([placed(1, version=3)], {})
    await log.append([placed(1, version=2), placed(2, version=2), placed(3, version=2)], {})
    assert await pool.fetchval("SELECT count(*) FROM events WHERE version = 2") == 3


async def test_a_hole_in_a_stream_is_refused_and_nothing_is_written(pool: Any) -> None:
    log = await writer(pool)
    await log.append([placed(1), placed(1, version=2)], {})
    for unit in ([placed(1, version=4)], [placed(2, version=2)], [placed(1, version=3), placed(1, version=5)]):
        with pytest.raises(VersionGap):
            await log.append(unit, {"CUSTOMER": 9})
    assert await pool.fetchval("SELECT count(*) FROM events") == 2
    await log.append([placed(1, version=3)], {})
    assert (await writer(pool)).consumed("CUSTOMER") == 0


async def test_the_head_has_the_tree_of_the_stored_leaves_and_full_blocks_have_a_node(pool: Any) -> None:
    log = await writer(pool)
    for first in range(0, 2200, 550):
        await log.append([placed(number) for number in range(first, first + 550)], {})
    for head in await pool.fetch("SELECT * FROM partition_heads"):
        rows = await pool.fetch("SELECT leaf FROM events WHERE partition = $1 ORDER BY pos", head["partition"])
        frontier, nodes = merkle.append(0, (), [row["leaf"] for row in rows])
        assert head["merkle_frontier"] == merkle.pack(frontier)
        stored = await pool.fetch("SELECT height, number, hash FROM merkle_nodes WHERE partition = $1", head["partition"])
        assert sorted(tuple(row) for row in stored) == sorted(tuple(node) for node in nodes)


def checkpoints(pool: Any, servers: Stack) -> Checkpoints:
    keyring = FileKeyring(Path(servers.environment_of("profile")["C360_KEYRING_FILE"]))
    return Checkpoints(pool, "profile", keyring, now_us, len(PARTITIONS))


async def test_what_grew_is_signed_at_an_interval(pool: Any, servers: Stack) -> None:
    log = await writer(pool)
    await log.append([placed(number) for number in range(40)], {})
    signing = asyncio.create_task(checkpoints(pool, servers).run(interval_s=0.02))
    try:
        await until_signed(pool, 40)
        await log.append([placed(40)], {})
        await until_signed(pool, 41)
    finally:
        signing.cancel()
    assert await pool.fetchval("SELECT count(*) FROM checkpoints WHERE tree_size > 0") == len(PARTITIONS) + 1


@pytest.mark.parametrize("change", ["event_id = '\\x00'", "version = 9", "pos = -1"])
async def test_a_newest_event_that_is_not_in_the_tree_is_not_signed(pool: Any, servers: Stack, change: str) -> None:
    await (await writer(pool)).append([placed(1), placed(1, version=2)], {})
    signer, stream = checkpoints(pool, servers), placed(1).entry.stream
    await signer.make(placed(1).partition)
    _, note = await signer.stream_head(stream, 2)
    assert note.splitlines()[3:5] == ["2", "1"]
    admin = await asyncpg.connect(servers.admin_url.rsplit("/", 1)[0] + "/c360", server_settings={"search_path": "profile"})
    tampering = admin.transaction()
    await tampering.start()
    await admin.execute("ALTER TABLE events DROP CONSTRAINT events_place")
    await admin.execute(f"UPDATE events SET {change} WHERE version = 2")
    keyring = FileKeyring(Path(servers.environment_of("profile")["C360_KEYRING_FILE"]))
    with pytest.raises(LogDamaged):
        await Checkpoints(OneConnection(admin), "profile", keyring, now_us, len(PARTITIONS)).stream_head(stream, 2)
    await tampering.rollback()
    await admin.close()


async def test_a_stream_whose_newest_events_are_gone_is_not_signed_as_if_it_ended_there(pool: Any, servers: Stack) -> None:
    """Their block isn't that of the newest one left, which still is in the tree."""
    stream, partition = placed(1).entry.stream, placed(1).partition
    others = [one for one in map(placed, range(2, 2000)) if one.partition == partition][:300]
    log = await writer(pool)
    await log.append([placed(1), *others, placed(1, version=2), placed(1, version=3)], {})
    kept = FileKeyring(Path(servers.environment_of("profile")["C360_KEYRING_FILE"]))
    known = [3]

    async def version_of(stream: bytes) -> int:
        return known[0]

    signer = Checkpoints(pool, "profile", kept, now_us, len(PARTITIONS), version_of)
    early = int((await signer.make(partition)).split("\n")[1])
    await log.append([placed(1, version=4), *(one for one in map(placed, range(2000, 4000)) if one.partition == partition)], {})
    late = int((await signer.make(partition)).split("\n")[1])
    for size, version in ((early, "3"), (late, "4")):
        known[0] = 4  # also of what came after the checkpoint
        assert (await signer.stream_head(stream, size))[1].splitlines()[3] == version
    admin = await asyncpg.connect(servers.admin_url.rsplit("/", 1)[0] + "/c360", server_settings={"search_path": "profile"})
    await admin.execute("DELETE FROM events WHERE stream = $1 AND version > 1", stream)
    await admin.close()
    for size in (early, late):
        with pytest.raises(LogDamaged, match="newest events of a stream are gone"):
            await signer.stream_head(stream, size)


class OneConnection:
    """A pool of a single connection, to look into its open transaction."""

    def __init__(self, connection: Any) -> None:
        self.fetch, self.fetchval, self.fetchrow = connection.fetch, connection.fetchval, connection.fetchrow
        self._connection = connection

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Any]:
        yield self._connection


async def test_an_added_head_gets_no_emptiness_signed(pool: Any, servers: Stack) -> None:
    await (await writer(pool)).append([placed(number) for number in range(20)], {})
    signer, stream = checkpoints(pool, servers), placed(1).entry.stream
    for partition in PARTITIONS:
        await signer.make(partition)
    size = await pool.fetchval("SELECT next_pos FROM partition_heads WHERE partition = $1", placed(1).partition)
    assert (await signer.stream_head(stream, size))[0] == placed(1).partition
    admin = await asyncpg.connect(servers.admin_url.rsplit("/", 1)[0] + "/c360", server_settings={"search_path": "profile"})
    await admin.execute("INSERT INTO partition_heads (partition) VALUES (4)")
    try:
        with pytest.raises(LogDamaged):
            await signer.stream_head(stream, size)
        with pytest.raises(InvalidInput):
            await signer.make(4)
        await admin.execute("UPDATE partition_heads SET partition = 5 WHERE partition = 0")
        assert 0 in await signer._not_empty()
        with pytest.raises(LogDamaged):
            await signer.make(0)
    finally:
        await admin.execute("DELETE FROM partition_heads WHERE partition = 4")
        await admin.execute("UPDATE partition_heads SET partition = 0 WHERE partition = 5")
        await admin.close()


async def until_signed(pool: Any, events: int) -> None:
    newest = "SELECT sum(size) FROM (SELECT max(tree_size) AS size FROM checkpoints GROUP BY partition)"
    async with asyncio.timeout(20):
        while await pool.fetchval(newest) != events:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


class Meddling:
    """A pool with which something happens right after its first read."""

    def __init__(self, pool: Any, meddle: Callable[[], Awaitable[Any]]) -> None:
        self._pool = pool
        self._meddle: Callable[[], Awaitable[Any]] | None = meddle

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    async def fetchrow(self, query: str, *arguments: Any) -> Any:
        return await self._read(self._pool.fetchrow(query, *arguments))

    async def fetchval(self, query: str, *arguments: Any) -> Any:
        return await self._read(self._pool.fetchval(query, *arguments))

    async def _read(self, reading: Awaitable[Any]) -> Any:
        found = await reading
        meddle, self._meddle = self._meddle, None
        if meddle is not None:
            await meddle()
        return found


async def test_a_log_that_grew_and_was_signed_between_two_reads_is_no_damaged_log(pool: Any, servers: Stack) -> None:
    log, other = await writer(pool), checkpoints(pool, servers)
    partition = placed(1).partition
    await log.append([placed(1)], {})
    await other.make(partition)

    async def grow_and_sign() -> None:
        await log.append([placed(1, version=2)], {})
        await other.make(partition)

    note = await checkpoints(Meddling(pool, grow_and_sign), servers).make(partition)
    assert note.split("\n")[1] == "2"
    assert await pool.fetchval("SELECT count(*) FROM checkpoints WHERE tree_size > 0") == 2


async def test_many_who_ask_at_once_get_one_new_checkpoint_that_has_what_was_there(pool: Any, servers: Stack) -> None:
    log, signer = await writer(pool), checkpoints(pool, servers)
    partition = placed(1).partition
    await log.append([placed(1)], {})
    first = await signer.on_demand(partition)
    assert await asyncio.gather(*(signer.on_demand(partition) for _ in range(20))) == [first] * 20
    await log.append([placed(1, version=2)], {})
    notes = await asyncio.gather(*(signer.on_demand(partition) for _ in range(50)))
    assert {note.split("\n")[1] for note in notes} == {"2"}
    assert await pool.fetchval("SELECT count(*) FROM checkpoints WHERE tree_size > 0") == 2
    with pytest.raises(InvalidInput):
        await signer.on_demand(99)


async def test_what_contradicts_an_earlier_signature_is_never_signed(pool: Any, servers: Stack) -> None:
    """Not after a restart, and not when the earlier checkpoint was removed from under a running process."""
    log, signer = await writer(pool), checkpoints(pool, servers)
    partition = placed(1).partition
    await log.append([placed(1), placed(1, version=2)], {})
    note = await signer.make(partition)
    assert await signer.make(partition) == note
    admin = await asyncpg.connect(servers.admin_url.rsplit("/", 1)[0] + "/c360", server_settings={"search_path": "profile"})
    await admin.execute("UPDATE events SET leaf = sha256('forged') WHERE pos = 0")
    rows = await admin.fetch("SELECT leaf FROM events ORDER BY pos")
    forged = merkle.pack(merkle.append(0, (), [row["leaf"] for row in rows])[0])
    await admin.execute("UPDATE partition_heads SET merkle_frontier = $1 WHERE partition = $2", forged, partition)
    await (await writer(pool)).append([placed(1, version=3)], {})
    for process in (signer, checkpoints(pool, servers)):
        with pytest.raises(LogDamaged):
            await process.make(partition)
    saved = await admin.fetch("DELETE FROM checkpoints RETURNING *")
    try:
        for process in (signer, checkpoints(pool, servers)):
            with pytest.raises(LogDamaged):
                await process.make(partition)
    finally:
        await admin.copy_records_to_table("checkpoints", records=saved)
        await admin.close()
