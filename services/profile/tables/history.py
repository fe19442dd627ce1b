"""Folds streams from the log alone: for reads of the past, and for states that are kept in no usable form.

What the fold keeps is what the rules need: `of` gives a history for other rules.
"""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from heapq import merge
from itertools import chain, islice, pairwise
from typing import Any

from services.profile.domain.fold import evolve_to, happened_by, is_timeless
from services.profile.domain.rules import PLAIN, Keeping
from services.profile.domain.state import Held
from services.profile.tables.ordered import Coming, Kept, Ordered, Part, Place, Prefix, past_of, tells
from services.profile.tables.snapshots import KEPT_AT_ONCE_BYTES, NEVER, Mark, Past, Snapshot, Snapshots
from shared.events import customer as events
from shared.ids import partition_of
from shared.instants import END_OF_TIME
from shared.log import LogReader, Record, Stretch
from shared.log.reader import BEGINNING, NEWEST
from shared.pieces import AT_ONCE, Pieces
from shared.privacy import REDACTED
from shared.vault import DataKey, Vault


class History:
    def __init__(
        self,
        reader: LogReader,
        vault: Vault,
        snapshots: Snapshots,
        ordered: Ordered,
        partitions: int,
        keeping: Keeping = PLAIN,
    ) -> None:
        self._reader = reader
        self._vault = vault
        self._snapshots = snapshots.of(keeping)
        self._ordered = ordered.of(keeping)
        self._partitions = partitions
        self._keeping = keeping

    def of(self, keeping: Keeping) -> "History":
        return History(self._reader, self._vault, self._snapshots, self._ordered, self._partitions, keeping)

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
        ends = {
            stream: past[stream].held.version if stream in past else 0 for stream in streams
        }  # up to where nothing has to be read
        parts = await self._parts(self._out_of_order(ends, marks, valid_at), valid_at, keys)
        records = await self._coming(parts, valid_at)
        for stream, own in parts.items():
            past[stream], ends[stream] = past_of(own, self._keeping), own[-1].prefix.place.last
            marks[stream] = [mark for mark in marks[stream] if mark.first > ends[stream]]
        wanted = [stretch for stream in streams for stretch in self._stretches(stream, ends[stream], marks[stream], valid_at)]
        records += await self._reader.history(wanted, known_at=known_at)
        if passed := [
            self._block(mark) for stream in streams for mark in marks[stream] if mark.earliest_at > valid_at and mark.timeless
        ]:
            records += await self._reader.history(passed, known_at=known_at, types=events.TIMELESS_IDS)
        records.sort(key=lambda record: (record.entry.stream, record.version))
        if cold := self._without_marks(records, ends, marks, keys):
            await self.known(cold, known_at)  # leaves the snapshots that the next read goes by
        for mark in (mark for found in marks.values() for mark in found):
            past.setdefault(mark.stream, Past())  # known by then, though nothing of it may have happened
        await self._fold(past, records, valid_at, keys)
        return past

    def _out_of_order(self, ends: Mapping[bytes, int], marks: Mapping[bytes, Sequence[Mark]], valid_at: int) -> list[Place]:
        """Of streams of which much would have to be read, as it wasn't recorded in the order in which it happened."""
        unread = {
            stream: sum(mark.version + 1 - mark.first for mark in own if mark.earliest_at <= valid_at)
            for stream, own in marks.items()
        }
        long = [stream for stream, amount in unread.items() if amount > self._ordered.shortest]
        return [place for stream in long for place in self._ordered.stretches(stream, marks[stream][-1].version)]

    async def _parts(self, places: Sequence[Place], valid_at: int, keys: Mapping[bytes, DataKey]) -> dict[bytes, list[Part]]:
        """By stream, in their order."""
        parts: dict[bytes, list[Part]] = {}
        found = await self._ordered.parts(places, valid_at, keys) if places else {}
        for place in places:
            part = found.get(place) or await self._put_in_order(place, valid_at, keys[place.stream])
            parts.setdefault(place.stream, []).append(part)
        return parts

    async def _put_in_order(self, place: Place, valid_at: int, key: DataKey) -> Part:
        """Leaves what the next read goes by."""
        past, before, turns = Past(), NEVER, Pieces(AT_ONCE)
        telling: Kept | None = None
        kept, size_bytes = list[Kept](), 0
        blocks = _blocks(await self._in_order(place), self._ordered.every)
        for block, after in pairwise(chain(blocks, [[]])):
            until_at = happened_at(after[0]) if after else END_OF_TIME
            if until_at > before:  # else of what happened at one instant there is more than a block
                prefix = Prefix(place, until_at, past.latest_at, past.held.version, past.held.pos)
                coming = [Coming(record.version, happened_at(record)) for record in block]
                kept.append(one := self._ordered.take(prefix, past.held.state, coming, key))
                telling = one if tells(prefix, valid_at) else telling
                before, size_bytes = until_at, size_bytes + len(one.envelope)
            if size_bytes >= KEPT_AT_ONCE_BYTES:
                await self._ordered.keep(place.stream, kept)
                kept, size_bytes = [], 0
            for record in block:
                _add(past, record, key, self._keeping)
                await turns.done(1)
        await self._ordered.keep(place.stream, kept)
        part = self._ordered.open(telling, key) if telling else None
        assert part is not None, "of every instant one of them tells, and it was sealed just now"
        return part

    async def _in_order(self, place: Place) -> Iterator[Record]:
        """By when they happened, with what is timeless first."""
        partition, length, pages = partition_of(place.stream, self._partitions), self._ordered.shortest, []
        for first in range(place.first, place.last, length):
            page = await self._reader.history([Stretch(partition, place.stream, first, first + length - 1)])
            pages.append(sorted(page, key=happened_at))
        return merge(*pages, key=happened_at)

    async def _coming(self, parts: Mapping[bytes, Collection[Part]], valid_at: int) -> list[Record]:
        records: list[Record] = []
        for stream, own in parts.items():
            versions = [version for part in own for version in part.happened_by(valid_at)]
            records += await self._reader.of_versions(partition_of(stream, self._partitions), stream, versions)
        return records

    async def _marks_after(
        self, streams: Collection[bytes], past: Mapping[bytes, Past], known_at: int, keys: Mapping[bytes, DataKey]
    ) -> dict[bytes, list[Mark]]:
        marks: dict[bytes, list[Mark]] = {stream: [] for stream in streams}
        versions = {stream: past[stream].held.version if stream in past else 0 for stream in streams if stream in keys}
        for mark in await self._snapshots.marks_after(versions, known_at, keys):
            marks[mark.stream].append(mark)
        return marks

    def _stretches(self, stream: bytes, end: int, marks: Iterable[Mark], valid_at: int) -> Iterator[Stretch]:
        """What is after version `end`, without the blocks of which nothing had happened by then: of them only what is timeless counts."""
        partition = partition_of(stream, self._partitions)
        first = end + 1
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
        ends: Mapping[bytes, int],
        marks: Mapping[bytes, list[Mark]],
        keys: Mapping[bytes, DataKey],
    ) -> list[bytes]:
        """Streams that had to be read through although a snapshot was due."""
        kept = {**ends, **{stream: found[-1].version for stream, found in marks.items() if found}}
        newest = {record.entry.stream: record.version for record in records}
        return [
            stream
            for stream, version in newest.items()
            if stream in keys and self._snapshots.is_due_between(kept.get(stream, 0), version)
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


def happened_at(record: Record) -> int:
    """Of what is timeless before everything."""
    return NEVER if is_timeless(record.entry) else record.entry.occurred_at


def _blocks(records: Iterator[Record], size: int) -> Iterator[list[Record]]:
    while block := list(islice(records, size)):
        yield block


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
    held.pos = max(record.pos, held.pos)  # the first of them may be joined from stretches
    past.redacted += personal is REDACTED
    if entry.occurred_at > past.latest_at and not is_timeless(entry):
        past.latest_at = entry.occurred_at
