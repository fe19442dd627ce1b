"""An event as it stands in the log."""

import hashlib

import msgspec

from shared.events.catalogue import Entry


class Record(msgspec.Struct, frozen=True):
    """`entry` in its place: position in the partition from 0, version in the stream from 1, instants in microseconds."""

    partition: int
    pos: int
    version: int
    recorded_at: int
    entry: Entry


def leaf_of(entry: Entry, version: int, recorded_at: int) -> bytes:
    """Commits to the event by its header and the hash of its envelope: ciphertext, so that it survives an erasure."""
    envelope_hash = hashlib.sha256(entry.envelope).digest()
    parts = (
        entry.stream,
        version.to_bytes(8),
        entry.event_id,
        entry.type_id.encode(),
        entry.schema_version.to_bytes(4),
        recorded_at.to_bytes(8),
        entry.occurred_at.to_bytes(8, signed=True),
        entry.header,
        envelope_hash,
    )
    # A leading zero byte sets leaves apart from inner nodes (RFC 6962, 2.1); lengths keep neighbouring parts apart.
    return hashlib.sha256(b"\0" + b"".join(len(part).to_bytes(4) + part for part in parts)).digest()
