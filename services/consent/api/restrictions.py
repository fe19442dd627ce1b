"""The gRPC edge of restrictions."""

from typing import Any

from c360.consent.v1 import restriction_pb2 as pb
from c360.consent.v1 import restriction_pb2_grpc

from services.consent.api.asking import position
from services.consent.api.restriction_words import ground
from services.consent.domain.restricting import Lift, Restrict
from services.consent.restrictions import Restrictions
from shared import identifiers
from shared.errors import InvalidInput
from shared.ids import from_text, to_text
from shared.rpc.edge import instant
from shared.rpc.server import seconds_left


class RestrictionApi(restriction_pb2_grpc.RestrictionServiceServicer):
    def __init__(self, restrictions: Restrictions, lookup_key: bytes) -> None:
        self._restrictions = restrictions
        self._lookup_key = lookup_key

    async def RestrictProcessing(self, request: pb.RestrictProcessingRequest, context: Any) -> pb.RestrictProcessingResponse:
        namespace, value_hash = identifiers.name_and_hash(request.identifier.namespace, request.identifier.value, self._lookup_key)
        command = Restrict(
            request_id=request.request_id,
            identifier_hash=value_hash,
            namespace=namespace,
            grounds=tuple(map(ground, request.grounds)),
            restricted_at=instant(request.restrict_time, "restrict_time") if request.HasField("restrict_time") else None,
            by=request.restricted_by,
            reason=request.reason,
        )
        placed, readers = await self._restrictions.record(command, seconds_left(context))
        return pb.RestrictProcessingResponse(
            restriction_id=to_text(placed.event.decision_id), position=position(placed.pos), enforcing_readers=readers
        )

    async def LiftRestriction(self, request: pb.LiftRestrictionRequest, context: Any) -> pb.LiftRestrictionResponse:
        if not request.HasField("tell_time"):
            raise InvalidInput("say when the person was told, before it is lifted", reason="NOT_TOLD_BEFORE")
        command = Lift(
            request_id=request.request_id,
            restriction_id=from_text(request.restriction_id, "restriction"),
            told_at=instant(request.tell_time, "tell_time"),
            lifted_at=instant(request.lift_time, "lift_time") if request.HasField("lift_time") else None,
            by=request.lifted_by,
            reason=request.reason,
        )
        placed, readers = await self._restrictions.record(command, seconds_left(context))
        return pb.LiftRestrictionResponse(
            decision_id=to_text(placed.event.decision_id), position=position(placed.pos), enforcing_readers=readers
        )
