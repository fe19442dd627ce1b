"""A ProcessRecorder of the library over one partition of a log.

The rules are those of `shared.log.writer`: the head row moves in the same transaction as the events, an UPDATE that doesn't
find the expected position and owner means that someone else has written, and positions have no gap.
"""

from collections.abc import Callable, Iterable, Sequence
from threading import Lock
from typing import Any, ClassVar
from uuid import UUID

from eventsourcing.persistence import (
    DataError,
    IntegrityError,
    Notification,
    OperationalError,
    PersistenceError,
    ProcessRecorder,
    ProgrammingError,
    StoredEvent,
    Tracking,
)
from psycopg import Cursor
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from shared.errors import Fenced, VersionGap
from shared.ids import partition_of
from shared.instants import Clock, now_us
from shared.log.placing import HEAD_COLUMNS, NODE_COLUMNS, Head, Placed, Versioned, head_of, leaves_of, next_instant, place
from shared.log.reader import NEWEST
from shared.log.records import COLUMNS, STORED_COLUMNS, Record, to_record, to_row
from shared.log.seam.datastore import Datastore
from shared.log.seam.rows import stream_of, to_entry, to_notification, to_stored_event
from shared.log.seam.subscription import PollingSubscription
from shared.log.seam.takeover import take_over

EVENT_TYPES = (
    "int4",
    "int8",
    "int8",
    "int8",
    "bytea",
    "bytea",
    "text",
    "int4",
    "int8",
    "bytea",
    "bytea",
    "bytea",
)  # of STORED_COLUMNS
NODE_TYPES = ("int4", "int4", "int8", "bytea")
Views = Callable[[Cursor[DictRow], list[Record]], None]


class WriterFenced(Fenced, PersistenceError):
    """Our Fenced, which users of the library can catch as its PersistenceError. Not for a blind retry: `claim` first."""


