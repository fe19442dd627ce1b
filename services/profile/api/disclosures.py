"""The part of profile's gRPC edge that tells who read what."""

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Final

import msgspec
from c360.common.v1.common_pb2 import Position
from c360.profile.v1 import disclosure_pb2 as pb
from c360.profile.v1 import disclosure_pb2_grpc

from services.profile.api.asking import customer_of
from services.profile.api.summaries import parts, summary_message
from services.profile.app import Profiles
from services.profile.copied import Copied
from services.profile.exposures import Exposed, Exposures, Step
from services.profile.rederiving import Rederiving
from services.profile.who_read import Place, Placed, Wanted, WhoRead
from shared.errors import InvalidInput, NotFound
from shared.ids import from_text, to_text
from shared.instants import END_OF_TIME, to_timestamp
from shared.log.reader import BEGINNING_OF_TIME
from shared.rpc.edge import instant
from shared.rpc.paging import Number, Page
from shared.rpc.sending import taken_in_time

PLACE = re.compile(r"([0-9]{1,18})\.([0-9]{1,9})")
SERVICE_NAME = "c360.profile.v1.DisclosureService"
SEND_TIMEOUT_S: Final = 60.0  # for a part: who doesn't read holds up other reports
PLACES = msgspec.msgpack.Decoder(tuple[Number, Number])


class DisclosureApi(disclosure_pb2_grpc.DisclosureServiceServicer):
    def __init__(self, profiles: Profiles, who_read: WhoRead, exposures: Exposures, rederiving: Rederiving) -> None:
        self._profiles = profiles
        self._who_read = who_read
        self._exposures = exposures
        self._rederiving = rederiving

    async def WhoRead(self, request: pb.WhoReadRequest, context: Any) -> pb.WhoReadResponse:
        page, wanted = Page(request, PLACES), wanted_by(request)
        if request.HasField("customer"):
            customer = await customer_of(self._profiles, request.customer)
            found, rest = await self._who_read.of_customer(customer, wanted, page.after, page.size)
        else:
            found, rest = await self._who_read.of_all(wanted, page.after, page.size)
        return pb.WhoReadResponse(disclosures=map(disclosure_message, found), next_page_token=page.token_of(rest))

    async def ListUses(self, request: pb.ListUsesRequest, context: Any) -> pb.ListUsesResponse:
        page, decision_id = Page(request, PLACES), from_text(request.decision_id, "decision")
        found, rest = await self._who_read.of_decision(decision_id, page.after, page.size)
        return pb.ListUsesResponse(disclosures=map(disclosure_message, found), next_page_token=page.token_of(rest))

    async def ListExposures(self, request: pb.ListExposuresRequest, context: Any) -> pb.ListExposuresResponse:
        page = Page(request, PLACES)
        since = instant(request.since_time, "since_time") if request.HasField("since_time") else BEGINNING_OF_TIME
        customer = await customer_of(self._profiles, request.customer)
        wanted = Wanted(purpose=request.purpose, since=since)
        found, rest = await self._exposures.page(customer, wanted, page.after, page.size)
        return pb.ListExposuresResponse(exposures=map(_exposure, found), next_page_token=page.token_of(rest))

    async def ReportExposures(self, request: pb.ReportExposuresRequest, context: Any) -> AsyncIterator[pb.ReportExposuresResponse]:
        since, until = interval_of(request)
        steps = self._exposures.report(Wanted(caller=request.caller, purpose=request.purpose, since=since, until=until))
        async with aclosing(taken_in_time(_report(steps), SEND_TIMEOUT_S)) as taken:
            async for response in taken:
                yield response

    async def RederiveDisclosure(self, request: pb.RederiveDisclosureRequest, context: Any) -> pb.RederiveDisclosureResponse:
        place = place_of(request.disclosure_id)
        if (placed := await self._who_read.at(place)) is None:
            raise NotFound("nothing was disclosed there", reason="DISCLOSURE_UNKNOWN")
        found = await self._rederiving.again(placed.disclosure)
        return pb.RederiveDisclosureResponse(
            disclosure=disclosure_message(placed),
            agrees=found.agrees(placed.disclosure.given),
            fields=found.answered.fields,
            redacted_events=found.redacted,
            reason=found.reason,
            differences=found.differences(placed.disclosure.given),
            judged_by=map(_copied, found.judged_by),
            judged_only=found.judged_only,
        )


