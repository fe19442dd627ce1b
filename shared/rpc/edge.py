"""What the gRPC edges of all services translate alike."""

from collections.abc import Iterable

from c360.common.v1.common_pb2 import Position

from shared.errors import InvalidInput

LOGS = frozenset({"ingest", "customer", "profile", "consent"})


def freshness(positions: Iterable[Position]) -> list[tuple[str, int]]:
    """(name in Progress, number) of the positions that are set. Raises InvalidInput (POSITION_INVALID)."""
    wanted = []
    for position in positions:
        if position.log:
            wanted.append((progress_name(position), position.number))
    return wanted


def progress_name(position: Position) -> str:
    """Only the profile log has partitions that advance on their own."""
    if position.log not in LOGS:
        raise InvalidInput(f"a position's log is one of {', '.join(sorted(LOGS))}", reason="POSITION_INVALID")
    return f"profile/{position.partition}" if position.log == "profile" else position.log
