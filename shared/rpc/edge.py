"""What the gRPC edges of all services translate alike."""

from collections.abc import Iterable

from c360.common.v1.common_pb2 import CustomerRef, Position, Refusal
from google.protobuf.timestamp_pb2 import Timestamp

from shared import positions as logs
from shared.errors import CustomerError, InvalidInput
from shared.identifiers import Identifier, normalise
from shared.ids import from_text
from shared.instants import from_timestamp
from shared.rpc.callers import count_miss
from shared.rpc.errors import code_of

FIRST_SECOND = -62_135_596_800  # 0001-01-01
LAST_POSITION = 2**63 - 1  # no log comes so far: a request may hold larger numbers, a database not
POSITIONS_AT_MOST = 1_000  # partitions of all logs together, by far; each that is waited for is remembered
LAST_SECOND = 253_402_300_799  # 9999-12-31


def freshness(positions: Iterable[Position]) -> list[tuple[str, int]]:
    """(name in Progress, number) of the positions that are set, the last of each log. Raises InvalidInput (POSITION_INVALID,
    TOO_MANY_POSITIONS)."""
    wanted: dict[str, int] = {}
    for position in positions:
        if position.log:
            name = progress_name(position)
            if position.number > LAST_POSITION:
                raise InvalidInput(f"no position is behind {LAST_POSITION}", reason="POSITION_INVALID")
            wanted[name] = max(position.number, wanted.get(name, 0))
            if len(wanted) > POSITIONS_AT_MOST:
                raise InvalidInput(
                    f"at most {POSITIONS_AT_MOST} positions are waited for", reason="TOO_MANY_POSITIONS", limit=POSITIONS_AT_MOST
                )
    return list(wanted.items())


def named_customer(ref: CustomerRef) -> bytes | Identifier:
    """A customer's id, or an identifier, normalised. Raises InvalidInput (CUSTOMER_MISSING, CUSTOMER_ID_INVALID, IDENTIFIER_INVALID)."""
    match ref.WhichOneof("by"):
        case "customer_id":
            return from_text(ref.customer_id, "customer")
        case "identifier":
            return normalise(ref.identifier.namespace, ref.identifier.value)
    raise InvalidInput("name the customer by id or by identifier", reason="CUSTOMER_MISSING")


def named_or_refused(ref: CustomerRef) -> bytes | Identifier | InvalidInput:
    """As named_customer, of one of several: what is wrong with it is its own result."""
    try:
        return named_customer(ref)
    except InvalidInput as refused:
        return refused


def refusal_message(refused: CustomerError) -> Refusal:
    count_miss(refused)
    return Refusal(code=code_of(refused), reason=refused.reason, message=refused.message, metadata=refused.facts)


def progress_name(position: Position) -> str:
    """Raises InvalidInput (POSITION_INVALID)."""
    return logs.progress_name(position.log, position.partition)


def instant(timestamp: Timestamp, field: str) -> int:
    """Microseconds since 1970, in the range that a Timestamp may have. Raises InvalidInput (INSTANT_INVALID)."""
    if not (FIRST_SECOND <= timestamp.seconds <= LAST_SECOND and 0 <= timestamp.nanos < 10**9):
        raise InvalidInput(f"{field} is not between the years 1 and 9999", reason="INSTANT_INVALID")
    return from_timestamp(timestamp)
