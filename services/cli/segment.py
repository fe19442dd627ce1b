"""Segment event objects (https://segment.com/docs/connections/spec/) as ingest's events; how files of them are read.

Only what cannot be carried at all is rejected here; every other verdict is the service's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any

from services.cli.instants import parse_instant
from services.cli.notation import keep_digits

if TYPE_CHECKING:
    from c360.ingest.v1 import ingest_pb2

DOCUMENT_BYTES_AT_MOST = 64 * 1024 * 1024  # a document over several lines is read whole; JSON Lines never are


class UnreadableEventError(Exception):
    """Carries the machine-readable reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


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
    items = value.get("batch", [value]) if isinstance(value, dict) else value
    if not isinstance(items, list):
        items = [None]
    share = len(text) // max(1, len(items))
    for item in items:
        known = isinstance(item, dict)
        yield Line(number, share, item if known else None, "" if known else "EVENT_NOT_AN_OBJECT")


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
    for named in _external_ids(context):
        event.external_ids.add(namespace=_text(named, "type"), value=_text(named, "id"))
    _fill(event.properties, _object(source, "properties"))
    _fill(event.traits, _object(source, "traits"))
    _fill(event.context, context)
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
        raise UnreadableEventError("FIELD_NOT_TEXT")
    return str(value)


def _object(source: dict[str, Any], field: str) -> dict[str, Any]:
    value = source.get(field)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UnreadableEventError("FIELD_NOT_AN_OBJECT")
    return value


def _external_ids(context: dict[str, Any]) -> list[dict[str, Any]]:
    named = context.get("externalIds") or []
    if not isinstance(named, list) or not all(isinstance(item, dict) for item in named):
        raise UnreadableEventError("EXTERNAL_IDS_INVALID")
    return named


def _instant(source: dict[str, Any]) -> datetime | None:
    """`timestamp` first: where both are there, it is the one already corrected for the client's clock."""
    text = _text(source, "timestamp") or _text(source, "originalTimestamp")
    try:
        return parse_instant(text, datetime.now(UTC)) if text else None
    except ValueError:
        raise UnreadableEventError("TIMESTAMP_INVALID") from None


def _fill(target: Any, values: dict[str, Any]) -> None:
    try:
        target.update(keep_digits(values))
    except (ValueError, TypeError, RecursionError):  # a lone surrogate, or nesting past what a message may have
        raise UnreadableEventError("FIELD_INVALID") from None
