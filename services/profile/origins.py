"""Where a customer's identifiers and activities came from, asked of the log without reading all of it."""

from collections.abc import Collection, Mapping, Sequence

import msgspec

from services.profile.app import Instant
from services.profile.domain.fold import happened_by
from services.profile.profile import Profile
from shared.events import customer as events
from shared.ids import partition_of
from shared.log import LogReader, Record
from shared.log.reader import NEWEST, Happened


class Origin(msgspec.Struct, frozen=True):
    """What first linked an identifier: when it happened, and the event that named it, if one did and it is still there."""

    linked_at: int
    event_id: bytes | None = None
    source: str | None = None


class Origins:
    """Of a profile, from the events that it was made from: what the log has beyond them isn't in the rest of the answer either."""

    def __init__(self, reader: LogReader, partitions: int) -> None:
        self._reader = reader
        self._partitions = partitions

    async def of_identifiers(self, profile: Profile, instant: Instant, wanted: Collection[bytes]) -> Mapping[bytes, Origin]:
        """By identifier hash, of those `wanted`."""
        places = self._places(profile)
        records = await self._reader.of_types(places, (events.LINKED.id, events.UNLINKED.id), instant.known_at)
        known = [record for record in records if _is_in(record, profile)]
        first = first_links([record for record in known if happened_by(record.entry, instant.valid_at)])
        links = {value_hash: first[value_hash] for value_hash in wanted if value_hash in first}
        causes = {link.entry.public().cause for link in links.values()}
        sources = {
            record.entry.event_id: record.entry.public().source
            for record in await self._reader.of_ids(places, causes)
            if isinstance(record.entry.public(), events.Activity) and _is_in(record, profile)
        }
        return {value_hash: _origin(link, sources) for value_hash, link in links.items()}

    async def activities(self, profile: Profile, instant: Instant) -> tuple[Record, Record] | None:
        """The first and the last, by when they happened."""
        valid_at, known_at = instant.valid_at, instant.known_at
        which = Happened(valid_at=valid_at, known_at=known_at, types=events.ACTIVITY_IDS, newest=profile.positions)
        places = self._places(profile)
        first = await self._reader.happened(places, msgspec.structs.replace(which, earliest_first=True), 1)
        last = await self._reader.happened(places, which, 1)
        return (first[0], last[0]) if first and last else None

    def _places(self, profile: Profile) -> Sequence[tuple[int, bytes]]:
        return [(partition_of(member, self._partitions), member) for member in profile.record.members]


def _is_in(record: Record, profile: Profile) -> bool:
    return record.pos <= profile.positions.get(record.partition, NEWEST)


def first_links(records: Collection[Record]) -> dict[bytes, Record]:
    """By identifier hash, of IdentifierLinked and IdentifierUnlinked in any order: the first link that wasn't taken back."""
    cut = {record.entry.public().link_id for record in records if record.entry.type_id == events.UNLINKED.id}
    links = [r for r in records if r.entry.type_id == events.LINKED.id and r.entry.event_id not in cut]
    latest_first = sorted(links, key=lambda link: (link.entry.occurred_at, link.entry.event_id), reverse=True)
    return {link.entry.public().value_hash: link for link in latest_first}


def _origin(link: Record, sources: Mapping[bytes, str]) -> Origin:
    cause = link.entry.public().cause
    return Origin(link.entry.occurred_at, cause if cause in sources else None, sources.get(cause))
