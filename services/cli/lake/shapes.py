"""The tables, in the shapes of Segment's Profiles Sync and warehouses, and changes as rows of them. Pure; docs/lake.md says what is what.

Sources: https://segment.com/docs/unify/profiles-sync/tables/ and https://segment.com/docs/connections/storage/warehouses/schema/.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from services.cli.lake.cells import Types, take_free
from services.cli.lake.names import snake

if TYPE_CHECKING:
    from c360.profile.v1 import export_pb2

SECOND_US = 1_000_000
DAY_US = 24 * 3600 * SECOND_US
EVENT_TABLES_AT_MOST = 500  # of named events; the rows of further ones are in `tracks` alone

# Of every table: where and when the log took what the row says.
PLACE = {"uuid_ts": "instant", "seq": "integer", "log_partition": "integer", "log_position": "integer"}
EVENT = {
    "id": "text",
    "segment_id": "text",
    "event_source_id": "text",
    "user_id": "text",
    "anonymous_id": "text",
    "resolved_by": "text",
    "timestamp": "instant",
    "original_timestamp": "instant",
    "sent_at": "instant",
    "received_at": "instant",
    **PLACE,
    "flags": "text",
    "context": "text",
}
NAMED = {"event": "text", "event_text": "text", "properties": "text"}
VIEWED = {"name": "text", "category": "text", "properties": "text"}
UPDATE = {
    "id": "text",
    "segment_id": "text",
    "timestamp": "instant",
    **PLACE,
    "triggering_event_id": "text",
    "triggering_event_type": "text",
    "triggering_event_name": "text",
    "triggering_event_source_id": "text",
}
EXTERNAL_ID = {"external_id_hash": "text", "external_id_type": "text", "external_id_value": "text", "unlinked": "flag"}
TABLES = {
    "id_graph_updates": UPDATE | {"canonical_segment_id": "text"},
    "external_id_mapping_updates": UPDATE | EXTERNAL_ID,
    "profile_traits_updates": UPDATE | {"member_segment_ids": "texts", "traits": "text", "cut_traits": "texts"},
    "identifies": EVENT | {"traits": "text"},
    "tracks": EVENT | NAMED,
    "pages": EVENT | VIEWED,
    "screens": EVENT | VIEWED,
    "groups": EVENT | {"group_id": "text", "traits": "text"},
    "aliases": EVENT | {"previous_id": "text"},
}
NAMED_EVENTS = EVENT | NAMED
OF_CALL = {"identify": "identifies", "page": "pages", "screen": "screens", "group": "groups", "alias": "aliases"}
RESERVED = frozenset({"day"}).union(*TABLES.values())  # `day` is the partition that a file is in

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Row(NamedTuple):
    table: str
    recorded_us: int
    cells: dict[str, Any]


def fixed_columns(table: str) -> dict[str, str]:
    return TABLES.get(table, NAMED_EVENTS)


def event_rows(event: export_pb2.ExportedEvent, types: dict[str, Types]) -> Iterator[Row]:
    """`types`, by table, grows with what is new."""
    recorded_us = to_us(event.record_time)
    cells = _event_cells(event, recorded_us)
    context = _decode(event.context) if event.HasField("context") else {}
    if event.type == "track":
        if event.HasField("name"):
            cells |= {"event": snake(event.name), "event_text": event.name}
        yield Row("tracks", recorded_us, _with_free(cells, "tracks", types, context, {}))
        table = named_table(cells.get("event"), types)
        if table is None:
            return
    else:
        table = OF_CALL[event.type]
    yield Row(table, recorded_us, _with_free(cells, table, types, context, _own_values(event)))


def named_table(slug: str | None, types: dict[str, Types]) -> str | None:
    """None when there is no name, or when there are too many tables already."""
    if slug is None:
        return None
    table = f"event_{slug}" if slug in TABLES else slug
    known = table in types or len(types) < EVENT_TABLES_AT_MOST + len(TABLES)
    return table if known else None


def _event_cells(event: export_pb2.ExportedEvent, recorded_us: int) -> dict[str, Any]:
    found = event.resolved_by
    cells: dict[str, Any] = {
        "id": event.event_id,
        "segment_id": event.customer_id,
        "event_source_id": event.source,
        "timestamp": to_us(event.occur_time),
        "received_at": to_us(event.receive_time),
        "uuid_ts": recorded_us,
        "seq": recorded_us,
        "log_partition": event.position.partition,
        "log_position": event.position.number,
    }
    if event.HasField("sent_time"):
        cells["sent_at"] = to_us(event.sent_time)
    if event.HasField("original_time"):
        cells["original_timestamp"] = to_us(event.original_time)
    if found.namespace:
        cells["resolved_by"] = f"{found.namespace}:{found.value}"
        if found.namespace in ("user_id", "anonymous_id"):
            cells[found.namespace] = found.value
    if event.flags:
        cells["flags"] = ",".join(event.flags)
    for column in ("properties", "traits", "context"):
        if event.HasField(column):
            cells[column] = getattr(event, column)
    return cells | _of_its_kind(event)


def _of_its_kind(event: export_pb2.ExportedEvent) -> dict[str, Any]:
    target = {"group": "group_id", "alias": "previous_id"}.get(event.type)
    if target is not None:
        return {target: event.target_id} if event.HasField("target_id") else {}
    if event.type in ("page", "screen"):
        return {name: getattr(event, name) for name in ("name", "category") if event.HasField(name)}
    return {}


def _own_values(event: export_pb2.ExportedEvent) -> dict[str, Any]:
    for field in ("properties", "traits"):
        if event.HasField(field):
            return _decode(getattr(event, field))
    return {}


def _with_free(
    cells: dict[str, Any], table: str, types: dict[str, Types], context: dict[str, Any], own: dict[str, Any]
) -> dict[str, Any]:
    row = dict(cells)
    known = types.setdefault(table, {})
    take_free(row, context, known, RESERVED, "context_")
    take_free(row, own, known, RESERVED)
    return row


def to_us(timestamp: Any) -> int:
    return int(timestamp.seconds * SECOND_US + timestamp.nanos // 1000)
