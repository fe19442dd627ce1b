"""Signs what a log is, at an interval and on demand, and never signs what contradicts an earlier signature.

That last rule is what makes a checkpoint worth keeping (c2sp.org/tlog-checkpoint): before a partition's tree is signed, it
must be proved to contain the tree that was signed before. What was signed is known from the database, and to the process that
signed it. Whoever takes the newest checkpoints out of the database, and waits for a restart, can rewrite what only they covered.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from shared.errors import InvalidInput, LogDamaged, NotFound
from shared.ids import partition_of
from shared.instants import Clock
from shared.log import merkle, notes
from shared.log.notes import Checkpoint, StreamHead
from shared.log.prover import Prover
from shared.log.raw import RawEvent, RawLog
from shared.log.records import leaf_of
from shared.notes import NoteBroken
from shared.telemetry import LOG_DAMAGED, logger
from shared.vault import Keyring

ON_DEMAND_S = 1.0  # between two that somebody asks for: whoever reaches the port must not fill a table
INTERVAL_S = 60.0  # what was recorded earlier than this before an intrusion is out of the intruder's reach

Known = Callable[[bytes], Awaitable[int]]  # the newest version of a stream, as the service knows it beside its log; 0: not at all

log = logger("checkpoints")


async def nothing_known(stream: bytes) -> int:
    return 0


class Checkpoints:
    """`log_name` is the owner's service name, `pool`'s search path names its schema.

    `partitions` is how many the log has, from the settings: whoever writes the tables has no say in what is signed.
    """

    def __init__(
        self, pool: Any, log_name: str, keyring: Keyring, clock: Clock, partitions: int = 1, known: Known = nothing_known
    ) -> None:
        self._pool = pool
        self._log_name = log_name
        self._keyring = keyring
        self._clock = clock
        self.partitions = partitions
        self._known = known
        self._prover = Prover(pool)
        self._coming: dict[int, asyncio.Task[str]] = {}  # by partition, those that are not begun yet
        self._rest_until: dict[int, float] = {}  # by partition, seconds of the loop's clock
        self._signed: dict[int, Checkpoint] = {}  # the newest that this process signed, even if its row was taken away

    @property
    def public_key(self) -> bytes:
        return self._keyring.public_key

    def origin(self, partition: int) -> str:
        return notes.origin_of(self._keyring.installation, self._log_name, partition)

    async def run(self, interval_s: float = INTERVAL_S) -> None:
        """Never ends. A damaged log is an alarm, again and again; it is still served, and it is not signed."""
        while True:
            for partition in await self._not_empty():
                try:
                    await self.make(partition)
                except LogDamaged as damage:
                    LOG_DAMAGED.labels(self._log_name, partition).inc()
                    log.critical("the log was altered: it is not signed", log=self._log_name, reason=damage.message, **damage.facts)
            await asyncio.sleep(interval_s)

    async def on_demand(self, partition: int) -> str:
        """As `make`, for whoever asks: at most one new one in ON_DEMAND_S, and who asks meanwhile waits and gets the same."""
        before, note = await self._newest(partition)
        if note and before == await self._current(partition):
            return note
        if (coming := self._coming.get(partition)) is None:
            coming = self._coming[partition] = asyncio.create_task(self._make_rested(partition))
        return await asyncio.shield(coming)

    async def _make_rested(self, partition: int) -> str:
        clock = asyncio.get_running_loop().time
        await asyncio.sleep(self._rest_until.get(partition, 0.0) - clock())
        del self._coming[partition]  # what is recorded from here on may not be in it
        self._rest_until[partition] = clock() + ON_DEMAND_S
        return await self.make(partition)

    async def make(self, partition: int) -> str:
        """The checkpoint of the partition as it is now; made when there is none yet. Raises InvalidInput, LogDamaged."""
        # In this order: heads only grow, so what was signed before a head was read is never larger than it.
        before, note = await self._newest(partition)
        now = await self._current(partition)
        if note and before == now:
            return note
        await self._check_extends(partition, before, now)
        note = notes.signed(now.text(), self._keyring)
        await self._pool.execute(
            "INSERT INTO checkpoints (partition, tree_size, note, made_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
            partition,
            now.size,
            note,
            self._clock(),
        )
        self._signed[partition] = max(now, self._signed.get(partition, now), key=lambda checkpoint: checkpoint.size)
        return note

    async def at(self, partition: int, size: int) -> Checkpoint:
        """The one that was signed at this size. Raises NotFound (CHECKPOINT_UNKNOWN), LogDamaged."""
        note = await self._pool.fetchval("SELECT note FROM checkpoints WHERE partition = $1 AND tree_size = $2", partition, size)
        if note is None:
            raise NotFound("no checkpoint was made at this size", reason="CHECKPOINT_UNKNOWN", partition=partition, tree_size=size)
        return self._open(partition, note)

    async def stream_head(self, stream: bytes, size: int) -> tuple[int, str]:
        """The stream's partition, and a signed statement of how far it went at the checkpoint of this size.

        That the newest event is in the tree is proved before it is signed; that there is none after it is accountable, as
        whoever shows a later one in the same tree proves a lie. None is signed that the service itself knows better.

        Raises what `at` and what is `known` do, LogDamaged when the log has other partitions than it should.
        """
        if await RawLog(self._pool).partitions() != [*range(self.partitions)]:
            raise LogDamaged("the log has other partitions than it should", expected=self.partitions)
        partition = partition_of(stream, self.partitions)
        checkpoint = await self.at(partition, size)
        known = await self._known(stream)  # first: a stream only grows
        newest = await RawLog(self._pool).newest(partition, stream, size)
        version, position = (newest.record.version, newest.record.pos) if newest else (0, None)
        if known > version and not await RawLog(self._pool).has_later(partition, stream, version + 1, size):
            said = "the newest events of a stream are gone"
            raise LogDamaged(said, partition=partition, tree_size=size, version=version, known_version=known)
        if newest is not None:
            await self._check_included(newest, checkpoint)
        head = StreamHead(checkpoint, stream, version, position, self.partitions)
        return partition, notes.signed(head.text(), self._keyring)

    async def _not_empty(self) -> list[int]:
        """One whose head is gone is among them, so that it is an alarm."""
        sizes = dict(await self._pool.fetch("SELECT partition, next_pos FROM partition_heads"))
        return [partition for partition in range(self.partitions) if sizes.get(partition) != 0]

    async def _current(self, partition: int) -> Checkpoint:
        row = await self._pool.fetchrow("SELECT next_pos, merkle_frontier FROM partition_heads WHERE partition = $1", partition)
        if row is None:
            raise LogDamaged("the head of the partition is gone", partition=partition)
        try:
            frontier = merkle.unpack(row["merkle_frontier"], row["next_pos"])
        except ValueError:
            raise LogDamaged("the head of the partition was altered", partition=partition) from None
        return Checkpoint(self.origin(partition), row["next_pos"], merkle.root_of(frontier))

    async def _newest(self, partition: int) -> tuple[Checkpoint, str]:
        """The largest that was ever signed, and its note where it is at hand. A log has one from before its first event on."""
        if not 0 <= partition < self.partitions:
            raise InvalidInput("this log has no such partition", reason="PARTITION_UNKNOWN", partition=partition)
        note = await self._pool.fetchval(
            "SELECT note FROM checkpoints WHERE partition = $1 ORDER BY tree_size DESC LIMIT 1", partition
        )
        stored = self._open(partition, note) if note else None
        remembered = self._signed.get(partition)
        if remembered and (stored is None or remembered.size > stored.size):
            return remembered, ""
        if stored is None:
            raise LogDamaged("the checkpoints of the partition are gone", partition=partition)
        return stored, note

    def _open(self, partition: int, note: str) -> Checkpoint:
        try:
            return notes.open_checkpoint(note, self.origin(partition), self._keyring.public_key)
        except NoteBroken as broken:
            raise LogDamaged(f"a stored checkpoint was altered: {broken}", partition=partition) from broken

    async def _check_included(self, event: RawEvent, checkpoint: Checkpoint) -> None:
        """A row that was put there since, or altered, is not what was signed."""
        record = event.record
        if record.pos >= 0:
            [path] = await self._prover.inclusions(record.partition, [record.pos], checkpoint.size)
            leaf = leaf_of(record.entry, record.version, record.recorded_at)
            if merkle.verify_inclusion(leaf, record.pos, checkpoint.size, path, checkpoint.root):
                return
        said = "the newest event of a stream is not what was signed"
        raise LogDamaged(said, partition=record.partition, position=record.pos, tree_size=checkpoint.size)

    async def _check_extends(self, partition: int, before: Checkpoint, now: Checkpoint) -> None:
        if now.size < before.size:
            raise LogDamaged("the log is shorter than what was signed", partition=partition, signed=before.size, tree_size=now.size)
        path = await self._prover.consistency(partition, before.size, now.size)
        if not merkle.verify_consistency(before.size, now.size, before.root, now.root, path):
            raise LogDamaged("the log doesn't contain what was signed", partition=partition, signed=before.size, tree_size=now.size)
