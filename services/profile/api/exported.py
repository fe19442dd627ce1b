"""An event of a source as a message: the same in every export."""

from typing import Any

import msgspec
from c360.common.v1 import common_pb2
from c360.profile.v1 import export_pb2 as pb

from services.profile.enforcement import release_event
from services.profile.exports import Exported
from shared.events.consent import PurposeDefined
from shared.ids import to_text
from shared.instants import to_timestamp
from shared.privacy import REDACTED

PAGE_BYTES = 1024 * 1024  # of a message; with one event of any size above it, it stays below gRPC's limit


def event_message(item: Exported, purpose: PurposeDefined) -> pb.ExportedEvent:
    record, entry, public = item.record, item.record.entry, item.public
    released = release_event(public, item.personal, purpose, item.shown.values())
    message = pb.ExportedEvent(
        event_id=to_text(entry.event_id),
        customer_id=to_text(entry.stream),
        type=item.kind,
        occur_time=to_timestamp(entry.occurred_at),
        receive_time=to_timestamp(public.received_at),
        sent_time=None if public.sent_at is None else to_timestamp(public.sent_at),
        original_time=None if public.original_at is None else to_timestamp(public.original_at),
        record_time=to_timestamp(record.recorded_at),
        name=released.name,
        category=released.category,
        target_id=released.target_id,
        properties=_json(released.properties),
        traits=_json(released.traits),
        context=_json(released.context),
        redacted=item.personal is REDACTED,
        flags=public.flags,
        position=common_pb2.Position(log="profile", partition=record.partition, number=record.pos),
    )
    if item.resolved_by is not None:
        message.resolved_by.namespace = item.resolved_by.namespace
        message.resolved_by.value = item.resolved_by.value or ""
    return message


def _json(value: dict[str, Any] | None) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()