class PartitionRecorder(ProcessRecorder):
    """Reads at once; writes after `claim`. Threads may share it: writes queue up, as a partition has one writer.

    originator_version is our version, notification id our position + 1; a tracking id is the position consumed of the log
    that its application name names. Whatever commits, commits with it, and so does what `views` writes.
    """

    first_versions: ClassVar = frozenset({1})  # that a stream may begin with

    def __init__(self, datastore: Datastore, partition: int, partitions: int, clock: Clock = now_us) -> None:
        self._datastore = datastore
        self._partition = partition
        self._partitions = partitions
        self._clock = clock
        self._writing = Lock()
        self._head: Head | None = None
        self.views: Views | None = None

    def claim(self) -> Head:
        """Takes the partition over: whoever wrote it before is fenced from here on."""
        with self._writing:
            with self._datastore.transaction() as cursor:
                head = _to_head(take_over(cursor, self._partition))
            self._head = head
            return head

    def insert_events(
        self, stored_events: Sequence[StoredEvent], *, tracking: Tracking | None = None, **kwargs: Any
    ) -> Sequence[int]:
        """Raises WriterFenced; IntegrityError when a version or tracking id is taken; DataError for what isn't our form."""
        with self._writing:
            before = self._head
            if before is None:
                raise ProgrammingError("claim the partition before the first write")
            placed = self._place(before, stored_events, _consumed(before, tracking))
            after = placed.heads[self._partition]
            if after != before:
                self._commit(before, after, placed)
                self._head = after
        return [record.pos + 1 for record in placed.records]

    def insert_tracking(self, tracking: Tracking) -> None:
        self.insert_events([], tracking=tracking)

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        with self._datastore.transaction() as cursor:
            cursor.execute(
                f"""SELECT {COLUMNS} FROM events
                    WHERE partition = %s AND stream = %s AND version > %s AND version <= %s
                    ORDER BY version {"DESC" if desc else "ASC"} LIMIT %s""",  # noqa: S608
                [self._partition, stream_of(originator_id), -1 if gt is None else gt, NEWEST if lte is None else lte, limit],
            )
            records = [to_record(row.values()) for row in cursor]
        return [to_stored_event(record.entry, record.version) for record in records]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        first = (start or 0) if inclusive_of_start else (start or 0) + 1
        with self._datastore.transaction() as cursor:
            cursor.execute(
                f"""SELECT {COLUMNS} FROM events
                    WHERE partition = %(partition)s AND pos >= %(first)s AND pos <= %(last)s
                      AND (%(topics)s::text[] IS NULL OR type_id || '/' || schema_version = ANY(%(topics)s))
                    ORDER BY pos LIMIT %(limit)s""",  # noqa: S608
                {
                    "partition": self._partition,
                    "first": first - 1,
                    "last": NEWEST if stop is None else stop - 1,
                    "topics": list(topics) or None,
                    "limit": limit,
                },
            )
            return [to_notification(to_record(row.values())) for row in cursor]

    def max_notification_id(self) -> int | None:
        return self._read_head().next_pos or None

    def max_tracking_id(self, application_name: str) -> int | None:
        return self._read_head().consumed.get(application_name)

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> PollingSubscription:
        return PollingSubscription(self, gt=gt, topics=topics)

    def _place(self, head: Head, stored_events: Sequence[StoredEvent], consumed: dict[str, int]) -> Placed:
        events = []
        for stored in stored_events:
            entry = to_entry(stored)
            if partition_of(entry.stream, self._partitions) != self._partition:
                raise DataError(f"the stream doesn't belong to partition {self._partition} of {self._partitions}")
            events.append(Versioned(self._partition, stored.originator_version, entry))
        try:
            recorded_at = next_instant([head], self._clock())
            return place({self._partition: head}, events, leaves_of(events, recorded_at), consumed, recorded_at)
        except VersionGap as gap:
            raise IntegrityError(str(gap)) from gap

    def _commit(self, before: Head, after: Head, placed: Placed) -> None:
        try:
            with self._datastore.transaction() as cursor:
                self._move_head(cursor, before, after)
                if placed.records:
                    self._check_versions(cursor, placed)
                    _insert(cursor, placed)
                if self.views is not None:
                    self.views(cursor, placed.records)
        except OperationalError:
            if not self._was_committed(after):
                raise

    def _check_versions(self, cursor: Cursor[DictRow], placed: Placed) -> None:
        """What stands before the first new version of each stream is stored, as in `shared.log.writer`."""
        for partition, stream, version in placed.to_check({}):
            if version + 1 in self.first_versions:
                continue
            cursor.execute("SELECT FROM events WHERE partition = %s AND stream = %s AND version = %s", [partition, stream, version])
            if cursor.fetchone() is None:
                raise IntegrityError("versions of a stream follow each other without a gap")

    def _move_head(self, cursor: Cursor[DictRow], before: Head, after: Head) -> None:
        cursor.execute(
            """UPDATE partition_heads SET next_pos = %s, consumed = %s, last_recorded_at = %s, merkle_frontier = %s
               WHERE partition = %s AND next_pos = %s AND owner_epoch = %s""",
            [
                after.next_pos,
                Jsonb(after.consumed),
                after.last_recorded_at,
                after.merkle_frontier,
                self._partition,
                before.next_pos,
                before.owner_epoch,
            ],
        )
        if cursor.rowcount != 1:
            raise WriterFenced("another writer has taken over this partition")

    def _was_committed(self, after: Head) -> bool:
        """The connection broke around the commit: the head row tells whether it happened."""
        try:
            return self._read_head() == after == self._kept_head()
        except OperationalError:
            return False

    def _read_head(self) -> Head:
        with self._datastore.transaction() as cursor:
            cursor.execute(f"SELECT {HEAD_COLUMNS} FROM partition_heads WHERE partition = %s", [self._partition])  # noqa: S608
            return _to_head(cursor.fetchone())

    def _kept_head(self) -> Head:
        """As `shared.log.writer` asks: what a later commit is answered for has got to the standby."""
        with self._datastore.transaction() as cursor:
            cursor.execute(
                f"UPDATE partition_heads SET owner_epoch = owner_epoch WHERE partition = %s RETURNING {HEAD_COLUMNS}",  # noqa: S608
                [self._partition],
            )
            return _to_head(cursor.fetchone())


def _to_head(row: DictRow | None) -> Head:
    if row is None:
        raise ProgrammingError("the log has no such partition")
    return head_of(row, row["consumed"])


def _consumed(head: Head, tracking: Tracking | None) -> dict[str, int]:
    if tracking is None:
        return {}
    if tracking.notification_id <= head.consumed.get(tracking.application_name, 0):
        raise IntegrityError(f"{tracking.application_name} is consumed up to there already")
    return {tracking.application_name: tracking.notification_id}


def _insert(cursor: Cursor[DictRow], placed: Placed) -> None:
    _copy(cursor, "events", STORED_COLUMNS, EVENT_TYPES, map(to_row, placed.records, placed.leaves))
    if placed.nodes:
        _copy(cursor, "merkle_nodes", NODE_COLUMNS, NODE_TYPES, ((partition, *node) for partition, node in placed.nodes))


def _copy(
    cursor: Cursor[DictRow], table: str, columns: Sequence[str], types: Sequence[str], rows: Iterable[tuple[Any, ...]]
) -> None:
    """In the binary format, as the hot path writes."""
    with cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)
