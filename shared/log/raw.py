"""A log as it is stored, for those who check it: nothing decoded, nothing decrypted, nothing left out."""

from collections.abc import AsyncGenerator
from typing import Any

import msgspec

from shared.events.catalogue import Entry
from shared.log.merkle import Node
from shared.log.placing import Head, head_of
from shared.log.records import COLUMNS, Record, to_record

PAGE_EVENTS = 500
PAGE_ROWS = 5_000  # nodes and checkpoints, a hundred or a few hundred bytes each
SMALLEST, LARGEST = -(2**63), 2**63 - 1  # that a column of positions can hold

TABLES = ("partition_heads", "events", "merkle_nodes", "checkpoints")
# A look into the index for each partition; SELECT DISTINCT would read it all.
DISTINCT_PARTITIONS = """
    WITH RECURSIVE found (partition) AS (
        SELECT min(partition) FROM {table}
        UNION ALL
        SELECT (SELECT min(partition) FROM {table} WHERE {table}.partition > found.partition) FROM found WHERE partition IS NOT NULL
    )
    SELECT partition FROM found WHERE partition IS NOT NULL"""


class RawEvent(msgspec.Struct, frozen=True):
    """`leaf` is what was stored beside the event; a checker makes its own."""

    record: Record
    leaf: bytes

    @property
    def entry(self) -> Entry:
        return self.record.entry


class RawHead(msgspec.Struct, frozen=True):
    """A head, and the ends of the events at the same instant; -1 when there are none."""

    partition: int
    head: Head
    first_pos: int
    last_pos: int


class RawCheckpoint(msgspec.Struct, frozen=True):
    """`tree_size` is the row's; the note has its own."""

    tree_size: int
    note: str


class RawLog:
    """`pool`'s search path names the schema. Pages are lists; none is empty."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def partitions(self) -> list[int]:
        """Numbers of the partitions of which there is anything: a head, events, nodes or checkpoints."""
        found: set[int] = set()
        for table in TABLES:
            rows = await self._pool.fetch(DISTINCT_PARTITIONS.format(table=table))
            found.update(row["partition"] for row in rows)
        return sorted(found)

    async def heads(self) -> list[RawHead]:
        rows = await self._pool.fetch(
            """SELECT partition, next_pos, last_recorded_at, owner_epoch, merkle_frontier,
                      coalesce((SELECT min(pos) FROM events WHERE events.partition = heads.partition), -1) AS first_pos,
                      coalesce((SELECT max(pos) FROM events WHERE events.partition = heads.partition), -1) AS last_pos
               FROM partition_heads AS heads ORDER BY partition"""
        )
        return [
            RawHead(
                row["partition"],
                head_of(row, {}),
                row["first_pos"],
                row["last_pos"],
            )
            for row in rows
        ]

    async def events(self, partition: int, first: int = SMALLEST) -> AsyncGenerator[list[RawEvent], None]:
        """A partition in the order of its positions, from `first` to the end; rows that can't be are read as well."""
        while True:
            # Ties: should the keys of the table be gone, a second row at the last position of a page is still read.
            rows = await self._pool.fetch(
                f"""SELECT {COLUMNS}, leaf FROM events WHERE partition = $1 AND pos >= $2
                    ORDER BY pos FETCH FIRST $3 ROWS WITH TIES""",  # noqa: S608
                partition,
                first,
                PAGE_EVENTS,
            )
            if rows:
                yield [_to_raw(row) for row in rows]
            if len(rows) < PAGE_EVENTS or rows[-1]["pos"] == LARGEST:
                return
            first = rows[-1]["pos"] + 1

    async def stream(self, partition: int, stream: bytes, size: int) -> AsyncGenerator[list[RawEvent], None]:
        """A stream in the order of its versions, as far as it is among the first `size` events of its partition."""
        version = 0
        while True:
            rows = await self._pool.fetch(
                f"""SELECT {COLUMNS}, leaf FROM events
                    WHERE partition = $1 AND stream = $2 AND version > $3 AND pos < $4 ORDER BY version LIMIT $5""",  # noqa: S608
                partition,
                stream,
                version,
                size,
                PAGE_EVENTS,
            )
            if rows:
                yield [_to_raw(row) for row in rows]
                version = rows[-1]["version"]
            if len(rows) < PAGE_EVENTS:
                return

    async def newest(self, partition: int, stream: bytes, size: int) -> RawEvent | None:
        """Of a stream, as far as it is among the first `size` events of its partition."""
        row = await self._pool.fetchrow(
            f"""SELECT {COLUMNS}, leaf FROM events
                WHERE partition = $1 AND stream = $2 AND pos < $3 ORDER BY version DESC LIMIT 1""",  # noqa: S608
            partition,
            stream,
            size,
        )
        return _to_raw(row) if row else None

    async def has_later(self, partition: int, stream: bytes, version: int, size: int) -> bool:
        """Whether the log has this version of a stream behind the first `size` events of its partition."""
        return bool(
            await self._pool.fetchval(
                """SELECT EXISTS (SELECT FROM events JOIN partition_heads USING (partition)
                                  WHERE partition = $1 AND stream = $2 AND version = $3 AND pos >= $4 AND pos < next_pos)""",
                partition,
                stream,
                version,
                size,
            )
        )

    async def nodes(self, partition: int) -> AsyncGenerator[list[Node], None]:
        """In the order of height and number."""
        after: tuple[int | None, int | None] = (None, None)
        while True:
            rows = await self._pool.fetch(
                """SELECT height, number, hash FROM merkle_nodes
                   WHERE partition = $1 AND ($2::int4 IS NULL OR (height, number) > ($2, $3::int8)) ORDER BY height, number LIMIT $4""",
                partition,
                *after,
                PAGE_ROWS,
            )
            if rows:
                yield [Node(*row) for row in rows]
                after = (rows[-1]["height"], rows[-1]["number"])
            if len(rows) < PAGE_ROWS:
                return

    async def checkpoints(self, partition: int, after: int) -> AsyncGenerator[list[RawCheckpoint], None]:
        """Those of a tree larger than `after`, smallest first."""
        while True:
            rows = await self._pool.fetch(
                "SELECT tree_size, note FROM checkpoints WHERE partition = $1 AND tree_size > $2 ORDER BY tree_size LIMIT $3",
                partition,
                after,
                PAGE_ROWS,
            )
            if rows:
                yield [RawCheckpoint(*row) for row in rows]
                after = rows[-1]["tree_size"]
            if len(rows) < PAGE_ROWS:
                return


def _to_raw(row: Any) -> RawEvent:
    *columns, leaf = row
    return RawEvent(to_record(columns), leaf)
