"""What consent's edges translate alike."""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from c360.common.v1.common_pb2 import Position
from c360.consent.v1.consent_pb2 import CheckBatchRequest, CheckRequest, FilterAudienceRequest, ListDecisionsRequest
from c360.consent.v1.evidence_pb2 import ExplainCheckRequest
from c360.consent.v1.registry_pb2 import GetVersionAtRequest

from services.consent.domain.ledger import Instant
from services.consent.writing import CONSENT_PARTITION
from shared.instants import END_OF_TIME
from shared.rpc.edge import instant
from shared.rpc.paging import Page

MOST_PAGE_BYTES: Final = 1_000_000  # one of what is listed is at most half of it; the page stays below the largest message

Row = TypeVar("Row")

Asking = CheckRequest | ExplainCheckRequest | CheckBatchRequest | FilterAudienceRequest | ListDecisionsRequest | GetVersionAtRequest


def asked_instant(request: Asking) -> Instant:
    """Raises InvalidInput (INSTANT_INVALID)."""
    return instant_in(request, "valid_at", "known_at")


def instant_in(request: Any, valid_at: str, known_at: str) -> Instant:
    """By the names of the fields. Raises InvalidInput (INSTANT_INVALID)."""
    return Instant(*(instant(getattr(request, f), f) if request.HasField(f) else END_OF_TIME for f in (valid_at, known_at)))


def position(pos: int) -> Position:
    return Position(log="consent", partition=CONSENT_PARTITION, number=pos)


def cut_to_fit(
    page: Page[Any], found: Sequence[Row], place_of: Callable[[Row], Any], size_of: Callable[[Row], int]
) -> tuple[Sequence[Row], str]:
    """As `Page.cut`, and no more than fits in a message; one at least."""
    shown, token = page.cut(found, place_of)
    size = 0
    for number, row in enumerate(shown):
        size += size_of(row)
        if number and size > MOST_PAGE_BYTES:
            return shown[:number], page.token_of(place_of(shown[number - 1]))
    return shown, token
