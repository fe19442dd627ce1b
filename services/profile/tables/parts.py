"""What had happened of a stream by some instant, in parts: stretches that were put in order, by this read or by an earlier one."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from heapq import merge
from itertools import chain, islice, pairwise

from services.profile.domain.rules import Keeping
from services.profile.tables.folding import add, happened_at
from services.profile.tables.ordered import Coming, Kept, Ordered, Part, Place, Prefix, tells
from services.profile.tables.snapshots import KEPT_AT_ONCE_BYTES, NEVER, Past
from shared.ids import partition_of
from shared.instants import END_OF_TIME
from shared.log import LogReader, Record, Stretch
from shared.pieces import AT_ONCE, Pieces
from shared.vault import DataKey


class Parts:
    def __init__(self, reader: LogReader, ordered: Ordered, partitions: int, keeping: Keeping) -> None:
        self._reader = reader
        self._ordered = ordered
        self._partitions = partitions
        self._keeping = keeping

    async def of(self, places: Sequence[Place], valid_at: int, keys: Mapping[bytes, DataKey]) -> dict[bytes, list[Part]]:
        """By stream, in their order."""
        parts: dict[bytes, list[Part]] = {}
        found = await self._ordered.parts(places, valid_at, keys) if places else {}
        for place in places:
            part = found.get(place) or await self._made(place, valid_at, keys)
            parts.setdefault(place.stream, []).append(part)
        return parts

    async def _made(self, place: Place, valid_at: int, keys: Mapping[bytes, DataKey]) -> Part:
        async with self._ordered.making(place):
            found = await self._ordered.parts([place], valid_at, keys)
            return found.get(place) or await self._put_in_order(place, valid_at, keys[place.stream])

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
            add(past, block, key, self._keeping)
            await turns.done(len(block))
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

    async def coming(self, parts: Mapping[bytes, Collection[Part]], valid_at: int) -> list[Record]:
        records: list[Record] = []
        for stream, own in parts.items():
            versions = [version for part in own for version in part.happened_by(valid_at)]
            records += await self._reader.of_versions(partition_of(stream, self._partitions), stream, versions)
        return records


def _blocks(records: Iterator[Record], size: int) -> Iterator[list[Record]]:
    while block := list(islice(records, size)):
        yield block
