"""Timelines as messages: what is asked for, and pages that a client can receive."""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from c360.common.v1 import common_pb2
from c360.profile.v1 import profile_pb2 as pb

from services.profile.api.values import to_struct
from services.profile.enforcement import ReleasedEvent, release_event
from services.profile.timelines import Filter, Stretch, TimelineItem, place_of
from shared.errors import InvalidInput
from shared.events import customer as events
from shared.events.consent import PurposeDefined
from shared.ids import to_text
from shared.instants import to_timestamp
from shared.log.reader import Place
from shared.privacy import REDACTED
from shared.rpc.edge import instant
from shared.rpc.paging import Number

PAGE_BYTES = 2 * 1024 * 1024  # of entries; a client that was told nothing receives 4 MB
CHOICES_AT_MOST = 100  # of one kind in a filter
Partition = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]  # what an integer takes; a token may say anything
PLACES = msgspec.msgpack.Decoder(tuple[Number, Number, Partition, Number])


def timeline_filter(request: pb.GetTimelineRequest) -> Filter:
    """Raises InvalidInput (FILTER_TOO_LONG, INSTANT_INVALID)."""
    for field in ("kinds", "sources", "names"):
        if len(getattr(request, field)) > CHOICES_AT_MOST:
            raise InvalidInput(f"at most {CHOICES_AT_MOST} {field}", reason="FILTER_TOO_LONG", limit=CHOICES_AT_MOST)
    wanted = Filter(frozenset(request.kinds), frozenset(request.sources), frozenset(request.names))
    if request.HasField("since_time"):
        wanted = msgspec.structs.replace(wanted, since=instant(request.since_time, "since_time"))
    if request.HasField("until_time"):
        wanted = msgspec.structs.replace(wanted, until=instant(request.until_time, "until_time") - 1)
    return wanted


def timeline_page(stretch: Stretch, purpose: PurposeDefined) -> tuple[Sequence[pb.TimelineEntry], Place | None]:
    """As many entries as a message holds, one at the least; and where the timeline goes on."""
    entries: list[pb.TimelineEntry] = []
    size_bytes = 0
    for item in stretch.items:
        entry = timeline_message(item, purpose)
        size_bytes += entry.ByteSize()
        if entries and size_bytes > PAGE_BYTES:
            return entries, place_of(stretch.items[len(entries) - 1].record)
        entries.append(entry)
    return entries, stretch.rest


def timeline_message(item: TimelineItem, purpose: PurposeDefined) -> pb.TimelineEntry:
    record, entry = item.record, item.record.entry
    released = release_event(item.public, item.personal, purpose)
    message = pb.TimelineEntry(
        event_id=to_text(entry.event_id),
        kind=item.kind,
        name=released.name or "",
        occur_time=to_timestamp(entry.occurred_at),
        record_time=to_timestamp(record.recorded_at),
        details=to_struct(_details(item, released)),
        customer_id=to_text(item.customer) if item.customer else "",
        version=record.version,
        redacted=item.personal is REDACTED,
        position=common_pb2.Position(log="profile", partition=record.partition, number=record.pos),
    )
    if isinstance(item.public, events.Activity):
        message.source = item.public.source
        message.flags.extend(item.public.flags)
        message.sent_as.CopyFrom(to_struct(released.sent_as))
        message.receive_time.CopyFrom(to_timestamp(item.public.received_at))
        if item.public.original_at is not None:
            message.original_time.CopyFrom(to_timestamp(item.public.original_at))
    return message


def _details(item: TimelineItem, released: ReleasedEvent) -> dict[str, Any]:
    if released.names_customers:
        return {"customer_ids": [to_text(one) for one in item.named]}
    return released.traits or released.properties or released.identifier or {}
