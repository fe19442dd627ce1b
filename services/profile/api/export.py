"""The part of profile's gRPC edge that exports."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import aclosing
from typing import Any

from c360.profile.v1 import export_pb2 as pb
from c360.profile.v1 import export_pb2_grpc

from services.profile.api.changes import lapse_message, opened_place, responses, wanted_positions
from services.profile.api.disclosing import BulkDisclosures, call_of, noted_each
from services.profile.api.exported import PAGE_BYTES, event_message
from services.profile.api.places import Places
from services.profile.app import Profiles
from services.profile.changes import Changes
from services.profile.disclosed import Disclosed
from services.profile.enforcement import depends_on_the_person, reads_the_restricted
from services.profile.exports import Exports, Interval, Page
from services.profile.lapses import Lapses
from services.profile.reading import noted
from shared.errors import InvalidInput
from shared.events.consent import PurposeDefined
from shared.ids import from_text, to_text
from shared.instants import to_timestamp
from shared.positions import Progress
from shared.rpc.edge import freshness, instant
from shared.rpc.sending import taken_in_time
from shared.rpc.server import DEFAULT_DEADLINE_S

SEND_TIMEOUT_S = 60.0  # for a part: who doesn't read holds up other exports


class ExportApi(export_pb2_grpc.ExportServiceServicer):
    def __init__(
        self,
        profiles: Profiles,
        exports: Exports,
        changes: Changes,
        lapses: Lapses,
        progress: Progress,
        places: Places,
        disclosed: Disclosed,
    ) -> None:
        self._profiles = profiles
        self._exports = exports
        self._changes = changes
        self._lapses = lapses
        self._progress = progress
        self._places = places
        self._disclosed = disclosed

    async def ExportEvents(self, request: pb.ExportEventsRequest, context: Any) -> AsyncIterator[pb.ExportEventsResponse]:
        if not request.source:
            raise InvalidInput("name the source whose events are wanted", reason="SOURCE_MISSING")
        interval = _interval(request)
        # Not all of the deadline: that one is for the whole export.
        await self._progress.wait_all(freshness(request.at_least_as_fresh), DEFAULT_DEADLINE_S)
        purpose = self._profiles.purpose(request.purpose)
        disclose = BulkDisclosures(self._disclosed, call_of("ExportEvents", context), purpose)
        responses = _responses(self._exports.read(request.source, purpose, interval), purpose, disclose)
        async with aclosing(taken_in_time(responses, SEND_TIMEOUT_S)) as taken:
            async for response in taken:
                yield response

    async def ExportChanges(self, request: pb.ExportChangesRequest, context: Any) -> AsyncIterator[pb.ExportChangesResponse]:
        await self._progress.wait_all(freshness(request.at_least_as_fresh), DEFAULT_DEADLINE_S)
        purpose = self._profiles.purpose(request.purpose)
        place = opened_place(self._places, request.rules_place) if request.rules_place else None
        pages = self._changes.read(purpose, wanted_positions(request.next_positions), place)
        disclose = BulkDisclosures(self._disclosed, call_of("ExportChanges", context), purpose)
        async with aclosing(taken_in_time(responses(pages, purpose, self._places, disclose), SEND_TIMEOUT_S)) as taken:
            async for response in taken:
                yield response

    async def CheckExported(self, request: pb.CheckExportedRequest, context: Any) -> pb.CheckExportedResponse:
        purpose = self._profiles.purpose(request.purpose)
        refused = await self._changes.refused([from_text(text, "customer") for text in request.customer_ids], purpose)
        can_end = depends_on_the_person(purpose) or not reads_the_restricted(purpose)
        return pb.CheckExportedResponse(refused_customer_ids=sorted(map(to_text, refused)), can_end=can_end)

    async def RefreshExported(self, request: pb.RefreshExportedRequest, context: Any) -> pb.RefreshExportedResponse:
        purpose = self._profiles.purpose(request.purpose)
        since = instant(request.since, "since") if request.HasField("since") else 0
        through = (
            self._profiles.past(instant(request.through, "through"))
            if request.HasField("through")
            else await self._lapses.settled()
        )
        customers = [from_text(text, "customer") for text in request.customer_ids]
        with noted() as reading:
            found = await self._lapses.between(customers, purpose, since, through)
        disclose = BulkDisclosures(self._disclosed, call_of("RefreshExported", context), purpose)
        await disclose.give(reading, {member: lapse.traits.keys() for lapse in found.lapses for member in lapse.members})
        return pb.RefreshExportedResponse(
            traits=map(lapse_message, found.lapses),
            through=to_timestamp(found.through),
            can_lapse=found.can_be,
            goes_on=found.more,
        )


async def _responses(
    pages: AsyncGenerator[Page, None], purpose: PurposeDefined, disclose: BulkDisclosures
) -> AsyncGenerator[pb.ExportEventsResponse, None]:
    async with aclosing(noted_each(pages)) as noted_pages:
        async for page, reading in noted_pages:
            await disclose.give(reading, {item.record.entry.stream: {"events"} for item in page.events})
            for part in _parts([event_message(item, purpose) for item in page.events]):
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
