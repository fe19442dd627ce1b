"""An event as it stands in the log."""

import hashlib

import msgspec

from shared.events.catalogue import Entry
from shared.log.merkle import leaf_hash


class Record(msgspec.Struct, frozen=True):
    """`entry` in its place: position in the partition from 0, version in the stream from 1, instants in microseconds."""

    partition: int
    pos: int
    version: int
    recorded_at: int
    entry: Entry


def leaf_of(entry: Entry, version: int, recorded_at: int) -> bytes:
    """What the tree has at the event's position: the leaf hash (RFC 6962, 2.1) of `leaf_data`."""
    return leaf_hash(leaf_data(entry, version, recorded_at))


def leaf_data(entry: Entry, version: int, recorded_at: int) -> bytes:
    """Nine parts, each after its length (4 bytes, big-endian, as all numbers are). The position is the leaf's place in the tree.

    Commits to the envelope by its hash, and the envelope is ciphertext, so that a proof survives an erasure.
    """
    parts = (
        entry.stream,
        version.to_bytes(8),
        entry.event_id,
        entry.type_id.encode(),
        entry.schema_version.to_bytes(4),
        recorded_at.to_bytes(8),
        entry.occurred_at.to_bytes(8, signed=True),
        entry.header,
        hashlib.sha256(entry.envelope).digest(),
    )
    return b"".join([len(part).to_bytes(4) + part for part in parts])
