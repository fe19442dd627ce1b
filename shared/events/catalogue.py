"""The catalogue of event types: explicit id and schema version, a public part, and for some a personal part.

The public part is readable by every follower and covered by proofs as it is; the personal part lives in an envelope.
Stored are the id and version given here, never a class path. A new field needs a default and no new version; what an
upcaster can derive from the old form is a new version; a new meaning is a new type.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from shared.poison import Halted
from shared.privacy import REDACTED, Personal, Redacted
from shared.vault.envelope import DataKey


class Public(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The part of an event that every follower may read. (`gc=False`, here and at `Entry`: see `shared.privacy.Personal`.)"""


BEARS_ON = "bears_on"
GRAPH, PERMISSION = "graph", "permission"


class GraphFact(Public, frozen=True, kw_only=True, tag_field=BEARS_ON, tag=GRAPH):
    """An event that changes who belongs together. It says so in its header, so that a follower of an older release, which
    doesn't know the type, knows all the same that it may not skip it."""


class PermissionFact(Public, frozen=True, kw_only=True, tag_field=BEARS_ON, tag=PERMISSION):
    """An event that changes what is permitted; marked like a GraphFact, for whoever enforces it."""


class UnknownEvent(Halted):
    """A type or schema version this release doesn't know: a newer release wrote it. Who needs it stops."""

    reason = "UNKNOWN_EVENT"


Upcast = Callable[[dict[str, Any]], dict[str, Any]]


def unchanged(part: dict[str, Any]) -> dict[str, Any]:
    return part


@dataclass(frozen=True, slots=True)
class Upcaster:
    """From one schema version to the next: pure functions of the decoded maps. `change` tells people what is different."""

    change: str
    public: Upcast = unchanged
    personal: Upcast = unchanged


Read = Callable[[bytes], Any]  # raises msgspec.DecodeError, whose text may quote the data: log its type alone


@dataclass(frozen=True, slots=True)
class Form:
    """How events of one schema version are read, in the newest form of their type."""

    read_public: Read
    read_personal: Read | None
    binding_end: bytes

    def binding(self, stream: bytes, event_id: bytes) -> bytes:
        """Where an envelope belongs (its associated data)."""
        return stream + event_id + self.binding_end


@dataclass(frozen=True, slots=True)
class EventType:
    """One entry of the catalogue. `upcasters[n - 1]` leads from version n to n + 1, and `forms[n - 1]` reads version n.

    `call` is what sources call it, empty for what none sends. `timeless` events count at every valid time; None stands for
    types outside customers' streams, of which nobody asks it.
    """

    id: str
    version: int
    public: type[Public]
    personal: type[Personal] | None
    upcasters: tuple[Upcaster, ...]
    forms: tuple[Form, ...]
    call: str = ""
    timeless: bool | None = None


def _reader(kind: type[msgspec.Struct], upcasts: Sequence[Upcast]) -> Read:
    if not upcasts:
        return msgspec.msgpack.Decoder(kind).decode

    def read(data: bytes) -> Any:
        part = decode_map(data)
        try:
            for upcast in upcasts:
                part = upcast(part)
        except (LookupError, TypeError, ValueError, AttributeError):
            raise msgspec.ValidationError("not what this version was") from None
        return msgspec.convert(part, kind)

    return read


CATALOGUE: dict[str, EventType] = {}
encode = msgspec.msgpack.Encoder().encode
decode_map = msgspec.msgpack.Decoder(dict[str, Any]).decode


def register(
    type_id: str,
    version: int,
    public: type[Public],
    personal: type[Personal] | None = None,
    upcasters: Sequence[Upcaster] = (),
    *,
    call: str = "",
    timeless: bool | None = None,
) -> EventType:
    assert type_id not in CATALOGUE, f"{type_id} is registered twice"
    CATALOGUE[type_id] = make_type(type_id, version, public, personal, upcasters, call=call, timeless=timeless)
    return CATALOGUE[type_id]


def make_type(
    type_id: str,
    version: int,
    public: type[Public],
    personal: type[Personal] | None = None,
    upcasters: Sequence[Upcaster] = (),
    *,
    call: str = "",
    timeless: bool | None = None,
) -> EventType:
    assert len(upcasters) == version - 1, f"{type_id} needs an upcaster from each version but the newest"
    forms = []
    for older in range(version):
        read_public = _reader(public, [upcaster.public for upcaster in upcasters[older:]])
        read_personal = _reader(personal, [upcaster.personal for upcaster in upcasters[older:]]) if personal else None
        forms.append(Form(read_public, read_personal, b"%b/%d" % (type_id.encode(), older + 1)))
    return EventType(type_id, version, public, personal, tuple(upcasters), tuple(forms), call, timeless)


def event_type(type_id: str, schema_version: int) -> EventType:
    """Raises UnknownEvent."""
    form_of(type_id, schema_version)
    return CATALOGUE[type_id]


def form_of(type_id: str, schema_version: int) -> Form:
    """Raises UnknownEvent."""
    known = CATALOGUE.get(type_id)
    if known is None or not 1 <= schema_version <= known.version:
        raise UnknownEvent(f"{type_id} version {schema_version}")
    return known.forms[schema_version - 1]


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An event as it is stored and carried. `event_id` and `stream` are 16 bytes, `occurred_at` is microseconds."""

    stream: bytes
    event_id: bytes
    type_id: str
    schema_version: int
    occurred_at: int
    header: bytes
    envelope: bytes = b""

    @property
    def kind(self) -> str:
        """What timelines call it: its type without the name of the log."""
        return self.type_id.partition(".")[2]

    def public(self) -> Any:
        """In the newest form of its type. Raises UnknownEvent, msgspec.DecodeError."""
        return form_of(self.type_id, self.schema_version).read_public(self.header)

    def personal(self, key: DataKey | None) -> Personal | Redacted | None:
        """None: the type has no personal part. Redacted: its key is gone. Raises EnvelopeBroken, UnknownEvent, DecodeError."""
        return self._opened(form_of(self.type_id, self.schema_version), key)

    def parts(self, key: DataKey | None) -> tuple[Any, Personal | Redacted | None]:
        """`public()` and `personal(key)` together, which costs less than one after the other. Raises what they do."""
        form = form_of(self.type_id, self.schema_version)
        return form.read_public(self.header), self._opened(form, key)

    def _opened(self, form: Form, key: DataKey | None) -> Personal | Redacted | None:
        if form.read_personal is None:
            return None
        if key is None:
            return REDACTED
        return form.read_personal(key.open(self.envelope, form.binding(self.stream, self.event_id)))  # type: ignore[no-any-return]

    @property
    def bears_on(self) -> str:
        """GRAPH, PERMISSION or nothing, also of a type that this release doesn't know. Raises msgspec.DecodeError."""
        return _decode_bearing(self.header).bears_on


class _Bearing(msgspec.Struct):
    bears_on: str = ""


_decode_bearing = msgspec.msgpack.Decoder(_Bearing).decode


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
        envelope = key.seal(encode(personal), kind.forms[-1].binding(stream, event_id))
    return Entry(stream, event_id, kind.id, kind.version, occurred_at, encode(public), envelope)
