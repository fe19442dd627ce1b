"""Folds streams from the log alone: for reads of the past, and for states that are kept in no usable form.

What the fold keeps is what the rules need: `of` gives a history for other rules.
"""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from services.profile.domain.fold import evolve_to, happened_by, is_timeless
from services.profile.domain.rules import PLAIN, Keeping
from services.profile.domain.state import Held
from services.profile.tables.snapshots import KEPT_AT_ONCE_BYTES, Mark, Past, Snapshot, Snapshots
from shared.events import customer as events
from shared.ids import partition_of
from shared.instants import END_OF_TIME
from shared.log import LogReader, Record, Stretch
from shared.log.reader import BEGINNING, NEWEST
from shared.pieces import AT_ONCE
from shared.privacy import REDACTED
from shared.vault import DataKey, Vault


class History:
    def __init__(self, reader: LogReader, vault: Vault, snapshots: Snapshots, partitions: int, keeping: Keeping = PLAIN) -> None:
        self._reader = reader
        self._vault = vault
        self._snapshots = snapshots.of(keeping)
        self._partitions = partitions
        self._keeping = keeping

    def of(self, keeping: Keeping) -> "History":
        return History(self._reader, self._vault, self._snapshots, self._partitions, keeping)

    async def read(self, streams: Collection[bytes], known_at: int = END_OF_TIME) -> list[Record]:
        return await self._reader.streams([(partition_of(stream, self._partitions), stream) for stream in streams], known_at)

    async def recorded_at(self, stream: bytes, version: int) -> int | None:
        """When the event of that version was recorded; None: there is none, nor can there be one behind NEWEST."""
        if version > NEWEST:
            return None
        found = await self._reader.history([Stretch(partition_of(stream, self._partitions), stream, version, version)])
        return found[0].recorded_at if found else None

    async def between(self, streams: Collection[bytes], one: tuple[int, int], other: tuple[int, int]) -> list[Record]:
        """What counts at only one of two points, each (valid_at, known_at)."""
        known = sorted((one[1], other[1]))
        since = BEGINNING if one[0] != other[0] else known[0] + 1
        wanted = [Stretch(partition_of(stream, self._partitions), stream) for stream in streams]
        records = await self._reader.history(wanted, recorded_since=since, known_at=known[1])
        return [record for record in records if counts(record, *one) != counts(record, *other)]

    async def fold(self, records: Sequence[Record], valid_at: int = END_OF_TIME) -> dict[bytes, Held]:
        """By stream; what is sealed under a key that is gone stays redacted."""
        keys: Any = await self._vault.keys({record.entry.stream for record in records})
        past: dict[bytes, Past] = {}
        await self._fold(past, records, valid_at, keys)
        return {stream: found.held for stream, found in past.items()}

    async def states(self, streams: Collection[bytes], known_at: int = END_OF_TIME) -> dict[bytes, Held]:
        """As `read` and `fold` would give them, from the newest snapshots on; keeps those that are due."""
        return {stream: past.held for stream, past in (await self.known(streams, known_at)).items()}

    async def known(self, streams: Collection[bytes], known_at: int) -> dict[bytes, Past]:
        """As `states`."""
        keys = await self._vault.keys(streams)
        past = await self._snapshots.newest(streams, END_OF_TIME, known_at, keys)
        records = await self._reader.history([self._rest(stream, past) for stream in streams], known_at=known_at)
        taken, size_bytes = list[Snapshot](), 0
        for stream, own in _by_stream(records):
            if stream not in keys:  # no snapshot is due
                await self._fold(past, own, END_OF_TIME, keys)
                continue
            for one in self.advance(past.setdefault(stream, Past()), own, keys[stream]):
                taken.append(one)
                size_bytes += len(one.envelope)
                if size_bytes >= KEPT_AT_ONCE_BYTES:
                    await self._snapshots.keep(taken)
                    taken, size_bytes = [], 0
                await asyncio.sleep(0)
            if len(streams) > 1:
                await asyncio.sleep(0)
        await self._snapshots.keep(taken)
        return past

    async def past(self, streams: Collection[bytes], valid_at: int, known_at: int) -> dict[bytes, Past]:
        """As `fold` of `read` would give them. Streams of which nothing was known by then are absent."""
        if valid_at == END_OF_TIME:
            return await self.known(streams, known_at)
        keys = await self._vault.keys(streams)
        past = await self._snapshots.newest(streams, valid_at, known_at, keys)
        marks = await self._marks_after(streams, past, known_at, keys)
        wanted = [stretch for stream in streams for stretch in self._stretches(stream, past.get(stream), marks[stream], valid_at)]
        records = await self._reader.history(wanted, known_at=known_at)
        if passed := [
            self._block(mark) for stream in streams for mark in marks[stream] if mark.earliest_at > valid_at and mark.timeless
        ]:
            records += await self._reader.history(passed, known_at=known_at, types=events.TIMELESS_IDS)
            records.sort(key=lambda record: (record.entry.stream, record.version))
        if cold := self._without_marks(records, past, marks, keys):
            await self.known(cold, known_at)  # leaves the snapshots that the next read goes by
        for mark in (mark for found in marks.values() for mark in found):
            past.setdefault(mark.stream, Past())  # known by then, though nothing of it may have happened
        await self._fold(past, records, valid_at, keys)
        return past

    async def _marks_after(
        self, streams: Collection[bytes], past: Mapping[bytes, Past], known_at: int, keys: Mapping[bytes, DataKey]
    ) -> dict[bytes, list[Mark]]:
        marks: dict[bytes, list[Mark]] = {stream: [] for stream in streams}
        versions = {stream: past[stream].held.version if stream in past else 0 for stream in streams if stream in keys}
        for mark in await self._snapshots.marks_after(versions, known_at, keys):
            marks[mark.stream].append(mark)
        return marks

    def _stretches(self, stream: bytes, past: Past | None, marks: Iterable[Mark], valid_at: int) -> Iterator[Stretch]:
        """What is after the snapshot, without the blocks of which nothing had happened by then: of them only what is timeless counts."""
        partition = partition_of(stream, self._partitions)
        first = past.held.version + 1 if past else 1
        for mark in marks:
            if mark.earliest_at > valid_at:
                if first < mark.first:
                    yield Stretch(partition, stream, first, mark.first - 1)
                first = mark.version + 1
        yield Stretch(partition, stream, first)

    def _block(self, mark: Mark) -> Stretch:
        return Stretch(partition_of(mark.stream, self._partitions), mark.stream, mark.first, mark.version)

    def _without_marks(
        self,
        records: Iterable[Record],
        past: Mapping[bytes, Past],
        marks: Mapping[bytes, list[Mark]],
        keys: Mapping[bytes, DataKey],
    ) -> list[bytes]:
        """Streams that had to be read through although a snapshot was due."""
        ends = {stream: found.held.version for stream, found in past.items()}
        ends |= {stream: found[-1].version for stream, found in marks.items() if found}
        newest = {record.entry.stream: record.version for record in records}
        return [
            stream
            for stream, version in newest.items()
            if stream in keys and self._snapshots.is_due_between(ends.get(stream, 0), version)
        ]

    def _rest(self, stream: bytes, past: Mapping[bytes, Past]) -> Stretch:
        first = past[stream].held.version + 1 if stream in past else 1
        return Stretch(partition_of(stream, self._partitions), stream, first, NEWEST)

    def advance(self, past: Past, records: Iterable[Record], key: DataKey | None) -> Iterator[Snapshot]:
        """Adds a stream's next records, in order; gives the snapshots that are due on the way."""
        first, earliest_at, timeless = past.held.version + 1, END_OF_TIME, False
        for record in records:
            _add(past, record, key, self._keeping)
            if is_timeless(record.entry):
                timeless = True
            else:
                earliest_at = min(earliest_at, record.entry.occurred_at)
            if key is not None and self._snapshots.is_due(record.version):
                place = record.entry.stream, record.version, record.pos, record.recorded_at
                yield self._snapshots.take(past.held, Mark(*place, first, earliest_at, past.latest_at, timeless), key)
                first, earliest_at, timeless = record.version + 1, END_OF_TIME, False

    def add(self, past: Past, record: Record, key: DataKey | None) -> None:
        _add(past, record, key, self._keeping)

    async def _fold(self, past: dict[bytes, Past], records: Sequence[Record], valid_at: int, keys: Mapping[bytes, DataKey]) -> None:
        for number, record in enumerate(records, start=1):
            stream = past.setdefault(record.entry.stream, Past())
            if happened_by(record.entry, valid_at):
                _add(stream, record, keys.get(record.entry.stream), self._keeping)
            if not number % AT_ONCE:
                await asyncio.sleep(0)


def counts(record: Record, valid_at: int, known_at: int) -> bool:
    return record.recorded_at <= known_at and happened_by(record.entry, valid_at)


def _by_stream(records: Iterable[Record]) -> Iterator[tuple[bytes, list[Record]]]:
    found: dict[bytes, list[Record]] = {}
    for record in records:
        found.setdefault(record.entry.stream, []).append(record)
    yield from found.items()


def _add(past: Past, record: Record, key: DataKey | None, keeping: Keeping) -> None:
    entry, held = record.entry, past.held
    public, personal = entry.parts(key)
    evolve_to(record.version, held.state, entry, public, personal, keeping)
    held.version += 1
    held.pos = record.pos
    past.redacted += personal is REDACTED
    if entry.occurred_at > past.latest_at and not is_timeless(entry):
        past.latest_at = entry.occurred_at
