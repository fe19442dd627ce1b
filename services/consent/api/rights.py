"""The gRPC edge of rights requests."""

from datetime import date
from typing import Annotated, Any, Final

import msgspec
from c360.consent.v1 import rights_pb2 as pb
from c360.consent.v1 import rights_pb2_grpc

from services.consent.answering import Case, RightsDesk
from services.consent.api.asking import position
from services.consent.api.rights_messages import GROUNDS, LAWS, RIGHTS, STATES, request_message, step_message
from services.consent.domain.rights import OPEN
from services.consent.domain.rights_commands import (
    Acknowledge,
    AnyStep,
    Begin,
    CheckIdentity,
    Extend,
    Fulfil,
    Receive,
    Refuse,
    Withdraw,
)
from shared.errors import InvalidInput
from shared.identifiers import name_and_hash
from shared.ids import from_text
from shared.rpc.paging import Page

Day = Annotated[str, msgspec.Meta(pattern=r"^(\d{4}-\d\d-\d\d)?$")]
BY_DAY: Final = msgspec.msgpack.Decoder(tuple[Day, bytes])
FIRST: Final = ("", b"")


class RightsApi(rights_pb2_grpc.RightsServiceServicer):
    def __init__(self, desk: RightsDesk, lookup_key: bytes) -> None:
        self._desk = desk
        self._lookup_key = lookup_key

    async def OpenRightsRequest(self, request: pb.OpenRightsRequestRequest, context: Any) -> pb.OpenRightsRequestResponse:
        namespace, value_hash = name_and_hash(request.identifier.namespace, request.identifier.value, self._lookup_key)
        command = Receive(
            request_id=request.request_id,
            by=request.taken_by,
            reason=request.reason,
            identifier_hash=value_hash,
            namespace=namespace,
            right=_known(RIGHTS, request.right, "RIGHT_MISSING"),
            law=_known(LAWS, request.law, "LAW_MISSING"),
            calendar=request.calendar,
            received_on=_day(request.receive_date),
        )
        case, pos = await self._desk.open(command)
        return pb.OpenRightsRequestResponse(request=self._message(case), position=position(pos))

    async def TakeRightsStep(self, request: pb.TakeRightsStepRequest, context: Any) -> pb.TakeRightsStepResponse:
        case, pos = await self._desk.take_step(_rights_id(request), _command(request))
        return pb.TakeRightsStepResponse(request=self._message(case), position=position(pos))

    async def GetRightsRequest(self, request: pb.GetRightsRequestRequest, context: Any) -> pb.GetRightsRequestResponse:
        case = await self._desk.case(_rights_id(request))
        return pb.GetRightsRequestResponse(request=self._message(case), steps=map(step_message, case.steps))

    async def ListRightsRequests(self, request: pb.ListRightsRequestsRequest, context: Any) -> pb.ListRightsRequestsResponse:
        page, value_hash = Page(request, BY_DAY), None
        if request.HasField("identifier"):
            _, value_hash = name_and_hash(request.identifier.namespace, request.identifier.value, self._lookup_key)
        states = [STATES[state] for state in request.states if state in STATES] or list(OPEN)
        asked = [RIGHTS[request.right]] if request.right in RIGHTS else list(RIGHTS.values())
        found, customers = await self._desk.due(states, asked, value_hash, page.after or FIRST, page.wanted)
        shown, token = page.cut(found, lambda one: (one.request.due_on, one.rights_id))
        listed = [
            request_message(one, customers.get(one.request.received.identifier_hash, b""), self._desk.today()) for one in shown
        ]
        return pb.ListRightsRequestsResponse(requests=listed, next_page_token=token)

    def _message(self, case: Case) -> pb.RightsRequest:
        return request_message(case.standing, case.customer, self._desk.today())


def _command(request: pb.TakeRightsStepRequest) -> AnyStep:
    said = {"request_id": request.request_id, "by": request.taken_by, "reason": request.reason}
    command: AnyStep
    match request.WhichOneof("step"):
        case "acknowledged":
            command = Acknowledge(told_on=_day(request.acknowledged.tell_date), **said)
        case "identity_checked":
            command = CheckIdentity(passed=request.identity_checked.passed, method=request.identity_checked.method, **said)
        case "extended":
            command = Extend(told_on=_day(request.extended.tell_date), **said)
        case "begun":
            command = Begin(**said)
        case "fulfilled":
            done = request.fulfilled
            command = Fulfil(references=tuple(done.references), proof_sha256=_sha256(done.proof_sha256), **said)
        case "refused":
            command = Refuse(ground=_known(GROUNDS, request.refused.ground, "GROUND_MISSING"), **said)
        case "withdrawn":
            command = Withdraw(**said)
        case _:
            raise InvalidInput("say what is done", reason="STEP_MISSING")
    return command


def _rights_id(request: pb.TakeRightsStepRequest | pb.GetRightsRequestRequest) -> bytes:
    return from_text(request.rights_request_id, "rights_request")


def _known(words: dict[Any, Any], value: int, reason: str) -> Any:
    if value not in words:
        raise InvalidInput(f"say which it is: {', '.join(words.values())}", reason=reason)
    return words[value]


def _day(text: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidInput("a day is written as 2026-03-05", reason="DAY_INVALID") from None


def _sha256(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise InvalidInput("a proof is named by its SHA-256, 64 hexadecimal digits", reason="PROOF_INVALID") from None
