"""A call of the Segment specification as it comes in, before it is judged."""

from typing import Annotated, Any, Final

import msgspec

from services.ingest.domain.settings import KnownSource
from shared.errors import InvalidInput
from shared.privacy import Personal

MAX_EVENT_BYTES: Final = 32 * 1024  # as in the original
# Deeper ones would break readers further down (protobuf stops at 100); counting brackets spares most events the walk.
MAX_DEPTH: Final = 32
MAX_MESSAGE_ID: Final = 100  # characters

Text = str | int | None
CLOUDEVENT: Final = "cloudevent"  # in `extra`: the attributes of one, by name
NO_KEY: Final = ""  # the name of a field that is filled by us


class Call(Personal, frozen=True, kw_only=True, rename="camel"):
    """One event as its sender wrote it. Times are ISO 8601 text, or a datetime where the door has typed times."""

    type: Any = None
    message_id: Text = None
    user_id: Text = None
    anonymous_id: Text = None
    external_ids: Any = None
    event: str | None = None
    name: str | None = None
    category: str | None = None
    group_id: Text = None
    previous_id: Text = None
    properties: dict[str, Any] | None = None
    traits: dict[str, Any] | None = None
    context: dict[str, Any] | None = None
    integrations: dict[str, Any] | None = None
    timestamp: Any = None
    original_timestamp: Any = None
    sent_at: Any = None
    write_key: Any = None
    extra: Any = msgspec.field(default=None, name=NO_KEY)  # what the specification doesn't name, by key; None when there is none


class Delivery(Personal, frozen=True, kw_only=True):
    """What the events of one request have in common. Instants in microseconds."""

    source: KnownSource
    received_at: int
    sent_at: int | None = None
    context: dict[str, Any] = {}
    integrations: dict[str, Any] = {}
    flags: tuple[str, ...] = ()  # of what was odd about the request
    gpc: bool = False  # its head says `Sec-GPC: 1`


class _NamedOnly(Call, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A call that holds nothing else; `extra` takes no value, so that not even the empty key passes."""

    extra: Annotated[int, msgspec.Meta(gt=0, lt=0)] = msgspec.field(default=None, name=NO_KEY)  # type: ignore[assignment]


_decode_named_only = msgspec.json.Decoder(_NamedOnly).decode
_decode = msgspec.json.Decoder(Call).decode
_decode_keys = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_value = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_KNOWN: Final = frozenset(field.encode_name for field in msgspec.structs.fields(Call)) - {NO_KEY}
_OBJECTS: Final = frozenset({"properties", "traits", "context", "integrations"})


def read_call(raw: bytes | msgspec.Raw) -> Call:
    """As CallReader."""
    return CallReader().read(raw)


class CallReader:
    """Reads the calls of one request.

    A call that holds only what the specification names is decoded once. An SDK that adds keys adds them to every call, so after
    the first of these the rest of the request is looked through for them without trying that.
    """

    def __init__(self) -> None:
        self._named_only = True

    def read(self, raw: bytes | msgspec.Raw) -> Call:
        """Raises InvalidInput (EVENT_TOO_LARGE, EVENT_TOO_DEEP, JSON_BROKEN, EVENT_INVALID)."""
        check_size(len(raw))
        try:
            call = self._decoded(raw)
        except msgspec.ValidationError as error:
            # Its text names types and the fields above, nothing from inside the event.
            raise InvalidInput(str(error), reason="EVENT_INVALID") from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise InvalidInput("this is not JSON", reason="JSON_BROKEN") from None
        except RecursionError:
            raise too_deep() from None
        if may_be_deep(raw):
            check_depth([call.properties, call.traits, call.context, call.integrations, call.external_ids, call.extra])
        return call

    def _decoded(self, raw: bytes | msgspec.Raw) -> Call:
        if self._named_only:
            try:
                return _decode_named_only(raw)
            except msgspec.ValidationError:
                self._named_only = False
        keys = _decode_keys(raw)
        try:
            call = _decode(raw)
        except msgspec.ValidationError:
            call = _decode(_encode(_without_empty_lists(keys)))
        if _KNOWN.issuperset(keys):
            return call
        return msgspec.structs.replace(call, extra={key: _decode_value(raw) for key, raw in keys.items() if key not in _KNOWN})


def _without_empty_lists(keys: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
    """PHP has one type for lists and objects, and writes an empty one as a list."""
    return {key: value for key, value in keys.items() if not (key in _OBJECTS and is_empty_list(value))}


def is_empty_list(raw: bytes | msgspec.Raw) -> bool:
    """Of JSON."""
    plain = bytes(raw).strip()
    return plain[:1] == b"[" and not plain[1:-1].strip()


class _Named(Personal, frozen=True, rename="camel"):
    message_id: Text = None


_decode_named = msgspec.json.Decoder(_Named).decode


def message_id_in(raw: bytes | msgspec.Raw) -> str:
    """Of a call that could not be read, so that its sender can find it again; empty when that can't be read either."""
    try:
        found = _decode_named(raw).message_id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    message_id = "" if found is None else str(found).strip()
    return message_id if len(message_id) <= MAX_MESSAGE_ID else ""


def check_size(size_bytes: int) -> None:
    if size_bytes > MAX_EVENT_BYTES:
        raise InvalidInput("an event has at most 32 KB", reason="EVENT_TOO_LARGE", limit_bytes=MAX_EVENT_BYTES)


def may_be_deep(raw: bytes | msgspec.Raw) -> bool:
    """Whether it has enough brackets; they may stand side by side, or in text."""
    plain = bytes(raw)
    return plain.count(b"{") + plain.count(b"[") > MAX_DEPTH


def check_depth(values: list[Any]) -> None:
    """Raises InvalidInput (EVENT_TOO_DEEP)."""
    level = values
    for _ in range(MAX_DEPTH):
        level = [item for value in level if isinstance(value, dict | list) for item in _items(value)]
        if not level:
            return
    raise too_deep()


def _items(value: dict[str, Any] | list[Any]) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value


def too_deep() -> InvalidInput:
    return InvalidInput("objects and lists stand at most 32 levels deep", reason="EVENT_TOO_DEEP", limit=MAX_DEPTH)
