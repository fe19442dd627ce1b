"""An event as it stands in the log."""

import hashlib
import struct
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from shared.events.catalogue import Entry
from shared.log.merkle import leaf_hash
from shared.privacy import Personal
from shared.vault.envelope import DataKey

LENGTH = struct.Struct(">I")
VERSION = struct.Struct(">IqI")
NUMBERS = struct.Struct(">IiIqIqI")
HASH_LENGTH = LENGTH.pack(32)


# Of table `events`, in the order in which rows are read and written; `leaf` is for those who check.
EVENT_COLUMNS = (
    "partition",
    "pos",
    "version",
    "recorded_at",
    "stream",
    "event_id",
    "type_id",
    "schema_version",
    "occurred_at",
    "header",
    "envelope",
)
STORED_COLUMNS = (*EVENT_COLUMNS, "leaf")
COLUMNS = ", ".join(EVENT_COLUMNS)


class Record(msgspec.Struct, frozen=True, gc=False):
    """`entry` in its place: position in the partition from 0, version in the stream from 1, instants in microseconds.

    (`gc=False`: see `shared.privacy.Personal`.)
    """

    partition: int
    pos: int
    version: int
    recorded_at: int
    entry: Entry


def to_record(row: Iterable[Any]) -> Record:
    """`row` has the values of EVENT_COLUMNS."""
    partition, pos, version, recorded_at, stream, event_id, type_id, schema_version, occurred_at, header, envelope = row
    entry = Entry(stream, event_id, type_id, schema_version, occurred_at, header, envelope)
    return Record(partition, pos, version, recorded_at, entry)


def to_row(record: Record, leaf: bytes) -> tuple[Any, ...]:
    """The values of STORED_COLUMNS."""
    entry = record.entry
    return (
        record.partition,
        record.pos,
        record.version,
        record.recorded_at,
        entry.stream,
        entry.event_id,
        entry.type_id,
        entry.schema_version,
        entry.occurred_at,
        entry.header,
        entry.envelope,
        leaf,
    )


def readable_fields(records: Iterable[Record], keys: Mapping[bytes, DataKey]) -> int:
    """The replay check after an erasure: how many personal parts these keys, by stream, still open. Raises EnvelopeBroken."""
    return sum(isinstance(record.entry.personal(keys.get(record.entry.stream)), Personal) for record in records)


def leaf_of(entry: Entry, version: int, recorded_at: int) -> bytes:
    """What the tree has at the event's position: the leaf hash (RFC 6962, 2.1) of `leaf_data`."""
    return leaf_hash(leaf_data(entry, version, recorded_at))


def leaf_data(entry: Entry, version: int, recorded_at: int) -> bytes:
    """Nine parts, each after its length (4 bytes); numbers are big-endian. The position is the leaf's place in the tree.

    Commits to the envelope by its hash, and the envelope is ciphertext, so that a proof survives an erasure.
    """
    stream, event_id, type_id, header = entry.stream, entry.event_id, entry.type_id.encode(), entry.header
    return b"".join(
        (
            LENGTH.pack(len(stream)),
            stream,
            VERSION.pack(8, version, len(event_id)),
            event_id,
            LENGTH.pack(len(type_id)),
            type_id,
            NUMBERS.pack(4, entry.schema_version, 8, recorded_at, 8, entry.occurred_at, len(header)),
            header,
            HASH_LENGTH,
            hashlib.sha256(entry.envelope).digest(),
        )
    )
