"""What the gRPC edges of all services translate alike."""

import base64
from collections.abc import Iterable

from c360.common.v1.common_pb2 import CustomerRef, Position
from google.protobuf.timestamp_pb2 import Timestamp

from shared.errors import InvalidInput
from shared.identifiers import Identifier, normalise
from shared.ids import from_text
from shared.instants import from_timestamp

FIRST_SECOND = -62_135_596_800  # 0001-01-01
LAST_SECOND = 253_402_300_799  # 9999-12-31
PAGE_DEFAULT = 50
PAGE_MAX = 500
ID_BYTES = 16
LOGS = frozenset({"ingest", "customer", "profile", "consent"})


def freshness(positions: Iterable[Position]) -> list[tuple[str, int]]:
    """(name in Progress, number) of the positions that are set. Raises InvalidInput (POSITION_INVALID)."""
    wanted = []
    for position in positions:
        if position.log:
            wanted.append((progress_name(position), position.number))
    return wanted


def named_customer(ref: CustomerRef) -> bytes | Identifier:
    """A customer's id, or an identifier, normalised. Raises InvalidInput (CUSTOMER_MISSING, CUSTOMER_ID_INVALID, IDENTIFIER_INVALID)."""
    match ref.WhichOneof("by"):
        case "customer_id":
            return from_text(ref.customer_id, "customer")
        case "identifier":
            return normalise(ref.identifier.namespace, ref.identifier.value)
    raise InvalidInput("name the customer by id or by identifier", reason="CUSTOMER_MISSING")


def progress_name(position: Position) -> str:
    """Only the profile log has partitions that advance on their own."""
    if position.log not in LOGS:
        raise InvalidInput(f"a position's log is one of {', '.join(sorted(LOGS))}", reason="POSITION_INVALID")
    return f"profile/{position.partition}" if position.log == "profile" else position.log


def page_limit(page_size: int) -> int:
    """Raises InvalidInput (PAGE_SIZE_INVALID)."""
    if page_size < 0:
        raise InvalidInput("a page size is not negative; 0 asks for the default", reason="PAGE_SIZE_INVALID")
    return min(page_size or PAGE_DEFAULT, PAGE_MAX)


def page_token(number: int, identity: bytes) -> str:
    """Where a page ended: a number that sorts, and what makes it unique: an id of 16 bytes, or several one after the other."""
    return base64.urlsafe_b64encode(number.to_bytes(8, signed=True) + identity).decode()


def parse_page_token(token: str, ids: int = 1) -> tuple[int, bytes] | None:
    """The number, and as many ids as the page token was made from; None for the first page. Raises InvalidInput (PAGE_TOKEN_INVALID)."""
    if not token:
        return None
    try:
        raw = base64.urlsafe_b64decode(token)
    except ValueError:
        raw = b""
    if len(raw) != 8 + ids * ID_BYTES:
        raise InvalidInput("not a page token of ours", reason="PAGE_TOKEN_INVALID")
    return int.from_bytes(raw[:8], signed=True), raw[8:]


def instant(timestamp: Timestamp, field: str) -> int:
    """Microseconds since 1970, in the range that a Timestamp may have. Raises InvalidInput (INSTANT_INVALID)."""
    if not (FIRST_SECOND <= timestamp.seconds <= LAST_SECOND and 0 <= timestamp.nanos < 10**9):
        raise InvalidInput(f"{field} is not between the years 1 and 9999", reason="INSTANT_INVALID")
    return from_timestamp(timestamp)
