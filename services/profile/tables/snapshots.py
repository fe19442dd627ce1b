"""Snapshots: states of long streams at some of their versions, so that a read of the past replays only what came after.

A read of what had happened by some instant takes one in which nothing happened later, and passes over blocks in which nothing
happened before. Table `snapshots`. A cache and never the truth: each is sealed under its customer's key, bound to its place and to the
fold that made it, its version and what it keeps; one that doesn't fit is ignored and the stream is replayed from its beginning.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from copy import copy
from typing import Any, Self

import msgspec

from services.profile.domain.rules import PLAIN, Keeping, fold_digest
from services.profile.domain.state import Held, State, is_kept_for
from services.profile.tables.making_once import MakingOnce
from shared.events.catalogue import encode
from shared.events.customer import TIMELESS_IDS
from shared.ids import partition_of
from shared.instants import END_OF_TIME
from shared.telemetry import logger
from shared.vault import DataKey, EnvelopeBroken

SNAPSHOT_EVERY = 250  # events of a stream: reading and replaying so many takes a millisecond or two
KEPT_AT_ONCE_BYTES = 4 * 1024 * 1024  # of one statement, and of what waits for it in memory

decode_state = msgspec.msgpack.Decoder(State).decode
log = logger("snapshots")


NEVER = -(2**63)  # before everything that happened
PAST_COLUMNS = "version, pos, recorded_at, first, earliest_at, latest_at, timeless"


class Mark(msgspec.Struct, frozen=True):
    """Where in a stream a snapshot stands, and what it tells of valid time without being opened.

    Of the versions `first` to `version` nothing had happened before `earliest_at`, and some are `timeless`; everything up to `version`
    that isn't had happened by `latest_at`.
    """

    stream: bytes
    version: int
    pos: int
    recorded_at: int
    first: int
    earliest_at: int
    latest_at: int
    timeless: bool = False


class Snapshot(msgspec.Struct, frozen=True):
    """A state as of a mark, whose event stands at `pos` and was recorded at `recorded_at`; both sealed."""

    mark: Mark
    envelope: bytes
    seal: bytes  # of the mark alone: blocks are passed over by what it says


class Due(msgspec.Struct, frozen=True):
    """A state that a snapshot is to be made of, as it is kept."""

    stream: bytes
    version: int
    state: bytes

    def __repr__(self) -> str:
        return f"<Due at {self.version} sealed>"


class Past(msgspec.Struct):
    """A stream as of some instants. `latest_at` is when the latest that counts happened, of what isn't timeless."""

    held: Held = msgspec.field(default_factory=Held)
    latest_at: int = NEVER
    redacted: int = 0  # events that count and whose personal part is gone


