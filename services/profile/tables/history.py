"""Folds streams from the log alone: for reads of the past, and for states that are kept in no usable form."""

from collections.abc import Collection, Mapping
from typing import Any

from services.profile.domain.fold import evolve, happened_by
from services.profile.domain.state import Held
from services.profile.tables.snapshots import Snapshot, Snapshots
from shared.ids import partition_of
from shared.instants import END_OF_TIME
from shared.log import LogReader, Record, Stretch
from shared.vault import DataKey, Vault


class History:
    def __init__(self, reader: LogReader, vault: Vault, snapshots: Snapshots, partitions: int) -> None:
        self._reader = reader
        self._vault = vault
        self._snapshots = snapshots
        self._partitions = partitions

    async def read(self, streams: Collection[bytes], known_at: int = END_OF_TIME) -> list[Record]:
        return await self._reader.streams([(partition_of(stream, self._partitions), stream) for stream in streams], known_at)

    async def fold(self, records: Collection[Record], valid_at: int = END_OF_TIME) -> dict[bytes, Held]:
        """By stream; what is sealed under a key that is gone stays redacted."""
        keys: Any = await self._vault.keys({record.entry.stream for record in records})
        held: dict[bytes, Held] = {}
        for record in records:
            stream = held.setdefault(record.entry.stream, Held())
            if happened_by(record.entry, valid_at):
                _add(stream, record, keys)
        return held

    async def states(self, streams: Collection[bytes], known_at: int = END_OF_TIME) -> dict[bytes, Held]:
        """As `read` and `fold` would give them, from the newest snapshots on; keeps those that are due."""
        keys = await self._vault.keys(streams)
        held = await self._snapshots.newest(streams, known_at, keys)
        wanted = [
            Stretch(partition_of(stream, self._partitions), stream, held[stream].version + 1 if stream in held else 1)
            for stream in streams
        ]
        taken: list[Snapshot] = []
        for record in await self._reader.history(wanted, known_at=known_at):
            stream = record.entry.stream
            now = held.setdefault(stream, Held())
            _add(now, record, keys)
            if stream in keys and self._snapshots.is_due(now.version):
                taken.append(self._snapshots.take(stream, now, record.recorded_at, keys[stream]))
        await self._snapshots.keep(taken)
        return held


def _add(held: Held, record: Record, keys: Mapping[bytes, DataKey]) -> None:
    entry = record.entry
    evolve(held.state, entry, *entry.parts(keys.get(entry.stream)))
    held.version += 1
    held.pos = record.pos
