"""Folds streams from the log alone: for reads of the past, and for states that are kept in no usable form."""

from collections.abc import Collection
from typing import Any

from services.profile.domain import Held, evolve, happened_by
from shared.ids import partition_of
from shared.instants import END_OF_TIME
from shared.log import LogReader, Record
from shared.vault import Vault


class History:
    def __init__(self, reader: LogReader, vault: Vault, partitions: int) -> None:
        self._reader = reader
        self._vault = vault
        self._partitions = partitions

    async def read(self, streams: Collection[bytes], known_at: int = END_OF_TIME) -> list[Record]:
        return await self._reader.streams([(partition_of(stream, self._partitions), stream) for stream in streams], known_at)

    async def fold(self, records: Collection[Record], valid_at: int = END_OF_TIME) -> dict[bytes, Held]:
        """By stream; what is sealed under a key that is gone stays redacted."""
        keys: Any = await self._vault.keys({record.entry.stream for record in records})
        held: dict[bytes, Held] = {}
        for record in records:
            entry = record.entry
            stream = held.setdefault(entry.stream, Held())
            if happened_by(entry, valid_at):
                evolve(stream.state, entry, entry.public(), entry.personal(keys.get(entry.stream)))
                stream.version += 1
                stream.pos = record.pos
        return held

    async def newest(self, streams: Collection[bytes]) -> dict[bytes, Held]:
        return await self.fold(await self.read(streams))