def place_of(disclosure_id: str) -> Place:
    """Raises InvalidInput (DISCLOSURE_ID_INVALID)."""
    if (found := PLACE.fullmatch(disclosure_id)) is None:
        raise InvalidInput("a disclosure is named by position and place, such as 4711.3", reason="DISCLOSURE_ID_INVALID")
    return int(found[1]), int(found[2])


def _copied(copied: Copied) -> pb.CopiedStream:
    message = pb.CopiedStream(stream_id=to_text(copied.stream), event_sha256s=[one.hex() for one in copied.hashes])
    if copied.erased_at is not None:
        message.erase_time.CopyFrom(to_timestamp(copied.erased_at))
    return message


def _exposure(exposed: Exposed) -> pb.Exposure:
    return pb.Exposure(
        disclosure=disclosure_message(exposed.read),
        decision_id=to_text(exposed.denial.decision_id),
        outcome=exposed.denial.outcome,
        decide_time=to_timestamp(exposed.denial.decided_at),
        record_time=to_timestamp(exposed.denial.recorded_at),
    )


async def _report(steps: AsyncGenerator[Step, None]) -> AsyncGenerator[pb.ReportExposuresResponse, None]:
    async with aclosing(steps):
        last: Step | None = None
        async for last in steps:
            for part in parts(last.exposed, _exposure):
                yield pb.ReportExposuresResponse(
                    exposures=part, done_events=last.done, total_events=last.total, read_count=last.reads
                )
        if last is not None:
            summary, total = summary_message(last.summary), last.total
            yield pb.ReportExposuresResponse(done_events=total, total_events=total, read_count=last.reads, summary=summary)


def wanted_by(request: pb.WhoReadRequest) -> Wanted:
    """Raises InvalidInput (INSTANT_INVALID)."""
    return Wanted(request.caller, request.purpose, request.field, *interval_of(request))


def interval_of(request: Any) -> tuple[int, int]:
    """Of a message with `since_time` and `until_time`. Raises InvalidInput (INSTANT_INVALID)."""
    since, until = BEGINNING_OF_TIME, END_OF_TIME
    if request.HasField("since_time"):
        since = instant(request.since_time, "since_time")
    if request.HasField("until_time"):
        until = instant(request.until_time, "until_time")
    return since, until


def disclosure_message(placed: Placed) -> pb.Disclosure:
    disclosure, given, terms = placed.disclosure, placed.disclosure.given, placed.disclosure.given.terms
    message = pb.Disclosure(
        disclosure_id=f"{placed.place[0]}.{placed.place[1]}",
        read_time=to_timestamp(disclosure.at),
        caller=disclosure.caller,
        request_id=disclosure.request_id,
        call=terms.call,
        purpose_version=f"{terms.purpose}@{terms.purpose_version}",
        purpose_sha256=terms.policy.hex(),
        legal_basis=terms.legal_basis,
        verdict=pb.Verdict.Value(f"VERDICT_{terms.outcome.upper()}"),
        reason=terms.reason,
        fields=terms.fields,
        withheld=[pb.WithheldFields(reason=reason, fields=fields) for reason, fields in terms.withheld],
        member_ids=map(to_text, given.members),
        decision_ids=map(to_text, given.evidence),
        positions=[Position(log="profile", partition=partition, number=number) for partition, number in given.positions],
        rules_version=terms.rules_version,
        tag=given.tag,
    )
    if given.consent_known >= 0:
        message.consent_position.CopyFrom(Position(log="consent", number=given.consent_known))
    for name in ("valid_at", "known_at"):
        if (then := getattr(given, name)) != END_OF_TIME:
            getattr(message, name).CopyFrom(to_timestamp(then))
    return message