class Snapshots:
    def __init__(self, pool: Any, partitions: int, every: int = SNAPSHOT_EVERY) -> None:
        self._pool = pool
        self._partitions = partitions
        self.every = every
        self._keeping = PLAIN
        self._fold = fold_digest(PLAIN)
        self._making = MakingOnce()

    def of(self, keeping: Keeping) -> Self:
        """Those that were made by a fold that keeps this."""
        others = copy(self)
        others._keeping, others._fold = keeping, fold_digest(keeping)
        return others

    def making(self, stream: bytes) -> asyncio.Lock:
        """By one read at a time."""
        return self._making.turn((stream, self._fold))

    def is_due(self, version: int) -> bool:
        return version % self.every == 0

    def is_due_between(self, kept: int, version: int) -> bool:
        """After the version `kept`, up to `version`."""
        return version // self.every > kept // self.every

    def take(self, held: Held, mark: Mark, key: DataKey) -> Snapshot:
        """Of a state as it is now; it may evolve afterwards."""
        return self.seal(encode(held.state), mark, key)

    def seal(self, state: bytes, mark: Mark, key: DataKey) -> Snapshot:
        binding = self._binding(mark)
        return Snapshot(mark, key.seal(state, binding), key.seal(b"", binding))

    async def next_marks(self, stream: bytes, versions: Sequence[int]) -> list[Mark] | None:
        """Of these rising versions at which one is due, those after the newest that is kept. None: between that and them there are others."""
        place = partition_of(stream, self._partitions), stream
        query = "SELECT version, latest_at FROM snapshots WHERE partition = $1 AND stream = $2 AND fold = $3 ORDER BY version DESC LIMIT 1"
        last, latest_at = await self._pool.fetchrow(query, *place, self._fold) or (0, NEVER)
        wanted = [version for version in versions if version > last]
        if wanted != list(range(last + self.every, last + self.every * len(wanted) + 1, self.every)):
            return None
        rows = await self._pool.fetch(
            """SELECT v AS version, max(pos) AS pos, max(recorded_at) AS recorded_at, min(occurred_at) FILTER (WHERE type_id <> ALL($5)) AS earliest_at,
                      max(occurred_at) FILTER (WHERE type_id <> ALL($5)) AS latest_at, bool_or(type_id = ANY($5)) AS timeless
               FROM unnest($3::int8[]) AS wanted (v) JOIN events ON version BETWEEN v - $4 + 1 AND v AND partition = $1 AND stream = $2
               GROUP BY v ORDER BY v""",
            *place,
            wanted,
            self.every,
            list(TIMELESS_IDS),
        )
        marks = []
        for row in rows:
            latest_at = max(latest_at, NEVER if row["latest_at"] is None else row["latest_at"])
            earliest_at = END_OF_TIME if row["earliest_at"] is None else row["earliest_at"]
            at = row["version"], row["pos"], row["recorded_at"], row["version"] - self.every + 1
            marks.append(Mark(stream, *at, earliest_at, latest_at, row["timeless"]))
        return marks

    async def keep(self, taken: Sequence[Snapshot]) -> None:
        """Of one who was erased meanwhile none is kept: her state, which an erasure empties before it purges, is locked until then."""
        if taken:
            marks = [one.mark for one in taken]
            await self._pool.execute(
                f"""WITH kept AS (SELECT partition, stream, envelope FROM states JOIN (SELECT DISTINCT * FROM unnest($1::int4[], $2::bytea[]))
                                  AS wanted (p, s) ON partition = p AND stream = s ORDER BY stream FOR SHARE OF states)
                   INSERT INTO snapshots (partition, stream, {PAST_COLUMNS}, envelope, seal, fold)
                   SELECT *, $12 FROM unnest($1::int4[], $2::bytea[], $3::int8[], $4::int8[], $5::int8[], $6::int8[], $7::int8[], $8::int8[],
                                            $9::bool[], $10::bytea[], $11::bytea[]) AS new (partition, stream)
                   WHERE NOT EXISTS (SELECT FROM kept WHERE kept.partition = new.partition AND kept.stream = new.stream
                                     AND length(kept.envelope) = 0)
                   ON CONFLICT DO NOTHING""",  # noqa: S608
                [partition_of(mark.stream, self._partitions) for mark in marks],
                [mark.stream for mark in marks],
                [mark.version for mark in marks],
                [mark.pos for mark in marks],
                [mark.recorded_at for mark in marks],
                [mark.first for mark in marks],
                [mark.earliest_at for mark in marks],
                [mark.latest_at for mark in marks],
                [mark.timeless for mark in marks],
                [one.envelope for one in taken],
                [one.seal for one in taken],
                self._fold,
            )

    async def newest(
        self, streams: Collection[bytes], valid_at: int, known_at: int, keys: Mapping[bytes, DataKey]
    ) -> dict[bytes, Past]:
        """Of each stream that has a key, the newest that was recorded by `known_at` and in which all had happened by `valid_at`."""
        readable = [stream for stream in streams if stream in keys]
        rows = await self._pool.fetch(
            f"""SELECT s AS stream, {PAST_COLUMNS}, envelope FROM unnest($1::int4[], $2::bytea[]) AS wanted (p, s)
               CROSS JOIN LATERAL (SELECT * FROM snapshots
                                   WHERE partition = p AND stream = s AND fold = $3 AND recorded_at <= $4 AND latest_at <= $5
                                   ORDER BY version DESC LIMIT 1) AS found""",  # noqa: S608
            [partition_of(stream, self._partitions) for stream in readable],
            readable,
            self._fold,
            known_at,
            valid_at,
        )
        opened = {row["stream"]: self.open(mark_of(row), row["envelope"], keys[row["stream"]]) for row in rows}
        return {stream: past for stream, past in opened.items() if past is not None}

    async def marks_after(self, versions: Mapping[bytes, int], known_at: int, keys: Mapping[bytes, DataKey]) -> list[Mark]:
        """Of streams that have a key, those of later snapshots that were recorded by `known_at`, each stream's in order."""
        rows = await self._pool.fetch(
            f"""SELECT s AS stream, {PAST_COLUMNS}, seal FROM unnest($1::int4[], $2::bytea[], $3::int8[]) AS wanted (p, s, v)
               JOIN snapshots ON partition = p AND stream = s AND fold = $4 AND version > v AND recorded_at <= $5
               ORDER BY stream, version""",  # noqa: S608
            [partition_of(stream, self._partitions) for stream in versions],
            list(versions),
            list(versions.values()),
            self._fold,
            known_at,
        )
        return [mark for row in rows if (mark := self.genuine(mark_of(row), row["seal"], keys[row["stream"]]))]

    @staticmethod
    async def purge(connection: Any, streams: Collection[bytes]) -> int:
        """Part of an erasure: what is left of these streams here goes. How many there were."""
        deleted = await connection.fetch("DELETE FROM snapshots WHERE stream = ANY($1::bytea[]) RETURNING 1", list(streams))
        return len(deleted)

    def open(self, mark: Mark, envelope: bytes, key: DataKey) -> Past | None:
        """None: it was altered, or other traits were left out of it for want of room."""
        try:
            state = decode_state(key.open(envelope, self._binding(mark)))
        except (EnvelopeBroken, msgspec.DecodeError) as error:
            log.error("a snapshot was altered; replaying without it", version=mark.version, error=type(error).__name__)
            return None
        if not is_kept_for(state, self._keeping):
            return None
        return Past(Held(state, mark.version, mark.pos), mark.latest_at)

    def genuine(self, mark: Mark, seal: bytes, key: DataKey) -> Mark | None:
        """None: it was altered."""
        try:
            key.open(seal, self._binding(mark))
        except EnvelopeBroken:
            log.error("a snapshot's mark was altered; replaying what it stands for", version=mark.version)
            return None
        return mark

    def _binding(self, mark: Mark) -> bytes:
        return snapshot_binding(mark, self._fold)


def snapshot_binding(mark: Mark, fold: bytes) -> bytes:
    numbers = (mark.version, mark.pos, mark.recorded_at, mark.first, mark.earliest_at, mark.latest_at, int(mark.timeless))
    return b"snapshot" + mark.stream + fold + b"".join(number.to_bytes(8, signed=True) for number in numbers)


def mark_of(row: Any) -> Mark:
    return Mark(*(row[name] for name in ("stream", *PAST_COLUMNS.split(", "))))
