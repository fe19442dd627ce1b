"""The gRPC edge of double opt-in."""

from typing import Any

from c360.consent.v1 import confirmation_pb2 as pb
from c360.consent.v1 import confirmation_pb2_grpc

from services.consent.api.asking import position
from services.consent.api.decisions import notice_named, to_command
from services.consent.app import Consent
from services.consent.domain.confirming import DEFAULT_WAIT_DAYS, Confirm, RequestConfirmation
from shared.ids import to_text
from shared.instants import to_timestamp
from shared.rpc.edge import instant
from shared.rpc.server import seconds_left


class ConfirmationApi(confirmation_pb2_grpc.ConfirmationServiceServicer):
    def __init__(self, consent: Consent, lookup_key: bytes) -> None:
        self._consent = consent
        self._lookup_key = lookup_key

    async def RequestConfirmation(self, request: pb.RequestConfirmationRequest, context: Any) -> pb.RequestConfirmationResponse:
        decision = to_command(request.decision, self._lookup_key)
        command = RequestConfirmation(decision=decision, wait_days=request.wait_days or DEFAULT_WAIT_DAYS)
        placed, token = await self._consent.request_confirmation(command, seconds_left(context))
        return pb.RequestConfirmationResponse(
            decision_id=to_text(placed.event.decision_id),
            token=token,
            confirm_by_time=to_timestamp(placed.event.confirm_by),
            position=position(placed.pos),
        )

    async def Confirm(self, request: pb.ConfirmRequest, context: Any) -> pb.ConfirmResponse:
        command = Confirm(
            request_id=request.request_id,
            token=request.token,
            confirmed_at=instant(request.confirm_time, "confirm_time") if request.HasField("confirm_time") else None,
            method=request.method,
            notice=notice_named(request.notice) if request.HasField("notice") else None,
        )
        placed, readers = await self._consent.confirm(command, seconds_left(context))
        return pb.ConfirmResponse(
            decision_id=to_text(placed.event.decision_id), position=position(placed.pos), enforcing_readers=readers
        )
