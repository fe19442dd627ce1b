"""The four clocks of an event: when its sender says it happened, when it says it sent it, when we took it, and from
these when it happened. A device whose clock is hours wrong is wrong in both of its readings alike, so their difference
is right: occurred = received - (sent - original) (the Segment specification, "Timestamps in the Segment ecosystem").

A clock that is right but for the time a request takes is taken at its word: correcting it would move every instant by that
time, and could turn around the order of events that a device sent in two requests.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from services.ingest.domain.call import Call, Delivery
from shared.errors import InvalidInput
from shared.instants import END_OF_TIME, EPOCH, SECOND, from_iso

TOLERANCE_US = 5 * SECOND
FAR_PAST = "CLOCK_FAR_PAST"
FAR_FUTURE = "CLOCK_FAR_FUTURE"
_MICROSECOND = timedelta(microseconds=1)


class Times(msgspec.Struct, frozen=True, gc=False):
    """In microseconds. What happened never lies after its receipt; `flags` say when the clients' times are beyond belief."""

    occurred_at: int
    original_at: int | None
    sent_at: int | None
    flags: list[str] = []


def read(call: Call, delivery: Delivery) -> Times:
    """Raises InvalidInput (TIMESTAMP_INVALID)."""
    timestamp = None if call.timestamp is None else instant(call.timestamp)
    original_at = None if call.original_timestamp is None else instant(call.original_timestamp)
    sent_at = delivery.sent_at if delivery.sent_at is not None or call.sent_at is None else instant(call.sent_at)
    if timestamp is not None and original_at not in (None, timestamp):
        # Both and different: an event passed on by a system that has corrected the first.
        occurred_at = timestamp
    else:
        original_at = timestamp if original_at is None else original_at
        occurred_at = _corrected(original_at, sent_at, delivery.received_at)
    if occurred_at < 0:
        raise _invalid()
    return Times(min(occurred_at, delivery.received_at), original_at, sent_at, _flags(occurred_at, delivery))


def _flags(occurred_at: int, delivery: Delivery) -> list[str]:
    """Judged after the correction: a clock that is merely wrong, and says so by `sentAt`, is no reason to doubt."""
    limits, ago = delivery.source.settings, delivery.received_at - occurred_at
    if ago > limits.far_past_s * SECOND:
        return [FAR_PAST]
    return [FAR_FUTURE] if -ago > limits.far_future_s * SECOND else []


def _corrected(original_at: int | None, sent_at: int | None, received_at: int) -> int:
    if original_at is None:
        return received_at
    if sent_at is None or abs(received_at - sent_at) <= TOLERANCE_US:
        return original_at
    return received_at - (sent_at - original_at)


def instant(value: Any) -> int | None:
    """From 1970 on; without an offset it is UTC. Raises InvalidInput (TIMESTAMP_INVALID)."""
    if value is None or value == "":
        return None
    try:
        found = (value.astimezone(UTC) - EPOCH) // _MICROSECOND if isinstance(value, datetime) else from_iso(value)
    except (ValueError, TypeError, OverflowError):
        raise _invalid() from None
    if not 0 <= found <= END_OF_TIME:
        raise _invalid()
    return found


def _invalid() -> InvalidInput:
    return InvalidInput("a time is ISO 8601 text between the years 1970 and 9999", reason="TIMESTAMP_INVALID")
