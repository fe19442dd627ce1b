"""A Mapper of the library for the events of our catalogue: seals and opens personal parts under each stream's own key."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol, Self
from uuid import UUID

from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import DataError, Mapper, StoredEvent, Transcoder

from shared.errors import WrongState
from shared.events.catalogue import Entry, EventType, Public, encode, event_type, make_entry
from shared.ids import to_text
from shared.instants import EPOCH
from shared.log.seam.rows import to_entry, to_stored_event
from shared.privacy import Personal, Redacted
from shared.vault import DataKey


class KeySource(Protocol):
    """The key of a stream; None when it was destroyed, or never made. A dict's `get` is one."""

    def __call__(self, stream: bytes, /) -> DataKey | None: ...


@dataclass(frozen=True)
class LogEvent:
    """One event of a stream with its parts readable. `entry.envelope` is empty until the mapper has sealed it."""

    originator_version: int
    entry: Entry
    public: Any
    personal: Personal | Redacted | None

    @classmethod
    def new(
        cls,
        kind: EventType,
        originator_id: UUID,
        originator_version: int,
        event_id: bytes,
        occurred_at: int,
        public: Public,
        personal: Personal | None = None,
    ) -> Self:
        assert type(public) is kind.public, kind.id
        assert isinstance(personal, kind.personal or type(None)), kind.id
        entry = Entry(originator_id.bytes, event_id, kind.id, kind.version, occurred_at, encode(public))
        return cls(originator_version, entry, public, personal)

    @property
    def originator_id(self) -> UUID:
        return UUID(bytes=self.entry.stream)

    @property
    def timestamp(self) -> datetime:
        """When it happened, not when it was recorded."""
        return EPOCH + timedelta(microseconds=self.entry.occurred_at)

    def sealed(self, keys: KeySource) -> Entry:
        """As it is when it came from a log; else sealed. Raises WrongState (KEY_MISSING): an erased stream gets no new key."""
        if self.entry.envelope or not isinstance(self.personal, Personal):
            return self.entry
        entry = self.entry
        key = keys(entry.stream)
        if key is None:
            raise WrongState("this stream has no key", reason="KEY_MISSING", stream=to_text(entry.stream))
        kind = event_type(entry.type_id, entry.schema_version)
        return make_entry(kind, entry.stream, entry.event_id, entry.occurred_at, self.public, self.personal, key)


class SealingMapper(Mapper[UUID]):
    """The catalogue has the coders and the vault the keys; `transcoder` is there because the library wants one."""

    def __init__(self, transcoder: Transcoder, keys: KeySource) -> None:
        super().__init__(transcoder)
        self._keys = keys

    def to_stored_event(self, domain_event: DomainEventProtocol[UUID]) -> StoredEvent:
        if not isinstance(domain_event, LogEvent):
            raise DataError(f"{type(domain_event).__name__} is not an event of the catalogue")
        return to_stored_event(domain_event.sealed(self._keys), domain_event.originator_version)

    def to_domain_event(self, stored_event: StoredEvent) -> DomainEventProtocol[UUID]:
        """Raises UnknownEvent for what a newer release wrote, EnvelopeBroken (an alarm) when a live key doesn't open it."""
        entry = to_entry(stored_event)
        public, personal = entry.parts(self._keys(entry.stream))
        return LogEvent(stored_event.originator_version, entry, public, personal)
