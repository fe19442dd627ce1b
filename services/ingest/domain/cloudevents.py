"""CloudEvents 1.0 (https://github.com/cloudevents/spec) as calls of the Segment specification; decision 21 has the table."""

import base64
import binascii
from typing import Any, Final

import msgspec

from services.ingest.domain.call import (
    CLOUDEVENT,
    MAX_MESSAGE_ID,
    Call,
    check_depth,
    check_size,
    is_empty_list,
    may_be_deep,
    read_call,
)
from services.ingest.domain.settings import TYPES
from shared.errors import InvalidInput
from shared.ids import derived_id, to_text
from shared.privacy import Personal

CALL_PREFIX: Final = "c360."  # a type of ours says which call `data` is; any other type is the name of a track
CALLS: Final = frozenset(CALL_PREFIX + kind for kind in TYPES)

Attributes = dict[str, Any]

_decode_keys = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_any = msgspec.json.Decoder().decode


def read_structured(raw: bytes | msgspec.Raw) -> Call:
    """An event in the JSON format. Raises InvalidInput (CLOUDEVENT_INVALID, JSON_BROKEN, and as `to_call`)."""
    check_size(len(raw))
    try:
        keys = _decode_keys(raw)
    except msgspec.ValidationError:
        raise _invalid("a CloudEvent is a JSON object") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidInput("this is not JSON", reason="JSON_BROKEN") from None
    data: bytes | msgspec.Raw | None = keys.pop("data", None)
    packed = keys.pop("data_base64", None)
    return to_call({name: _decode(value) for name, value in keys.items()}, data if packed is None else _unpacked(packed))


class _Named(Personal, frozen=True):
    id: str
    source: str


_decode_named = msgspec.json.Decoder(_Named).decode


def message_id_in(raw: bytes | msgspec.Raw) -> str:
    """Of an event that could not be read; empty when its id and source can't be read either."""
    try:
        named = _decode_named(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return message_id_of(named.source, named.id) if named.source.strip() and named.id.strip() else ""


def to_call(attributes: Attributes, data: bytes | msgspec.Raw | None) -> Call:
    """`data` is JSON; None or empty when there is none. Raises InvalidInput (CLOUDEVENT_INVALID, DATA_NOT_JSON, EVENT_INVALID,
    EVENT_TOO_LARGE, EVENT_TOO_DEEP)."""
    _check(attributes)
    if data is not None and is_empty_list(data):
        data = None
    call = _call_of_ours(data) if attributes["type"] in CALLS else _track(data, attributes["type"])
    return msgspec.structs.replace(
        call,
        type=attributes["type"].removeprefix(CALL_PREFIX) if attributes["type"] in CALLS else "track",
        message_id=message_id_of(attributes["source"], attributes["id"]),
        user_id=attributes.get("userid", call.user_id),
        anonymous_id=attributes.get("anonymousid", call.anonymous_id),
        timestamp=attributes.get("time", call.timestamp),
        extra={**(call.extra or {}), CLOUDEVENT: attributes},
    )


def message_id_of(source: str, event_id: str) -> str:
    """Of two sources behind one write key, both may number their events from 1: only the pair is unique (section 3.1.1)."""
    pair = f"{source} {event_id}"
    if " " not in source and len(pair) <= MAX_MESSAGE_ID and pair == pair.strip():  # the edges of a message id are stripped
        return pair
    return to_text(derived_id(b"cloudevent", source.encode(), event_id.encode()))


def _check(attributes: Attributes) -> None:
    if attributes.get("specversion") != "1.0":
        raise _invalid("a CloudEvent has the specversion 1.0")
    for name in ("id", "source", "type"):
        if not isinstance(attributes.get(name), str) or not attributes[name].strip():
            raise _invalid(f"a CloudEvent has {name} as text")
    for name in ("userid", "anonymousid"):
        if isinstance(attributes.get(name, ""), bool) or not isinstance(attributes.get(name, ""), str | int):
            raise _invalid(f"{name} is text")
    if any(isinstance(value, dict | list) for value in attributes.values()):
        raise _invalid("a CloudEvent's attributes are text, numbers or true and false")
    content_type = attributes.get("datacontenttype") or "application/json"
    if not isinstance(content_type, str) or not is_json(content_type):
        raise InvalidInput("a CloudEvent's data is JSON", reason="DATA_NOT_JSON")


def is_json(content_type: str) -> bool:
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type in ("application/json", "text/json") or media_type.endswith("+json")


def _call_of_ours(data: bytes | msgspec.Raw | None) -> Call:
    return read_call(data) if data else Call()


def _track(data: bytes | msgspec.Raw | None, name: str) -> Call:
    """What the event is about stands in `data`; who did it may stand there too, as in a call."""
    properties = _decode(data) if data else {}
    if not isinstance(properties, dict):
        properties = {"data": properties}
    if data and may_be_deep(data):
        check_depth([properties])
    ids = {key: value for key in ("userId", "anonymousId") if isinstance(value := properties.get(key), str | int)}
    return Call(event=name, properties=properties, user_id=ids.get("userId"), anonymous_id=ids.get("anonymousId"))


def _decode(raw: bytes | msgspec.Raw) -> Any:
    try:
        return _decode_any(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidInput("a CloudEvent's data is JSON", reason="DATA_NOT_JSON") from None


def _unpacked(raw: msgspec.Raw) -> bytes:
    text = _decode(raw)
    try:
        return base64.b64decode(text if isinstance(text, str) else "!", validate=True)
    except (binascii.Error, ValueError):
        raise _invalid("data_base64 is text in base64") from None


def _invalid(message: str) -> InvalidInput:
    return InvalidInput(message, reason="CLOUDEVENT_INVALID")
