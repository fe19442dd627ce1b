"""The gRPC edge of ages."""

from typing import Any

from c360.consent.v1 import age_pb2 as pb
from c360.consent.v1 import age_pb2_grpc

from services.consent.ages import Ages
from services.consent.api.asking import position
from services.consent.api.hashes import sha256_named
from services.consent.domain.ageing import CorrectAge, RecordAge
from shared import identifiers
from shared.ids import from_text, to_text
from shared.rpc.edge import instant
from shared.rpc.server import seconds_left


class AgeApi(age_pb2_grpc.AgeServiceServicer):
    def __init__(self, ages: Ages, lookup_key: bytes) -> None:
        self._ages = ages
        self._lookup_key = lookup_key

    async def RecordAge(self, request: pb.RecordAgeRequest, context: Any) -> pb.RecordAgeResponse:
        namespace, value_hash = identifiers.name_and_hash(request.identifier.namespace, request.identifier.value, self._lookup_key)
        command = RecordAge(identifier_hash=value_hash, namespace=namespace, **_said(request))
        placed, readers = await self._ages.record(command, seconds_left(context))
        return pb.RecordAgeResponse(
            age_id=to_text(placed.event.decision_id), position=position(placed.pos), enforcing_readers=readers
        )

    async def CorrectAge(self, request: pb.CorrectAgeRequest, context: Any) -> pb.CorrectAgeResponse:
        command = CorrectAge(age_id=from_text(request.age_id, "age"), **_said(request))
        placed, readers = await self._ages.record(command, seconds_left(context))
        return pb.CorrectAgeResponse(
            age_id=to_text(placed.event.decision_id), position=position(placed.pos), enforcing_readers=readers
        )


def _said(request: pb.RecordAgeRequest | pb.CorrectAgeRequest) -> dict[str, Any]:
    return {
        "request_id": request.request_id,
        "under": request.under,
        "at_least": request.at_least,
        "at": instant(request.age_time, "age_time") if request.HasField("age_time") else None,
        "method": request.method,
        "proof_sha256": sha256_named(request.proof_sha256),
        "by": request.recorded_by,
        "reason": request.reason,
    }
