"""Reads a log: one or many streams, or a partition in order; each as far as it was known at some instant."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from shared.instants import END_OF_TIME
from shared.log.records import COLUMNS, Record, to_record
from shared.store.pool import not_in_a_short_transaction

BEGINNING = 0  # of recorded time
BEGINNING_OF_TIME = -(2**63)  # of what happened
NEWEST = 2**63 - 1  # a version or position behind all others

Place = tuple[
    int, int, int, int
]  # occurred at, recorded at, partition, position: total, and among equal instants in order of arrival
FIRST_PLACE: Place = (BEGINNING_OF_TIME, 0, 0, -1)
LAST_PLACE: Place = (NEWEST, NEWEST, 2**31 - 1, NEWEST)

# Each stream is looked up in the index by itself. As a plain join it was planned, where the table had grown since its statistics
# were made, as a comparison of every event with every stream: five seconds for a customer of 1,000 streams.
OF_STREAMS = """unnest($1::int4[], $2::bytea[]) AS wanted (p, s)
                CROSS JOIN LATERAL (SELECT * FROM events WHERE partition = p AND stream = s OFFSET 0) AS found"""


# What of the stretches is wanted, by `history`'s bounds.
WANTED = """recorded_at BETWEEN $5 AND $6 AND ($7::text[] IS NULL OR type_id = ANY($7))
            AND (occurred_at <= $8 OR type_id = ANY($9::text[]))"""


class Stretch(msgspec.Struct, frozen=True):
    """Versions `first` to `last` of a stream, both included."""

    partition: int
    stream: bytes
    first: int = 1
    last: int = NEWEST


class Happened(msgspec.Struct, frozen=True, kw_only=True):
    """Events of some streams by when they happened. All bounds are included.

    What counts at all is what had happened by `valid_at` (of `timeless` types all) and was recorded by `known_at`; of that is
    wanted what happened from `since` to `until`, of these `types` (None: of all), and stands behind `before`, where a page ended
    (in front of it in time; with `earliest_first`, after it). `newest` are, by partition, the last positions that count at all.
    """

    valid_at: int = END_OF_TIME
    known_at: int = END_OF_TIME
    timeless: Collection[str] = ()
    since: int = BEGINNING_OF_TIME
    until: int = END_OF_TIME
    types: Collection[str] | None = None
    before: Place | None = None
    earliest_first: bool = False
    newest: Mapping[int, int] = {}


class LogReader:
    """`pool`'s search path names the schema."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def streams(self, streams: Sequence[tuple[int, bytes]], known_at: int = END_OF_TIME) -> list[Record]:
        """Whole streams, given as (partition, stream), each in the order of its versions, recorded at or before `known_at`."""
        return await self.history([Stretch(partition, stream) for partition, stream in streams], known_at=known_at)

    async def history(
        self,
        stretches: Sequence[Stretch],
        *,
        recorded_since: int = BEGINNING,
        known_at: int = END_OF_TIME,
        types: Collection[str] | None = None,
        valid_at: int = NEWEST,
        timeless: Collection[str] = (),
    ) -> list[Record]:
        """Of one or many streams some versions each, in their order, of these types (None: all); recorded from `recorded_since` to
        `known_at`, both included, and of what had happened by `valid_at` (of `timeless` types all).

        What was learned on one day is asked for by both; what was known at its end by `known_at` alone.
        """
        not_in_a_short_transaction()
        bounds = recorded_since, known_at, None if types is None else list(types), valid_at, list(timeless)
        if len(stretches) == 1:
            return await self._one_stretch(stretches[0], bounds)
        rows = await self._pool.fetch(
            f"""SELECT {COLUMNS} FROM unnest($1::int4[], $2::bytea[], $3::int8[], $4::int8[]) AS wanted (p, s, f, l)
                JOIN events ON partition = p AND stream = s AND version BETWEEN f AND l
                WHERE {WANTED} ORDER BY partition, stream, version""",  # noqa: S608
            [stretch.partition for stretch in stretches],
            [stretch.stream for stretch in stretches],
            [stretch.first for stretch in stretches],
            [stretch.last for stretch in stretches],
            *bounds,
        )
        return [to_record(row) for row in rows]

    async def _one_stretch(self, stretch: Stretch, bounds: tuple[Any, ...]) -> list[Record]:
        """As `history` would read it; without the join it takes the server little more than half the time."""
        rows = await self._pool.fetch(
            f"""SELECT {COLUMNS} FROM events WHERE partition = $1 AND stream = $2 AND version BETWEEN $3 AND $4
                AND {WANTED} ORDER BY version""",  # noqa: S608
            stretch.partition,
            stretch.stream,
            stretch.first,
            stretch.last,
            *bounds,
        )
        return [to_record(row) for row in rows]

    async def differing(
        self, stretches: Sequence[Stretch], one: tuple[int, int], other: tuple[int, int], timeless: Collection[str]
    ) -> list[Record]:
        """Of one or many streams some versions each, in their order: what counts at only one of two points. At each, of (valid_at,
        known_at), what had happened by the one (of `timeless` types all) and was recorded by the other."""
        not_in_a_short_transaction()
        rows = await self._pool.fetch(
            f"""SELECT {COLUMNS} FROM unnest($1::int4[], $2::bytea[], $3::int8[], $4::int8[]) AS wanted (p, s, f, l)
                CROSS JOIN LATERAL (SELECT * FROM events WHERE partition = p AND stream = s AND version BETWEEN f AND l OFFSET 0) AS found
                WHERE (recorded_at <= $6 AND (occurred_at <= $5 OR type_id = ANY($9::text[])))
                   <> (recorded_at <= $8 AND (occurred_at <= $7 OR type_id = ANY($9::text[])))
                ORDER BY partition, stream, version""",  # noqa: S608
            [stretch.partition for stretch in stretches],
            [stretch.stream for stretch in stretches],
            [stretch.first for stretch in stretches],
            [stretch.last for stretch in stretches],
            *one,
            *other,
            list(timeless),
        )
        return [to_record(row) for row in rows]

    async def of_versions(self, partition: int, stream: bytes, versions: Collection[int]) -> list[Record]:
        rows = await self._pool.fetch(
            f"SELECT {COLUMNS} FROM events WHERE partition = $1 AND stream = $2 AND version = ANY($3::int8[]) ORDER BY version",  # noqa: S608
            partition,
            stream,
            list(versions),
        )
        return [to_record(row) for row in rows]

    async def of_types(self, streams: Sequence[tuple[int, bytes]], type_ids: Collection[str], known_at: int) -> list[Record]:
        """Of streams, given as (partition, stream), the events of some types, recorded at or before `known_at`."""
        rows = await self._pool.fetch(
            f"""SELECT {COLUMNS} FROM {OF_STREAMS} WHERE type_id = ANY($3::text[]) AND recorded_at <= $4""",  # noqa: S608
            *_columns(streams),
            list(type_ids),
            known_at,
        )
        return [to_record(row) for row in rows]

    async def of_ids(self, streams: Sequence[tuple[int, bytes]], event_ids: Collection[bytes]) -> list[Record]:
        """Of streams, given as (partition, stream), the events that have one of these ids."""
        rows = await self._pool.fetch(
            f"""SELECT {COLUMNS} FROM {OF_STREAMS} WHERE event_id = ANY($3::bytea[])""",  # noqa: S608
            *_columns(streams),
            list(event_ids),
        )
        return [to_record(row) for row in rows]

    async def happened(self, streams: Sequence[tuple[int, bytes]], which: Happened, limit: int) -> list[Record]:
        """Up to `limit` events of streams, given as (partition, stream), by when they happened, then by place.

        There is no index by when things happened: the server looks at each event of the streams, half a microsecond each.
        """
        behind, order, end = (">", "ASC", FIRST_PLACE) if which.earliest_first else ("<", "DESC", LAST_PLACE)
        not_in_a_short_transaction()
        rows = await self._pool.fetch(
            f"""SELECT {COLUMNS} FROM {OF_STREAMS}
                WHERE recorded_at <= $3 AND (occurred_at <= $4 OR type_id = ANY($5::text[]))
                  AND occurred_at BETWEEN $6 AND $7 AND ($8::text[] IS NULL OR type_id = ANY($8))
                  AND (occurred_at, recorded_at, partition, pos) {behind} ($9::int8, $10::int8, $11::int4, $12::int8)
                  AND NOT EXISTS (SELECT 1 FROM unnest($14::int4[], $15::int8[]) AS newest (q, l) WHERE q = partition AND pos > l)
                ORDER BY occurred_at {order}, recorded_at {order}, partition {order}, pos {order} LIMIT $13""",  # noqa: S608
            *_columns(streams),
            which.known_at,
            which.valid_at,
            list(which.timeless),
            which.since,
            which.until,
            None if which.types is None else list(which.types),
            *(which.before or end),
            limit,
            *map(list, (which.newest, which.newest.values())),
        )
        return [to_record(row) for row in rows]

    async def learnt(self, streams: Sequence[tuple[int, bytes]], since: int, known_at: int, limit: int) -> list[Record]:
        """Up to `limit` events of streams, given as (partition, stream), by when they were recorded: from `since` to `known_at`."""
        rows = await self._pool.fetch(
            f"""SELECT {COLUMNS} FROM unnest($1::int4[], $2::bytea[]) AS wanted (p, s)
                CROSS JOIN LATERAL (SELECT * FROM events WHERE partition = p AND stream = s AND recorded_at BETWEEN $3 AND $4
                                    ORDER BY version LIMIT $5) AS found
                ORDER BY recorded_at, partition, pos LIMIT $5""",  # noqa: S608
            *(*_columns(streams), since, known_at, limit),
        )
        return [to_record(row) for row in rows]

    async def anything_happened(self, streams: Sequence[tuple[int, bytes]], by_then: Happened) -> bool:
        """Whether any event counts that isn't timeless."""
        found: bool = await self._pool.fetchval(
            f"""SELECT EXISTS (SELECT 1 FROM {OF_STREAMS}
                              WHERE recorded_at <= $3 AND occurred_at <= $4 AND type_id <> ALL($5::text[]))""",  # noqa: S608
            *_columns(streams),
            by_then.known_at,
            by_then.valid_at,
            list(by_then.timeless),
        )
        return found

    async def position_after(self, partition: int, known_at: int) -> int:
        """The first position that was recorded after an instant; the next one to be written when there is none.

        Recorded time never runs backwards within a partition, so halving the positions finds it without an index on time.
        """
        position: int = await self._pool.fetchval(
            """WITH RECURSIVE search (low, high) AS (
                   SELECT 0::int8, coalesce(max(pos) + 1, 0) FROM events WHERE partition = $1
                   UNION ALL
                   SELECT CASE WHEN recorded_at <= $2 THEN pos + 1 ELSE low END, CASE WHEN recorded_at <= $2 THEN high ELSE pos END
                   FROM search JOIN events ON partition = $1 AND pos = (low + high) / 2 WHERE low < high
               )
               SELECT low FROM search WHERE low = high""",
            partition,
            known_at,
        )
        return position

    async def version(self, partition: int, stream: bytes) -> int:
        """Of the newest event in a stream; 0 when it has none."""
        newest = await self._pool.fetchval(
            "SELECT max(version) FROM events WHERE partition = $1 AND stream = $2", partition, stream
        )
        return newest or 0

    async def versions(self, partition: int, streams: Sequence[bytes]) -> dict[bytes, int]:
        """Of the newest event of each stream that has any."""
        rows = await self._pool.fetch(
            "SELECT stream, max(version) FROM events WHERE partition = $1 AND stream = ANY($2::bytea[]) GROUP BY stream",
            partition,
            streams,
        )
        return dict(rows)

    async def versions_by(self, streams: Sequence[tuple[int, bytes]], known_at: int) -> dict[bytes, int]:
        """Of the last event of each stream, given as (partition, stream), that was recorded at or before `known_at`, where there is one.

        Recorded time never runs backwards within a stream, so halving the versions finds it without a look at what came later.
        """
        rows = await self._pool.fetch(
            """WITH RECURSIVE search (p, s, low, high) AS (
                   SELECT p, s, 0::int8, (SELECT coalesce(max(version), 0) FROM events WHERE partition = p AND stream = s)
                   FROM unnest($1::int4[], $2::bytea[]) AS wanted (p, s)
                   UNION ALL
                   SELECT p, s, CASE WHEN recorded_at <= $3 THEN middle ELSE low END, CASE WHEN recorded_at <= $3 THEN high ELSE middle - 1 END
                   FROM (SELECT p, s, low, high, (low + high + 1) / 2 AS middle FROM search WHERE low < high) AS halved
                   CROSS JOIN LATERAL (SELECT recorded_at FROM events WHERE partition = p AND stream = s AND version = middle OFFSET 0) AS found
               )
               SELECT s, low FROM search WHERE low = high AND low > 0""",
            *_columns(streams),
            known_at,
        )
        return dict(rows)

    async def newest(self, partition: int, stream: bytes, known_at: int = END_OF_TIME) -> Record | None:
        """The last event of a stream that was recorded at or before `known_at`."""
        row = await self._pool.fetchrow(
            f"""SELECT {COLUMNS} FROM events WHERE partition = $1 AND stream = $2 AND recorded_at <= $3
                ORDER BY version DESC LIMIT 1""",  # noqa: S608
            partition,
            stream,
            known_at,
        )
        return to_record(row) if row else None

    async def partition(self, partition: int, first: int, limit: int, last: int = NEWEST) -> list[Record]:
        """Up to `limit` events in the order of their positions, from position `first` to `last`, both included."""
        rows = await self._pool.fetch(
            f"SELECT {COLUMNS} FROM events WHERE partition = $1 AND pos BETWEEN $2 AND $4 ORDER BY pos LIMIT $3",  # noqa: S608
            partition,
            first,
            limit,
            last,
        )
        return [to_record(row) for row in rows]

    async def changes(self, partition: int, first: int, limit: int) -> list[tuple[int, bytes]]:
        """(position, stream) of up to `limit` events from position `first`."""
        rows = await self._pool.fetch(
            "SELECT pos, stream FROM events WHERE partition = $1 AND pos >= $2 ORDER BY pos LIMIT $3", partition, first, limit
        )
        return [(row["pos"], row["stream"]) for row in rows]


def _columns(streams: Sequence[tuple[int, bytes]]) -> tuple[list[int], list[bytes]]:
    return [partition for partition, _ in streams], [stream for _, stream in streams]
