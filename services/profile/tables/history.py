"""Folds streams from the log alone: for reads of the past, and for states that are kept in no usable form.

What the fold keeps is what the rules need: `of` gives a history for other rules.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from services.profile.domain.fold import happened_by, is_timeless
from services.profile.domain.rules import PLAIN, Keeping
from services.profile.domain.state import Held, is_kept_for
from services.profile.tables.folding import add, add_all, by_stream
from services.profile.tables.further import further
from services.profile.tables.near import NOWHERE, Near
from services.profile.tables.ordered import Ordered, Place, past_of
from services.profile.tables.parts import Parts
from services.profile.tables.snapshots import KEPT_AT_ONCE_BYTES, NEVER, Mark, Past, Snapshot, Snapshots
from shared.events import customer as events
from shared.ids import partition_of
from shared.instants import END_OF_TIME
from shared.log import LogReader, Record, Stretch
from shared.log.reader import NEWEST
from shared.vault import DataKey, Vault

AtHand = Callable[
    [Collection[bytes], Keeping], Mapping[bytes, Held]
]  # states of streams as they are now, by a fold that keeps this

NOTHING: Mapping[bytes, Past] = {}
BLOCKS_READ = 2  # between snapshots: so many are folded as quickly as parts are joined. More, and the stream is put in order


def _nothing(streams: Collection[bytes], keeping: Keeping) -> Mapping[bytes, Held]:
    return {}


class History:
    """`at_hand` are states that others hold: a stream to which nothing has come since needn't be folded. `near` is what was read before."""

    def __init__(
        self,
        reader: LogReader,
        vault: Vault,
        snapshots: Snapshots,
        ordered: Ordered,
        partitions: int,
        keeping: Keeping = PLAIN,
        at_hand: AtHand = _nothing,
        near: Near = NOWHERE,
    ) -> None:
        self._reader = reader
        self._vault = vault
        self.snapshots = snapshots.of(keeping)
        self._ordered = ordered.of(keeping)
        self._parts = Parts(reader, self._ordered, partitions, keeping)
        self._partitions = partitions
        self._keeping = keeping
        self._at_hand = at_hand
        self._near = near

    def of(self, keeping: Keeping) -> "History":
        others = self._reader, self._vault, self.snapshots, self._ordered, self._partitions
        return History(*others, keeping, self._at_hand, self._near)

    def beside(self, at_hand: AtHand, near: Near) -> "History":
        """For who doesn't change what it reads."""
        return History(self._reader, self._vault, self.snapshots, self._ordered, self._partitions, self._keeping, at_hand, near)

    async def read(self, streams: Collection[bytes], known_at: int = END_OF_TIME) -> list[Record]:
        return await self._reader.streams(self._placed(streams), known_at)

    async def recorded_at(self, stream: bytes, version: int) -> int | None:
        """When the event of that version was recorded; None: there is none, nor can there be one behind NEWEST."""
        if version > NEWEST:
            return None
        found = await self._reader.history([Stretch(partition_of(stream, self._partitions), stream, version, version)])
        return found[0].recorded_at if found else None

    async def between(self, streams: Collection[bytes], one: tuple[int, int], other: tuple[int, int]) -> list[Record]:
        """What counts at only one of two points, each (valid_at, known_at)."""
        known_by_both = min(one[1], other[1])
        alike = await self._reader.versions_by(self._placed(streams), known_by_both) if one[0] == other[0] else {}
        wanted = [self._stretch(stream, alike.get(stream, 0) + 1, NEWEST) for stream in streams]
        return await self._reader.differing(wanted, one, other, events.TIMELESS_IDS)

    async def fold(self, records: Sequence[Record], valid_at: int = END_OF_TIME) -> dict[bytes, Held]:
        """By stream; what is sealed under a key that is gone stays redacted."""
        keys: Any = await self._vault.keys({record.entry.stream for record in records})
        past = {record.entry.stream: Past() for record in records}
        await add_all(past, (record for record in records if happened_by(record.entry, valid_at)), keys, self._keeping)
        return {stream: found.held for stream, found in past.items()}

    async def states(self, streams: Collection[bytes], known_at: int = END_OF_TIME) -> dict[bytes, Held]:
        """As `read` and `fold` would give them, from the newest snapshots on; keeps those that are due."""
        return {stream: past.held for stream, past in (await self.known(streams, known_at)).items()}

    async def known(self, streams: Collection[bytes], known_at: int) -> dict[bytes, Past]:
        """As `states`. What several reads at once would have to fold, one of them folds."""
        keys = await self._vault.keys(streams)
        # Else the server would look at all that came later.
        lasts = await self._reader.versions_by(self._placed(streams), known_at) if known_at < END_OF_TIME else {}
        still = self._still(lasts, END_OF_TIME, keys)
        streams = [stream for stream in streams if stream not in still]
        past = await self.snapshots.newest(streams, END_OF_TIME, known_at, keys)
        long = [
            stream for stream in streams if stream in lasts and stream in keys and self._is_due(past.get(stream), (), lasts[stream])
        ]
        for stream in long:
            await self._advance_once(past, stream, known_at, keys, lasts)
        await self._advance(past, [stream for stream in streams if stream not in long], known_at, keys, lasts)
        return past | still

    def _still(self, lasts: Mapping[bytes, int], valid_at: int, keys: Mapping[bytes, DataKey]) -> dict[bytes, Past]:
        """Of streams that had come to these versions, those that are no further now and of which all had happened by then."""
        found = {}
        for stream, held in self._at_hand(lasts.keys() & keys.keys(), self._keeping).items():
            state = held.state  # its key is there, so nothing is redacted
            is_then = held.version == lasts[stream] and 0 < state.last_seen_at <= valid_at
            if is_then and not state.erased and is_kept_for(state, self._keeping):
                found[stream] = Past(held, state.last_seen_at)
        return found

    async def _advance_once(
        self, past: dict[bytes, Past], stream: bytes, known_at: int, keys: Mapping[bytes, DataKey], lasts: Mapping[bytes, int]
    ) -> None:
        """From what others left who did so before."""
        async with self.snapshots.making(stream):
            past |= await self.snapshots.newest([stream], END_OF_TIME, known_at, keys)
            await self._advance(past, [stream], known_at, keys, lasts)

    async def _advance(
        self,
        past: dict[bytes, Past],
        streams: Sequence[bytes],
        known_at: int,
        keys: Mapping[bytes, DataKey],
        lasts: Mapping[bytes, int],
    ) -> None:
        """To the last version of each that was known by then; keeps the snapshots that are due."""
        wanted = [self._stretch(stream, *self._rest(stream, past, lasts)) for stream in streams]
        records = await self._reader.history(wanted, known_at=known_at) if wanted else []
        taken, size_bytes = list[Snapshot](), 0
        for stream, own in by_stream(records):
            if stream not in keys:  # no snapshot is due
                await add_all(past, own, keys, self._keeping)
                continue
            for one in self.advance(past.setdefault(stream, Past()), own, keys[stream]):
                taken.append(one)
                size_bytes += len(one.envelope)
                if size_bytes >= KEPT_AT_ONCE_BYTES:
                    await self.snapshots.keep(taken)
                    taken, size_bytes = [], 0
                await asyncio.sleep(0)
            if len(streams) > 1:
                await asyncio.sleep(0)
        await self.snapshots.keep(taken)

    async def past(
        self, streams: Collection[bytes], valid_at: int, known_at: int, known: Mapping[bytes, Past] = NOTHING
    ) -> dict[bytes, Past]:
        """As `fold` of `read` would give them. Streams of which nothing was known by then are absent; some may be `known` already."""
        if there := {stream: known[stream] for stream in streams if stream in known}:
            return there | await self.past([stream for stream in streams if stream not in there], valid_at, known_at)
        if not streams:
            return {}
        if valid_at == END_OF_TIME:
            return await self.known(streams, known_at)
        keys = await self._vault.keys(streams)
        lasts = await self._reader.versions_by(self._placed(streams), known_at)
        still = self._still(lasts, valid_at, keys)
        streams = [stream for stream in streams if stream not in still]
        lasts = {stream: last for stream, last in lasts.items() if stream not in still}
        past, marks = await self._kept(streams, valid_at, known_at, keys)
        if cold := [
            stream for stream in lasts.keys() & keys.keys() if self._is_due(past.get(stream), marks[stream], lasts[stream])
        ]:
            for stream in cold:  # leaves what this read and the next ones go by
                await self._advance_once({}, stream, known_at, keys, lasts)
            past, marks = await self._kept(streams, valid_at, known_at, keys)
        short = {stream: last for stream, last in lasts.items() if stream in keys and stream not in past and not marks[stream]}
        near, between = await self._near_by(short, valid_at)
        still |= near
        lasts = {stream: last for stream, last in lasts.items() if stream not in near}
        ends = {stream: past[stream].held.version if stream in past else 0 for stream in lasts}  # what is behind them is to be read
        parts = await self._parts.of(self._out_of_order(marks, valid_at), valid_at, keys)
        records = await self._parts.coming(parts, valid_at)
        for stream, own in parts.items():
            past[stream], ends[stream] = past_of(own, self._keeping), own[-1].prefix.place.last
            marks[stream] = [mark for mark in marks[stream] if mark.first > ends[stream]]
        passed = [mark for stream in lasts for mark in marks[stream] if mark.earliest_at > valid_at]
        wanted = [stretch for stream in lasts for stretch in self._stretches(stream, ends[stream], passed, lasts[stream])]
        of_types = events.TIMELESS_IDS if valid_at == NEVER else None  # else what doesn't count would be sent too
        rest = await self._reader.history(
            wanted, known_at=known_at, types=of_types, valid_at=valid_at, timeless=events.TIMELESS_IDS
        )
        if timeless := [self._stretch(mark.stream, mark.first, mark.version) for mark in passed if mark.timeless]:
            rest += await self._reader.history(timeless, known_at=known_at, types=events.TIMELESS_IDS)
        for stream in lasts:
            past.setdefault(stream, Past())  # known by then, though nothing of it may have happened
        await add_all(past, records + rest, keys, self._keeping)
        past |= still
        await self._keep_near(valid_at, short, past, between + len(rest))
        return past

    async def _near_by(self, short: Mapping[bytes, int], valid_at: int) -> tuple[dict[bytes, Past], int]:
        """Of streams that had come to these versions what was read as of an instant before, brought on; and by how many events."""
        earlier_at, found = self._near.before(short, valid_at, self._keeping)
        if not found:
            return {}, 0
        wanted = [self._stretch(stream, 1, short[stream]) for stream in found]
        points = (earlier_at, END_OF_TIME), (valid_at, END_OF_TIME)
        records = await self._reader.differing(wanted, *points, events.TIMELESS_IDS) if earlier_at < valid_at else []
        between: dict[bytes, list[Record]] = {stream: [] for stream in found} | dict(by_stream(records))
        return await further(self._vault, self._keeping, found, between), len(records)

    async def _keep_near(self, valid_at: int, short: Mapping[bytes, int], past: Mapping[bytes, Past], folded: int) -> None:
        keys = await self._vault.keys(short)  # of one who was erased meanwhile nothing is kept
        there = {stream: last for stream, last in short.items() if stream in keys and not past[stream].redacted}
        self._near.keep(valid_at, self._keeping, there, past, folded)

    async def _kept(
        self, streams: Collection[bytes], valid_at: int, known_at: int, keys: Mapping[bytes, DataKey]
    ) -> tuple[dict[bytes, Past], dict[bytes, list[Mark]]]:
        """The newest snapshots that will do, and the marks of later ones."""
        past = await self.snapshots.newest(streams, valid_at, known_at, keys)
        return past, await self._marks_after(streams, past, known_at, keys)

    def _is_due(self, past: Past | None, marks: Sequence[Mark], last: int) -> bool:
        """Whether snapshots of a stream of so many versions are missing at its end."""
        kept = marks[-1].version if marks else past.held.version if past else 0
        return self.snapshots.is_due_between(kept, last)

    def _out_of_order(self, marks: Mapping[bytes, Sequence[Mark]], valid_at: int) -> list[Place]:
        """Of streams of which much would have to be read, as it wasn't recorded in the order in which it happened."""
        unread = {
            stream: sum(mark.version + 1 - mark.first for mark in own if mark.earliest_at <= valid_at)
            for stream, own in marks.items()
        }
        long = [stream for stream, amount in unread.items() if amount > BLOCKS_READ * self.snapshots.every]
        return [place for stream in long for place in self._ordered.stretches(stream, marks[stream][-1].version)]

    async def _marks_after(
        self, streams: Collection[bytes], past: Mapping[bytes, Past], known_at: int, keys: Mapping[bytes, DataKey]
    ) -> dict[bytes, list[Mark]]:
        marks: dict[bytes, list[Mark]] = {stream: [] for stream in streams}
        versions = {stream: past[stream].held.version if stream in past else 0 for stream in streams if stream in keys}
        for mark in await self.snapshots.marks_after(versions, known_at, keys):
            marks[mark.stream].append(mark)
        return marks

    def _stretches(self, stream: bytes, end: int, passed: Iterable[Mark], last: int) -> Iterator[Stretch]:
        """What is after version `end`, up to `last`, without the blocks of which nothing had happened by then: of them only what is
        timeless counts."""
        first = end + 1
        for mark in passed:
            if mark.stream == stream:
                if first < mark.first:
                    yield self._stretch(stream, first, mark.first - 1)
                first = mark.version + 1
        if first <= last:
            yield self._stretch(stream, first, last)

    def _stretch(self, stream: bytes, first: int, last: int) -> Stretch:
        return Stretch(partition_of(stream, self._partitions), stream, first, last)

    def _rest(self, stream: bytes, past: Mapping[bytes, Past], lasts: Mapping[bytes, int]) -> tuple[int, int]:
        return past[stream].held.version + 1 if stream in past else 1, lasts.get(stream, NEWEST)

    def _placed(self, streams: Iterable[bytes]) -> list[tuple[int, bytes]]:
        return [(partition_of(stream, self._partitions), stream) for stream in streams]

    def advance(self, past: Past, records: Iterable[Record], key: DataKey | None) -> Iterator[Snapshot]:
        """Adds a stream's next records, in order; gives the snapshots that are due on the way."""
        for block in self._blocks(records):
            first, last = past.held.version + 1, block[-1]
            add(past, block, key, self._keeping)
            if key is not None and self.snapshots.is_due(last.version):
                happened = [record.entry.occurred_at for record in block if not is_timeless(record.entry)]
                place = last.entry.stream, last.version, last.pos, last.recorded_at
                of_block = first, min(happened, default=END_OF_TIME), past.latest_at, len(happened) < len(block)
                yield self.snapshots.take(past.held, Mark(*place, *of_block), key)

    def _blocks(self, records: Iterable[Record]) -> Iterator[list[Record]]:
        """Each up to where a snapshot is due."""
        block: list[Record] = []
        for record in records:
            block.append(record)
            if self.snapshots.is_due(record.version):
                yield block
                block = []
        if block:
            yield block

    def add(self, past: Past, record: Record, key: DataKey | None) -> None:
        add(past, [record], key, self._keeping)


def counts(record: Record, valid_at: int, known_at: int) -> bool:
    return record.recorded_at <= known_at and happened_by(record.entry, valid_at)
