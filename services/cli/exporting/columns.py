"""The columns of an exported file, and a streamed event as a row of them. Pure; docs/import.md lists what they mean."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from c360.profile.v1 import export_pb2

Kind = Literal["text", "instant", "flag"]

COLUMNS: dict[str, Kind] = {
    "event_id": "text",
    "customer_id": "text",
    "type": "text",
    "occurred_at": "instant",
    "received_at": "instant",
    "sent_at": "instant",
    "original_at": "instant",
    "recorded_at": "instant",
    "user_id": "text",
    "anonymous_id": "text",
    "resolved_by": "text",
    "name": "text",
    "category": "text",
    "target_id": "text",
    "properties": "text",
    "traits": "text",
    "context": "text",
    "flags": "text",
    "redacted": "flag",
}
CLOCKS = {
    "occurred_at": "occur_time",
    "received_at": "receive_time",
    "sent_at": "sent_time",
    "original_at": "original_time",
    "recorded_at": "record_time",
}
PERSONAL = ("name", "category", "target_id", "properties", "traits", "context")


def to_row(event: export_pb2.ExportedEvent) -> dict[str, Any]:
    """Instants are in UTC; None is what isn't there, or is redacted."""
    row: dict[str, Any] = {"event_id": event.event_id, "customer_id": event.customer_id, "type": event.type}
    row |= {column: _instant(event, field) for column, field in CLOCKS.items()}
    row |= {column: getattr(event, column) if event.HasField(column) else None for column in PERSONAL}  # type: ignore[arg-type]
    found = event.resolved_by
    row["resolved_by"] = f"{found.namespace}:{found.value}" if found.namespace else None
    row["user_id"] = found.value if found.namespace == "user_id" else None
    row["anonymous_id"] = found.value if found.namespace == "anonymous_id" else None
    row["flags"] = ",".join(event.flags) or None
    row["redacted"] = event.redacted
    return {column: row[column] for column in COLUMNS}


def _instant(event: Any, field: str) -> datetime | None:
    return getattr(event, field).ToDatetime(tzinfo=UTC) if event.HasField(field) else None
