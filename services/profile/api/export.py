"""The part of profile's gRPC edge that exports."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import aclosing
from typing import Any

import msgspec
from c360.common.v1 import common_pb2
from c360.profile.v1 import export_pb2 as pb
from c360.profile.v1 import export_pb2_grpc

from services.profile.api.sending import taken_in_time
from services.profile.app import Profiles
from services.profile.enforcement import release_event
from services.profile.exports import Exported, Exports, Interval, Page
from shared.errors import InvalidInput
from shared.events.consent import PurposeDefined
from shared.ids import to_text
from shared.instants import to_timestamp
from shared.positions import Progress
from shared.privacy import REDACTED
from shared.rpc.edge import freshness, instant
from shared.rpc.server import DEFAULT_DEADLINE_S

SEND_TIMEOUT_S = 60.0  # for a part: who doesn't read holds up other exports
PAGE_BYTES = 1024 * 1024  # of a message; with one event of any size above it, it stays below gRPC's limit


class ExportApi(export_pb2_grpc.ExportServiceServicer):
    def __init__(self, profiles: Profiles, exports: Exports, progress: Progress) -> None:
        self._profiles = profiles
        self._exports = exports
        self._progress = progress

    async def ExportEvents(self, request: pb.ExportEventsRequest, context: Any) -> AsyncIterator[pb.ExportEventsResponse]:
        if not request.source:
            raise InvalidInput("name the source whose events are wanted", reason="SOURCE_MISSING")
        interval = _interval(request)
        # Not all of the deadline: that one is for the whole export.
        await self._progress.wait_all(freshness(request.at_least_as_fresh), DEFAULT_DEADLINE_S)
        purpose = self._profiles.purpose(request.purpose)
        responses = _responses(self._exports.read(request.source, purpose, interval), purpose)
        async with aclosing(taken_in_time(responses, SEND_TIMEOUT_S)) as taken:
            async for response in taken:
                yield response


async def _responses(pages: AsyncGenerator[Page, None], purpose: PurposeDefined) -> AsyncGenerator[pb.ExportEventsResponse, None]:
    async with aclosing(pages):
        async for page in pages:
            for part in _parts([_event(item, purpose) for item in page.events]):
                yield _response(part, page)


def _interval(request: pb.ExportEventsRequest) -> Interval:
    given = {
        name: instant(getattr(request, field), field)
        for name, field in (("since", "since_time"), ("until", "until_time"))
        if request.HasField(field)  # type: ignore[arg-type]
    }
    return Interval(**given)


def _response(found: Iterable[pb.ExportedEvent], page: Page) -> pb.ExportEventsResponse:
    return pb.ExportEventsResponse(events=found, read_count=page.read, total_count=page.total, withheld_count=page.withheld)


def _parts(found: Iterable[pb.ExportedEvent]) -> Iterator[list[pb.ExportedEvent]]:
    """At least one, so that progress is told."""
    part: list[pb.ExportedEvent] = []
    size_bytes = 0
    for event in found:
        if size_bytes >= PAGE_BYTES:
            yield part
            part, size_bytes = [], 0
        part.append(event)
        size_bytes += event.ByteSize()
    yield part


def _event(item: Exported, purpose: PurposeDefined) -> pb.ExportedEvent:
    record, entry, public = item.record, item.record.entry, item.public
    released = release_event(public, item.personal, purpose)
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
