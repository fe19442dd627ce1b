"""Who was one with whom when something was read, and by which identifiers: from the log, without any key and without a fold of what they
sent. Nothing is kept of it.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from services.profile.clusters import joined
from services.profile.domain.disclosure import Disclosure
from services.profile.domain.rules import PLAIN
from services.profile.domain.state import Held
from services.profile.tables.folding import add
from services.profile.tables.snapshots import Past
from shared.events import customer as events
from shared.ids import partition_of
from shared.instants import END_OF_TIME
from shared.log import LogReader, Record

Trail = Sequence[
    Record
]  # what founded a customer, linked identifiers to it, joined it to others, ended that, or erased it: in order
OF_TRAILS: Final = (*events.TIMELESS_IDS, events.ERASED.id)


class Trails:
    def __init__(self, reader: LogReader, partitions: int) -> None:
        self._reader = reader
        self._partitions = partitions

    async def of(self, customers: Collection[bytes]) -> "Bygone":
        """With all who were ever one with any of these."""
        found: dict[bytes, list[Record]] = {}
        ring = set(customers)
        while ring:
            placed = [(partition_of(stream, self._partitions), stream) for stream in ring]
            found |= {stream: [] for stream in ring}
            records = await self._reader.of_types(placed, OF_TRAILS, END_OF_TIME)
            for record in sorted(records, key=lambda one: one.version):
                found[record.entry.stream].append(record)
            ring = {other for record in records for other in _joined_by(record)} - found.keys()
        return Bygone(found)


def _joined_by(record: Record) -> list[bytes]:
    public = record.entry.public()
    return [public.other] if isinstance(public, events.CustomersMerged) else []


class Bygone:
    """States at past reads, by what is told of them in trails."""

    def __init__(self, trails: Mapping[bytes, Trail]) -> None:
        self._trails = trails
        self._states: dict[tuple[bytes, int], Held] = {}

    async def held(self, read: Disclosure) -> dict[bytes, Held]:
        """Of all who were one with those that it is about, when it was answered."""

        async def load(streams: Collection[bytes]) -> dict[bytes, Held]:
            found = {stream: (trail, _known(trail, read)) for stream in streams if (trail := self._trails.get(stream))}
            return {stream: self._state(stream, trail, length) for stream, (trail, length) in found.items() if length}

        return await joined(read.given.members, load)

    def _state(self, stream: bytes, trail: Trail, length: int) -> Held:
        if (found := self._states.get((stream, length))) is None:
            past = Past()
            add(past, trail[:length], None, PLAIN)
            found = self._states[stream, length] = past.held
        return found


def _known(trail: Trail, read: Disclosure) -> int:
    """How much of it was known to a read, by the newest events that it says who is one by. An answer that is a profile of now, and a refusal, may say
    so by what they were made from."""
    given, partition = read.given, trail[0].partition
    follows = given.tag or given.terms.outcome not in ("permit", "partial")
    of_now = follows and given.valid_at == given.known_at == END_OF_TIME
    newest = dict(given.joined or (given.positions if of_now else ())).get(partition)
    if newest is not None:
        return sum(record.pos <= newest for record in trail)
    return sum(record.recorded_at <= read.at for record in trail)
