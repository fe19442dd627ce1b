"""The catalogue of event types: explicit id and schema version, a public part, and for some a personal part.

The public part is readable by every follower and covered by proofs as it is; the personal part lives in an envelope.
Stored are the id and version given here, never a class path. A new field needs a default; a new meaning, a new type.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from shared.privacy import REDACTED, Personal, Redacted
from shared.vault.envelope import DataKey


class Public(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The part of an event that every follower may read."""


@dataclass(frozen=True, slots=True)
class EventType:
    """One entry of the catalogue, with ready coders."""

    id: str
    version: int
    public: type[Public]
    personal: type[Personal] | None
    decode_public: Callable[[bytes], Any]
    decode_personal: Callable[[bytes], Any] | None


class UnknownEvent(Exception):
    """A type or schema version this release doesn't know: a newer release wrote it."""


CATALOGUE: dict[str, EventType] = {}
encode = msgspec.msgpack.Encoder().encode


def register(type_id: str, version: int, public: type[Public], personal: type[Personal] | None = None) -> EventType:
    decode_personal = msgspec.msgpack.Decoder(personal).decode if personal else None
    event_type = EventType(type_id, version, public, personal, msgspec.msgpack.Decoder(public).decode, decode_personal)
    assert type_id not in CATALOGUE, f"{type_id} is registered twice"
    CATALOGUE[type_id] = event_type
    return event_type


def event_type(type_id: str, schema_version: int) -> EventType:
    """Raises UnknownEvent."""
    known = CATALOGUE.get(type_id)
    if known is None or schema_version > known.version:
        raise UnknownEvent(f"{type_id} version {schema_version}")
    return known


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """An event as it is stored and carried. `event_id` and `stream` are 16 bytes, `occurred_at` is microseconds."""

    stream: bytes
    event_id: bytes
    type_id: str
    schema_version: int
    occurred_at: int
    header: bytes
    envelope: bytes = b""

    def public(self) -> Any:
        """Raises UnknownEvent."""
        return event_type(self.type_id, self.schema_version).decode_public(self.header)

    def personal(self, key: DataKey | None) -> Personal | Redacted | None:
        """None: the type has no personal part. Redacted: its key is gone. Raises EnvelopeBroken, UnknownEvent."""
        decode = event_type(self.type_id, self.schema_version).decode_personal
        if decode is None:
            return None
        if key is None:
            return REDACTED
        return decode(key.open(self.envelope, binding(self.stream, self.event_id, self.type_id, self.schema_version)))  # type: ignore[no-any-return]


def binding(stream: bytes, event_id: bytes, type_id: str, schema_version: int) -> bytes:
    """Where an envelope belongs (its associated data)."""
    return b"%b%b%b/%d" % (stream, event_id, type_id.encode(), schema_version)


def make_entry(
    kind: EventType,
    stream: bytes,
    event_id: bytes,
    occurred_at: int,
    public: Public,
    personal: Personal | None = None,
    key: DataKey | None = None,
) -> Entry:
    """Seals the personal part under the stream's key."""
    assert type(public) is kind.public, kind.id
    envelope = b""
    if personal is not None:
        assert key is not None, f"{kind.id} has a personal part and needs a key"
        envelope = key.seal(encode(personal), binding(stream, event_id, kind.id, kind.version))
    return Entry(stream, event_id, kind.id, kind.version, occurred_at, encode(public), envelope)
