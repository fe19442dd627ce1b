"""What consent's edges translate alike."""

from c360.common.v1.common_pb2 import Position
from c360.consent.v1.consent_pb2 import CheckBatchRequest, CheckRequest, FilterAudienceRequest, ListDecisionsRequest
from c360.consent.v1.registry_pb2 import GetVersionAtRequest

from services.consent.domain.ledger import Instant
from services.consent.writing import CONSENT_PARTITION
from shared.instants import END_OF_TIME
from shared.rpc.edge import instant

Asking = CheckRequest | CheckBatchRequest | FilterAudienceRequest | ListDecisionsRequest | GetVersionAtRequest


def asked_instant(request: Asking) -> Instant:
    """Raises InvalidInput (INSTANT_INVALID)."""
    return Instant(
        instant(request.valid_at, "valid_at") if request.HasField("valid_at") else END_OF_TIME,
        instant(request.known_at, "known_at") if request.HasField("known_at") else END_OF_TIME,
    )


def position(pos: int) -> Position:
    return Position(log="consent", partition=CONSENT_PARTITION, number=pos)
