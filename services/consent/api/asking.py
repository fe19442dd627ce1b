"""What consent's edges translate alike."""

from typing import Any

from c360.common.v1.common_pb2 import Position
from c360.consent.v1.consent_pb2 import CheckBatchRequest, CheckRequest, FilterAudienceRequest, ListDecisionsRequest
from c360.consent.v1.evidence_pb2 import ExplainCheckRequest
from c360.consent.v1.registry_pb2 import GetVersionAtRequest

from services.consent.domain.ledger import Instant
from services.consent.writing import CONSENT_PARTITION
from shared.instants import END_OF_TIME
from shared.rpc.edge import instant

Asking = CheckRequest | ExplainCheckRequest | CheckBatchRequest | FilterAudienceRequest | ListDecisionsRequest | GetVersionAtRequest


def asked_instant(request: Asking) -> Instant:
    """Raises InvalidInput (INSTANT_INVALID)."""
    return instant_in(request, "valid_at", "known_at")


def instant_in(request: Any, valid_at: str, known_at: str) -> Instant:
    """By the names of the fields. Raises InvalidInput (INSTANT_INVALID)."""
    return Instant(*(instant(getattr(request, f), f) if request.HasField(f) else END_OF_TIME for f in (valid_at, known_at)))


def position(pos: int) -> Position:
    return Position(log="consent", partition=CONSENT_PARTITION, number=pos)
