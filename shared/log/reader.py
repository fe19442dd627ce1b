"""Reads a log: one or many streams, or a partition in order; each as far as it was known at some instant."""

from collections.abc import Sequence
from typing import Any

from shared.events.catalogue import Entry
from shared.instants import END_OF_TIME
from shared.log.records import Record

COLUMNS = "partition, pos, version, recorded_at, stream, event_id, type_id, schema_version, occurred_at, header, envelope"


class LogReader:
    """`pool`'s search path names the schema."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def streams(self, streams: Sequence[tuple[int, bytes]], known_at: int = END_OF_TIME) -> list[Record]:
        """Whole streams, given as (partition, stream), each in the order of its versions, recorded at or before `known_at`."""
        rows = await self._pool.fetch(
            f"""SELECT {COLUMNS} FROM unnest($1::int4[], $2::bytea[]) AS wanted (p, s)
                JOIN events ON partition = p AND stream = s WHERE recorded_at <= $3 ORDER BY partition, stream, version""",  # noqa: S608
            [partition for partition, _ in streams],
            [stream for _, stream in streams],
            known_at,
        )
        return [to_record(row) for row in rows]

    async def version(self, partition: int, stream: bytes) -> int:
        """Of the newest event in a stream; 0 when it has none."""
        newest = await self._pool.fetchval(
            "SELECT max(version) FROM events WHERE partition = $1 AND stream = $2", partition, stream
        )
        return newest or 0

    async def partition(self, partition: int, first: int, limit: int) -> list[Record]:
        """Up to `limit` events in the order of their positions, from position `first`."""
        rows = await self._pool.fetch(
            f"SELECT {COLUMNS} FROM events WHERE partition = $1 AND pos >= $2 ORDER BY pos LIMIT $3",  # noqa: S608
            partition,
            first,
            limit,
        )
        return [to_record(row) for row in rows]

    async def changes(self, partition: int, first: int, limit: int) -> list[tuple[int, bytes]]:
        """(position, stream) of up to `limit` events from position `first`."""
        rows = await self._pool.fetch(
            "SELECT pos, stream FROM events WHERE partition = $1 AND pos >= $2 ORDER BY pos LIMIT $3", partition, first, limit
        )
        return [(row["pos"], row["stream"]) for row in rows]


def to_record(row: Any) -> Record:
    entry = Entry(
        row["stream"],
        row["event_id"],
        row["type_id"],
        row["schema_version"],
        row["occurred_at"],
        row["header"],
        row["envelope"],
    )
    return Record(row["partition"], row["pos"], row["version"], row["recorded_at"], entry)
