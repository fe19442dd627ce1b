"""Segment event objects (https://segment.com/docs/connections/spec/) as ingest's events; how files of them are read.

Only what cannot be carried at all is rejected here; every other verdict is the service's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any

from services.cli.instants import parse_iso
from services.cli.notation import keep_digits

if TYPE_CHECKING:
    from c360.ingest.v1 import ingest_pb2

DEPTH_AT_MOST = 32  # the service's limit; protobuf could not even carry more, and would refuse the whole batch
EVENT_BYTES_AT_MOST = 1024 * 1024  # far above the service's limit, and below what gRPC would refuse the batch for
DOCUMENT_BYTES_AT_MOST = 64 * 1024 * 1024  # a document over several lines is read whole; JSON Lines never are


class UnreadableEventError(Exception):
    """Carries the reason, in the service's own words, and the field that is to blame."""

    def __init__(self, reason: str, field: str) -> None:
        super().__init__(reason, field)
        self.reason = reason
        self.field = field


@dataclass(frozen=True)
class Line:
    """One event object, or the reason why there is none."""

    number: int
    size_bytes: int
    value: dict[str, Any] | None
    reason: str = ""


def read_lines(file: IO[bytes]) -> Iterator[Line]:
    """JSON Lines, one JSON document, a list of events, or a Segment batch; anywhere a line or document may stand."""
    first = file.readline()
    number = 1
    while first and not first.strip():
        first, number = file.readline(), number + 1
    if _opens_document(first):
        yield from _parse(number, first + file.read(DOCUMENT_BYTES_AT_MOST))
        return
    yield from _parse(number, first)
    for number, text in enumerate(file, start=number + 1):  # noqa: B020 (goes on counting)
        yield from _parse(number, text)


def _opens_document(first: bytes) -> bool:
    """A line such as "{" opens a document; a broken line that closes itself is a broken line."""
    text = first.strip()
    return text[:1] in (b"{", b"[") and text[-1:] in (b"{", b"[", b",", b":")


def _parse(number: int, text: bytes) -> Iterator[Line]:
    if not text.strip():
        return
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        yield Line(number, len(text), None, "JSON_BROKEN")
        return
    items = _taken_apart(value)
    share = len(text) // max(1, len(items))
    for item in items:
        known = isinstance(item, dict)
        yield Line(number, share, item if known else None, "" if known else "EVENT_INVALID")


def _taken_apart(value: Any) -> list[Any]:
    """A batch may give its items a context in common; what an item says itself wins."""
    if isinstance(value, list):
        return value
    if not isinstance(value, dict) or "batch" not in value:
        return [value]
    items, shared = value["batch"], value.get("context")
    if not isinstance(items, list):
        return [None]
    if not isinstance(shared, dict):
        return items
    return [item | {"context": shared | (item.get("context") or {})} if _may_share_context(item) else item for item in items]


def _may_share_context(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("context") or {}, dict)


def to_event(source: dict[str, Any], message_id: str) -> ingest_pb2.Event:
    """Raises UnreadableEventError."""
    from c360.ingest.v1 import ingest_pb2

    from services.cli import messages

    context = _object(source, "context")
    event = ingest_pb2.Event(
        message_id=_text(source, "messageId") or message_id,
        type=_type(source),
        user_id=_text(source, "userId"),
        anonymous_id=_text(source, "anonymousId"),
        name=_text(source, "event") or _text(source, "name"),
        category=_text(source, "category"),
        original_time=messages.timestamp(_instant(source)),
        target_id=_text(source, "groupId") or _text(source, "previousId"),
    )
    for named in _external_ids(source) + _external_ids(context):
        event.external_ids.add(namespace=_text(named, "type"), value=_text(named, "id"))
    for field, target in (("properties", event.properties), ("traits", event.traits), ("context", event.context)):
        _fill(target, _object(source, field), field)
    if event.ByteSize() > EVENT_BYTES_AT_MOST:
        raise UnreadableEventError("EVENT_TOO_LARGE", "")
    return event


def _type(source: dict[str, Any]) -> ingest_pb2.EventType.ValueType:
    from c360.ingest.v1 import ingest_pb2

    known = ingest_pb2.EventType.DESCRIPTOR.values_by_name.get(f"EVENT_TYPE_{_text(source, 'type').upper()}")
    return ingest_pb2.EventType.Value(known.name) if known else ingest_pb2.EVENT_TYPE_UNSPECIFIED


def _text(source: dict[str, Any], field: str) -> str:
    """Numbers are taken as text: some systems send their user ids so."""
    value = source.get(field)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise UnreadableEventError("EVENT_INVALID", field)
    return str(value)


def _object(source: dict[str, Any], field: str) -> dict[str, Any]:
    value = source.get(field)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UnreadableEventError("EVENT_INVALID", field)
    return value


def _external_ids(place: dict[str, Any]) -> list[dict[str, Any]]:
    from shared.identifiers import of_a_person

    named = place.get("externalIds") or []
    if not isinstance(named, list) or not all(isinstance(item, dict) for item in named):
        raise UnreadableEventError("EXTERNAL_IDS_INVALID", "externalIds")
    return [item for item in named if of_a_person(item.get("collection"))]


def _instant(source: dict[str, Any]) -> datetime | None:
    """`timestamp` first: where both are there, it is the one already corrected for the client's clock."""
    text = _text(source, "timestamp") or _text(source, "originalTimestamp")
    try:
        return parse_iso(text) if text else None
    except (ValueError, OverflowError):
        raise UnreadableEventError("TIMESTAMP_INVALID", "timestamp") from None


def _fill(target: Any, values: dict[str, Any], field: str) -> None:
    if _is_deeper(values, DEPTH_AT_MOST):
        raise UnreadableEventError("EVENT_TOO_DEEP", field)
    try:
        target.update(keep_digits(values))
    except (ValueError, TypeError):  # half of a surrogate pair is no text
        raise UnreadableEventError("EVENT_INVALID", field) from None


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether objects and lists stand more levels deep than that."""
    if not isinstance(value, dict | list):
        return False
    items = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(item, levels - 1) for item in items)
