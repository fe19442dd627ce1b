"""The gRPC edge of tracking plans."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from c360.ingest.v1 import plan_pb2 as pb
from c360.ingest.v1 import plan_pb2_grpc

from services.ingest.api.positions import position
from services.ingest.discarding import Discarding
from services.ingest.domain.breaches import Breach
from services.ingest.domain.call import Call, message_id_in, read_call
from services.ingest.domain.events import call_of
from services.ingest.domain.plans import PublishPlan
from services.ingest.domain.settings import check_batch
from services.ingest.explaining import Explaining, Waiting
from services.ingest.quarantine import Quarantine
from services.ingest.registry import Registry
from services.ingest.replaying import Checked, Replaying, Tally
from services.ingest.views import PlanRow, Sources
from services.ingest.violations import Violations
from shared.ids import to_text
from shared.instants import Clock, to_timestamp
from shared.rpc.paging import BY_NUMBER, Page

MAX_BREACHES: Final = 4_000  # that an answer lists: with two places of 300 characters each, it stays below gRPC's 4 MiB


class PlanApi(plan_pb2_grpc.PlanServiceServicer):
    def __init__(
        self,
        registry: Registry,
        sources: Sources,
        quarantine: Quarantine,
        violations: Violations,
        explaining: Explaining,
        replaying: Replaying,
        discarding: Discarding,
        clock: Clock,
    ) -> None:
        self._registry = registry
        self._sources = sources
        self._quarantine = quarantine
        self._violations = violations
        self._explaining = explaining
        self._replaying = replaying
        self._discarding = discarding
        self._clock = clock

    async def PublishPlan(self, request: pb.PublishPlanRequest, context: Any) -> pb.PublishPlanResponse:
        after = request.after_version if request.HasField("after_version") else None
        record = await self._registry.publish_plan(PublishPlan(request.request_id, request.source, request.document, after))
        return pb.PublishPlanResponse(version=record.entry.public().version, position=position("source", record.pos))

    async def GetPlan(self, request: pb.GetPlanRequest, context: Any) -> pb.GetPlanResponse:
        await self._sources.one(request.source)
        row, document = await self._sources.plan(request.source, request.version)
        return pb.GetPlanResponse(plan=_version(row), document=document)

    async def ListPlans(self, request: pb.ListPlansRequest, context: Any) -> pb.ListPlansResponse:
        return pb.ListPlansResponse(plans=map(_version, await self._sources.plans(request.source)))

    async def ListViolations(self, request: pb.ListViolationsRequest, context: Any) -> pb.ListViolationsResponse:
        await self._sources.one(request.source)
        found = [
            pb.Violation(
                plan_version=row.plan_version,
                rule=row.rule,
                place=row.place,
                action=row.action,
                events=row.events,
                last_seen_time=to_timestamp(row.last_seen_at),
            )
            for row in await self._violations.all(request.source)
        ]
        return pb.ListViolationsResponse(violations=found)

    async def ListQuarantined(self, request: pb.ListQuarantinedRequest, context: Any) -> pb.ListQuarantinedResponse:
        page = Page(request, BY_NUMBER)
        waiting = await self._explaining.page(request.source, page.after, page.wanted)
        found, token = page.cut(waiting, lambda item: (item.row.received_at, item.row.event_id))
        return pb.ListQuarantinedResponse(
            events=[_waiting(item, request.source, room) for item, room in zip(found, _rooms(found), strict=True)],
            next_page_token=token,
            total=await self._quarantine.count(request.source),
        )

    async def ReplayQuarantined(self, request: pb.ReplayQuarantinedRequest, context: Any) -> pb.ReplayQuarantinedResponse:
        tally, number = await self._replaying.replay(request.source)
        return pb.ReplayQuarantinedResponse(tally=_tally(tally), position=position("ingest", number))

    async def DiscardQuarantined(self, request: pb.DiscardQuarantinedRequest, context: Any) -> pb.DiscardQuarantinedResponse:
        discarded = await self._discarding.discard(request.source, request.message_ids, request.reason, request.discarded_by)
        return pb.DiscardQuarantinedResponse(discarded_message_ids=discarded)

    async def CheckPlan(self, request: pb.CheckPlanRequest, context: Any) -> pb.CheckPlanResponse:
        check_batch(len(request.events))
        calls = [call_of(_read, event, message_id_in) for event in request.events]
        waiting, sample, each = await self._replaying.check(request.source, request.document, calls, self._clock())
        checked = [_checked(item, room) for item, room in zip(each, _rooms(each), strict=True)] if request.details else []
        return pb.CheckPlanResponse(quarantine=_tally(waiting), events=_tally(sample), checked=checked)


def _rooms(found: Sequence[Waiting | Checked]) -> Iterator[int]:
    """How many breaches each may still list."""
    left = MAX_BREACHES
    for item in found:
        yield left
        left = max(0, left - len(item.breaches))


def _waiting(item: Waiting, source: str, room: int) -> pb.QuarantinedEvent:
    return pb.QuarantinedEvent(
        event_id=to_text(item.row.event_id),
        plan_version=item.row.plan_version,
        rules=item.row.rules,
        receive_time=to_timestamp(item.row.received_at),
        message_id=item.message_id,
        source=source,
        type=item.kind,
        name=item.name,
        breaches=map(_breach, item.breaches[:room]),
        unlisted_breaches=len(item.breaches[room:]),
        lost=item.is_lost,
    )


def _checked(item: Checked, room: int) -> pb.CheckedEvent:
    return pb.CheckedEvent(
        message_id=item.message_id,
        status=item.status,
        reason=item.reason,
        breaches=map(_breach, item.breaches[:room]),
        unlisted_breaches=len(item.breaches[room:]),
    )


def _breach(item: Breach) -> pb.Breach:
    return pb.Breach(rule=item.rule, action=item.action, place=item.place, pointer=item.pointer)


def _read(event: str) -> Call:
    return read_call(event.encode())


def _version(row: PlanRow) -> pb.PlanVersion:
    return pb.PlanVersion(source=row.source, version=row.version, publish_time=to_timestamp(row.published_at))


def _tally(tally: Tally) -> pb.Tally:
    return pb.Tally(
        accepted=tally.accepted,
        flagged=tally.flagged,
        quarantined=tally.quarantined,
        rejected=tally.rejected,
        lost=tally.lost,
        rules=tally.rules,
    )
