"""The library's stored event and our entry are the same event in two forms.

`topic` is "type_id/schema_version", never a class path. `state` frames what the topic and the originator don't say: event id
(16 bytes), occurred_at (8, signed), length of the header (4), header, envelope; big-endian. The frame itself is never stored.
"""

import struct
from uuid import UUID

from eventsourcing.persistence import DataError, Notification, StoredEvent

from shared.events.catalogue import Entry
from shared.log.records import Record

FRAME = struct.Struct(">16sqI")


def to_stored_event(entry: Entry, version: int) -> StoredEvent:
    return StoredEvent(UUID(bytes=entry.stream), version, topic_of(entry), frame(entry))


def to_notification(record: Record) -> Notification:
    """Positions start at 0, notification ids at 1."""
    entry = record.entry
    return Notification(UUID(bytes=entry.stream), record.version, topic_of(entry), frame(entry), id=record.pos + 1)


def to_entry(stored: StoredEvent) -> Entry:
    """Raises DataError for what is not in our form."""
    type_id, slash, version = stored.topic.rpartition("/")
    if not type_id or not slash or not (version.isascii() and version.isdigit()):
        raise DataError("a topic is type_id/schema_version")
    if len(stored.state) < FRAME.size:
        raise DataError("the state is shorter than its frame")
    event_id, occurred_at, header_bytes = FRAME.unpack_from(stored.state)
    envelope_start = FRAME.size + header_bytes
    if len(stored.state) < envelope_start:
        raise DataError("the state is shorter than its header")
    header, envelope = stored.state[FRAME.size : envelope_start], stored.state[envelope_start:]
    return Entry(stream_of(stored.originator_id), event_id, type_id, int(version), occurred_at, header, envelope)


def stream_of(originator_id: UUID | str) -> bytes:
    if not isinstance(originator_id, UUID):
        raise DataError("an originator id is a UUID")
    return originator_id.bytes


def topic_of(entry: Entry) -> str:
    return f"{entry.type_id}/{entry.schema_version}"


def frame(entry: Entry) -> bytes:
    return FRAME.pack(entry.event_id, entry.occurred_at, len(entry.header)) + entry.header + entry.envelope
