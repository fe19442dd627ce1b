"""Reads of what happened, over all members of a cluster."""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from services.profile.app import Instant, Profiles
from services.profile.clusters import nothing_yet
from services.profile.enforcement import release_event
from shared.events import customer as events
from shared.events.consent import PurposeDefined
from shared.ids import partition_of
from shared.instants import END_OF_TIME
from shared.log import LogReader, Record
from shared.log.reader import BEGINNING_OF_TIME, Happened, Place
from shared.vault import Vault

LOOKED_INTO = 2_000  # events at most that are opened for a page whose filter only their content can answer


class TimelineItem(msgspec.Struct, frozen=True):
    """`personal` is what the envelope held: a Personal, REDACTED, or None for kinds that have none.

    `named` are the customers that it is about and that may be named: whose stream it is in, and the other one of a merge, split
    or proposal. Of whoever was erased the id isn't told, unless it is asked for whoever was erased with her.
    """

    kind: str
    record: Record
    public: Any
    personal: Any
    named: Sequence[bytes] = ()

    @property
    def customer(self) -> bytes | None:
        """Whose stream it is in."""
        return self.record.entry.stream if self.record.entry.stream in self.named else None


class Filter(msgspec.Struct, frozen=True):
    """What of a timeline is wanted: all kinds, sources and names where none is given; happened from `since` to `until`, both included."""

    kinds: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    since: int = BEGINNING_OF_TIME
    until: int = END_OF_TIME
    without_names: frozenset[str] = frozenset()
    earliest_first: bool = False

    @property
    def looks_inside(self) -> bool:
        """Whether the log can't tell by itself what is wanted."""
        return bool(self.sources or self.names or self.without_names)

    def takes(self, item: TimelineItem, purpose: PurposeDefined) -> bool:
        """By the name that the purpose may see: else a filter would tell what is withheld."""
        if self.sources and getattr(item.public, "source", None) not in self.sources:
            return False
        if not self.names and not self.without_names:
            return True
        name = release_event(item.public, item.personal, purpose).name
        return name not in self.without_names and (not self.names or name in self.names)


class Stretch(msgspec.Struct, frozen=True):
    """A part of a timeline, in its order; `rest` is where it goes on, None at its end. It may be empty and still go on."""

    items: list[TimelineItem]
    rest: Place | None


class Timelines:
    """Reads of what happened, over all members of a cluster. Nothing is replayed: a page is read where it stands in the log."""

    def __init__(self, profiles: Profiles, reader: LogReader, vault: Vault, partitions: int) -> None:
        self._profiles = profiles
        self._reader = reader
        self._vault = vault
        self._partitions = partitions

    async def page(
        self, customer: bytes, instant: Instant, purpose: PurposeDefined, wanted: Filter, before: Place | None, limit: int
    ) -> Stretch:
        """Up to `limit` events behind the place given; fewer when so many had to be looked into. Raises NotFound (CUSTOMER_UNKNOWN)."""
        members, known_at = await self._profiles.members(customer, instant.known_at)
        await self._profiles.permit_others(members, purpose)
        streams = [(partition_of(stream, self._partitions), stream) for stream in members]
        by_then = Happened(valid_at=instant.valid_at, known_at=known_at, timeless=events.TIMELESS_IDS)
        if not instant.is_now and not await self._reader.anything_happened(streams, by_then):
            raise nothing_yet(customer)
        which = msgspec.structs.replace(
            by_then,
            before=before,
            since=wanted.since,
            until=wanted.until,
            types=_types(wanted.kinds),
            earliest_first=wanted.earliest_first,
        )
        most = LOOKED_INTO if wanted.looks_inside else limit
        records = await self._reader.happened(streams, which, most + 1)
        items = await self._open(customer, records[:most])
        found = [item for item in items if wanted.takes(item, purpose)]
        if len(found) > limit:
            return Stretch(found[:limit], place_of(found[limit - 1].record))
        return Stretch(found, place_of(records[most - 1]) if len(records) > most else None)

    async def _open(self, customer: bytes, records: Sequence[Record]) -> list[TimelineItem]:
        keys = await self._vault.keys({record.entry.stream for record in records})
        unnamed = await self._profiles.unnamed(customer, {end for record in records for end in _ends(record)})
        items = []
        for record in records:
            named = [end for end in _ends(record) if end not in unnamed]
            parts = record.entry.parts(keys.get(record.entry.stream))
            items.append(TimelineItem(record.entry.kind, record, *parts, named))
        return items


def _types(kinds: Collection[str]) -> list[str] | None:
    return [kind.id for kind in events.TYPES if kind.id.partition(".")[2] in kinds] if kinds else None


def _ends(record: Record) -> list[bytes]:
    """The customer whose stream it is in, and the other one of what is told to two."""
    other = getattr(record.entry.public(), "other", None)
    return [record.entry.stream] if other is None else [record.entry.stream, other]


def place_of(record: Record) -> Place:
    return record.entry.occurred_at, record.recorded_at, record.partition, record.pos
