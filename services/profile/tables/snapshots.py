"""Snapshots: states of long streams at some of their versions, so that a read of the past replays only what came after.

Table `snapshots`. A cache and never the truth: each is sealed under its customer's key, bound to its place and to the version of
the fold that made it; one that doesn't fit is ignored and the stream is replayed from its beginning.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from services.profile.domain.state import FOLD_VERSION, Held, State
from shared.events.catalogue import encode
from shared.ids import partition_of
from shared.telemetry import logger
from shared.vault import DataKey, EnvelopeBroken

SNAPSHOT_EVERY = 500  # events of a stream: replaying so many takes a few milliseconds

decode_state = msgspec.msgpack.Decoder(State).decode
log = logger("snapshots")


class Snapshot(msgspec.Struct, frozen=True):
    """A state as of `version`, whose event stands at `pos` and was recorded at `recorded_at`; sealed."""

    stream: bytes
    version: int
    pos: int
    recorded_at: int
    envelope: bytes


class Snapshots:
    def __init__(self, pool: Any, partitions: int, every: int = SNAPSHOT_EVERY, fold_version: int = FOLD_VERSION) -> None:
        self._pool = pool
        self._partitions = partitions
        self._every = every
        self._fold_version = fold_version

    def is_due(self, version: int) -> bool:
        return version % self._every == 0

    def take(self, stream: bytes, held: Held, recorded_at: int, key: DataKey) -> Snapshot:
        """Of a state as it is now; it may evolve afterwards."""
        binding = self._binding(stream, held.version, held.pos, recorded_at)
        return Snapshot(stream, held.version, held.pos, recorded_at, key.seal(encode(held.state), binding))

    async def keep(self, taken: Sequence[Snapshot]) -> None:
        if taken:
            await self._pool.execute(
                """INSERT INTO snapshots (partition, stream, version, pos, recorded_at, envelope, fold_version)
                   SELECT p, s, v, pos, at, e, $7
                   FROM unnest($1::int4[], $2::bytea[], $3::int8[], $4::int8[], $5::int8[], $6::bytea[]) AS new (p, s, v, pos, at, e)
                   ON CONFLICT DO NOTHING""",
                [partition_of(one.stream, self._partitions) for one in taken],
                [one.stream for one in taken],
                [one.version for one in taken],
                [one.pos for one in taken],
                [one.recorded_at for one in taken],
                [one.envelope for one in taken],
                self._fold_version,
            )

    async def newest(self, streams: Collection[bytes], known_at: int, keys: Mapping[bytes, DataKey]) -> dict[bytes, Held]:
        """Of each stream that has a key, the newest that was recorded at or before `known_at`, if there is one."""
        readable = [stream for stream in streams if stream in keys]
        rows = await self._pool.fetch(
            """SELECT s AS stream, version, pos, recorded_at, envelope FROM unnest($1::int4[], $2::bytea[]) AS wanted (p, s)
               CROSS JOIN LATERAL (SELECT * FROM snapshots
                                   WHERE partition = p AND stream = s AND fold_version = $3 AND recorded_at <= $4
                                   ORDER BY version DESC LIMIT 1) AS found""",
            [partition_of(stream, self._partitions) for stream in readable],
            readable,
            self._fold_version,
            known_at,
        )
        opened = {row["stream"]: self._open(Snapshot(**row), keys[row["stream"]]) for row in rows}
        return {stream: held for stream, held in opened.items() if held is not None}

    @staticmethod
    async def purge(connection: Any, streams: Collection[bytes]) -> int:
        """Part of an erasure: what is left of these streams here goes. How many there were."""
        deleted = await connection.fetch("DELETE FROM snapshots WHERE stream = ANY($1::bytea[]) RETURNING 1", list(streams))
        return len(deleted)

    def _open(self, snapshot: Snapshot, key: DataKey) -> Held | None:
        binding = self._binding(snapshot.stream, snapshot.version, snapshot.pos, snapshot.recorded_at)
        try:
            return Held(decode_state(key.open(snapshot.envelope, binding)), snapshot.version, snapshot.pos)
        except (EnvelopeBroken, msgspec.DecodeError) as error:
            log.error("a snapshot was altered; replaying without it", version=snapshot.version, error=type(error).__name__)
            return None

    def _binding(self, stream: bytes, version: int, pos: int, recorded_at: int) -> bytes:
        return b"snapshot" + stream + b"".join(number.to_bytes(8) for number in (self._fold_version, version, pos, recorded_at))
