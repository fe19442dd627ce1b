"""The single writer of some partitions.

One transaction moves the heads, inserts the events and runs the views. The head row is at once the consumed position,
the fence against a writer that lost its partitions, and what keeps positions gapless: an UPDATE that finds no row with
the expected position and owner means that someone else has written.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from shared import faults
from shared.errors import Fenced, WrongState
from shared.instants import Clock
from shared.log.placing import NODE_COLUMNS, Consumed, Head, Placed, Versioned, head_of, leaves_of, next_instant, place, version_gap
from shared.log.records import STORED_COLUMNS, Record, to_row
from shared.log.takeover import take_over
from shared.pieces import AT_ONCE
from shared.store.pool import DOWN, MAX_CONNECTIONS
from shared.telemetry import WRITERS_FENCED

__all__ = ["Consumed", "Head", "LogWriter", "Versioned", "Views", "ViewsReplaced"]

COPIED_AT_ONCE: Final = 1_000  # rows: some milliseconds of the loop; given to it one by one they cost a tenth more

LOOKS = MAX_CONNECTIONS + 1  # each connection of the pool may be broken, which shows when it is used; the next one is new
KNOWN_STREAMS = 50_000  # whose newest version needs no look-up, about 250 bytes each


class ViewsReplaced(Exception):
    """The views were made anew since the heads were read: what was loaded of them may be wrong. Nothing is written."""

    def __init__(self, edition: int) -> None:
        super().__init__(f"the views are of edition {edition} now")
        self.edition = edition


Views = Callable[[Any, list[Record]], Awaitable[None]]

MOVED_PARAMETERS: Final = 11
# What moves the heads and keeps the tree's nodes, which are few; only with all heads moved are these written.
MOVED: Final = f"""
    moved AS (
        UPDATE partition_heads AS head
        SET next_pos = new.next_pos, consumed = new.consumed::jsonb, last_recorded_at = new.last_recorded_at,
            merkle_frontier = new.merkle_frontier
        FROM unnest($1::int4[], $2::int8[], $3::int8[], $4::text[], $5::int8[], $6::int8[], $7::bytea[])
             AS new (partition, old_pos, next_pos, consumed, last_recorded_at, owner_epoch, merkle_frontier)
        WHERE head.partition = new.partition AND head.next_pos = new.old_pos AND head.owner_epoch = new.owner_epoch
        RETURNING head.edition
    ), kept AS (
        INSERT INTO merkle_nodes ({", ".join(NODE_COLUMNS)})
        SELECT * FROM unnest($8::int4[], $9::int4[], $10::int8[], $11::bytea[])
        WHERE (SELECT count(*) FROM moved) = cardinality($1)
    )"""  # noqa: S608


def moved_columns(before: Mapping[int, Head], placed: Placed) -> list[Any]:
    """The parameters of MOVED."""
    after = placed.heads
    return [
        list(after),
        [before[partition].next_pos for partition in after],
        [head.next_pos for head in after.values()],
        [msgspec.json.encode(head.consumed).decode() for head in after.values()],
        [head.last_recorded_at for head in after.values()],
        [head.owner_epoch for head in after.values()],
        [head.merkle_frontier for head in after.values()],
        [partition for partition, _ in placed.nodes],
        [node.height for _, node in placed.nodes],
        [node.number for _, node in placed.nodes],
        [node.hash for _, node in placed.nodes],
    ]


class LogWriter:
    """`pool`'s search path names the schema. Call `claim` first; only one unit at a time may be appended."""

    def __init__(self, pool: Any, partitions: Iterable[int], clock: Clock) -> None:
        self._pool = pool
        self.partitions = list(partitions)
        self._clock = clock
        self.heads: dict[int, Head] = {}
        self._newest: OrderedDict[tuple[int, bytes], int] = (
            OrderedDict()
        )  # version by (partition, stream), those written last at the end
        self._recording = 0  # recorded instant of the unit under way, or of the last one
        self._answered = 0  # latest instant that a read was answered for
        self._idle = asyncio.Event()
        self._idle.set()

    async def claim(self) -> dict[int, Head]:
        """Takes the partitions over: whoever wrote them before is fenced from here on."""
        rows = await take_over(self._pool, self.partitions)
        if len(rows) != len(self.partitions):
            raise WrongState(f"the log has {len(rows)} of the {len(self.partitions)} partitions", reason="PARTITIONS_DIFFER")
        self.heads = to_heads(rows)
        self._newest.clear()
        return self.heads

    async def owns(self) -> bool:
        """Whether nobody has taken the partitions over since they were claimed."""
        if not self.heads:
            return False
        found = await self._read_heads()
        return all(found[partition].owner_epoch == head.owner_epoch for partition, head in self.heads.items())

    @property
    def recording(self) -> int:
        """The recorded instant of the unit under way, or of the last one."""
        return self._recording

    def consumed(self, stream: str) -> int:
        """Up to where every partition has consumed a stream; 0 is nothing."""
        return min(head.consumed.get(stream, 0) for head in self.heads.values())

    async def append(self, events: Sequence[Versioned], consumed: Consumed, views: Views | None = None) -> list[Record]:
        """Makes the events, the consumed positions and the views durable together, or nothing.

        Raises Fenced when another writer has taken over, VersionGap, and asyncpg.UniqueViolationError when a version is taken
        (a bug, as the writer is the only one): then nothing is written. What the driver raises when the server is down comes
        through too: then nothing is known to be written. In every case the caller goes on from `claim`; but after ViewsReplaced
        it drops what it loaded from the views and calls again.
        """
        self._recording = next_instant(self.heads.values(), self._clock(), self._answered)
        self._idle.clear()
        try:
            placed = await self._place(events, consumed)
            try:
                await self._commit(placed, views)
            except DOWN:
                if not await self._was_committed(placed.heads):
                    raise
        except ViewsReplaced as replaced:
            self.heads = {p: msgspec.structs.replace(head, edition=replaced.edition) for p, head in self.heads.items()}
            raise
        finally:
            self._idle.set()
        self.heads = placed.heads
        self._remember(placed.newest)
        return placed.records

    async def settle(self, known_at: int) -> int:
        """An instant, `known_at` or now, that nothing will be recorded at or before: what is known by then stays the same."""
        instant = min(known_at, self._clock())
        self._answered = max(self._answered, instant)
        while not self._idle.is_set() and self._recording <= instant:
            await self._idle.wait()
        return instant

    async def _place(self, events: Sequence[Versioned], consumed: Consumed) -> Placed:
        leaves: list[bytes] = []
        for first in range(0, len(events), AT_ONCE):
            if first:
                await asyncio.sleep(0)
            leaves += leaves_of(events[first : first + AT_ONCE], self._recording)
        return place(self.heads, events, leaves, consumed, self._recording)

    async def _commit(self, placed: Placed, views: Views | None) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            faults.reach(faults.BEFORE_POSITION)
            await self._move_heads(connection, placed)
            if placed.records:
                await self._check_versions(connection, placed.to_check(self._newest))
                await _insert(connection, placed)
                faults.reach(faults.AFTER_INSERT)
            if views is not None:
                await views(connection, placed.records)
            faults.reach(faults.BEFORE_COMMIT)
        faults.reach(faults.AFTER_COMMIT)

    async def _move_heads(self, connection: Any, placed: Placed) -> None:
        """In one round trip with the tree's nodes."""
        after = placed.heads
        moved, edition = await connection.fetchrow(
            f"WITH {MOVED} SELECT count(*), max(edition) FROM moved",  # noqa: S608
            *moved_columns(self.heads, placed),
        )
        if moved != len(after):
            WRITERS_FENCED.inc()
            raise Fenced("another writer has taken over these partitions")
        if edition != max(head.edition for head in after.values()):
            raise ViewsReplaced(edition)

    async def _check_versions(self, connection: Any, unsure: Sequence[tuple[int, bytes, int]]) -> None:
        """What must be stored before a stream's new events is; so versions have no gap, and the key forbids doubles."""
        if not unsure:
            return
        # A subquery of its own is a look-up in the index for each row; NOT EXISTS may become a join that reads the whole table.
        missing = await connection.fetchrow(
            """SELECT stream, version FROM unnest($1::int4[], $2::bytea[], $3::int8[]) AS before (partition, stream, version)
               WHERE (SELECT 1 FROM events WHERE events.partition = before.partition
                      AND events.stream = before.stream AND events.version = before.version LIMIT 1) IS NULL LIMIT 1""",
            [partition for partition, _, _ in unsure],
            [stream for _, stream, _ in unsure],
            [version for _, _, version in unsure],
        )
        if missing is not None:
            raise version_gap(missing["stream"], missing["version"] + 1)

    def _remember(self, newest: Mapping[tuple[int, bytes], int]) -> None:
        for stream, version in newest.items():
            self._newest[stream] = version
            self._newest.move_to_end(stream)
        while len(self._newest) > KNOWN_STREAMS:
            self._newest.popitem(last=False)  # of a plain dict, the first is looked for behind all that were taken out before

    async def _was_committed(self, after: dict[int, Head]) -> bool:
        """The connection broke around the commit: the head row tells whether it happened."""
        for _ in range(LOOKS):
            try:
                return await self._read_heads() == after and await self._is_kept()
            except TimeoutError:
                return False  # not broken but stuck: another look would be
            except DOWN:
                continue
        return False

    async def _is_kept(self) -> bool:
        """Whether what is seen is where a commit has to be: a primary that was waiting for its standby shows what only it has. A later
        commit that is answered says that all before it are there, too."""
        await self._pool.execute(
            "UPDATE partition_heads SET owner_epoch = owner_epoch WHERE partition = ANY($1::int4[])", self.partitions
        )
        return True

    async def _read_heads(self) -> dict[int, Head]:
        return to_heads(await self._pool.fetch("SELECT * FROM partition_heads WHERE partition = ANY($1::int4[])", self.partitions))


def to_heads(rows: Any) -> dict[int, Head]:
    heads = {row["partition"]: _to_head(row) for row in rows}
    return dict(sorted(heads.items()))


def _to_head(row: Any) -> Head:
    return msgspec.structs.replace(head_of(row, msgspec.json.decode(row["consumed"])), edition=row["edition"])


async def _insert(connection: Any, placed: Placed) -> None:
    """COPY in the binary format: against an INSERT from parallel arrays it takes two thirds of the server's time and half of ours."""
    for first in range(0, len(placed.records), COPIED_AT_ONCE):
        some = slice(first, first + COPIED_AT_ONCE)
        rows = map(to_row, placed.records[some], placed.leaves[some])
        await connection.copy_records_to_table("events", records=rows, columns=STORED_COLUMNS)
