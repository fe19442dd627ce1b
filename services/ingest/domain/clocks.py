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
SENT_AT_INVALID = "CLOCK_SENT_AT_INVALID"
_MICROSECOND = timedelta(microseconds=1)


class Times(msgspec.Struct, frozen=True, gc=False):
    """In microseconds. What happened never lies after its receipt; `flags` say when the clients' times are beyond belief."""

    occurred_at: int
    original_at: int | None
    sent_at: int | None
    flags: list[str] = []


def read(call: Call, delivery: Delivery) -> Times:
    """Raises InvalidInput (TIMESTAMP_INVALID)."""
    timestamp = None if call.timestamp is None else instant(call.timestamp, "timestamp")
    original_at = None if call.original_timestamp is None else instant(call.original_timestamp, "originalTimestamp")
    flags: list[str] = []
    sent_at = delivery.sent_at
    if sent_at is None and call.sent_at is not None:
        sent_at, flags = sent_at_of(call.sent_at)
    if timestamp is not None and original_at not in (None, timestamp):
        # Both and different: an event passed on by a system that has corrected the first.
        occurred_at = timestamp
    else:
        original_at = timestamp if original_at is None else original_at
        occurred_at = _corrected(original_at, sent_at, delivery.received_at)
    if occurred_at < 0:  # not every clock that says when it sent is one
        occurred_at, flags = original_at or 0, [SENT_AT_INVALID]
    return Times(min(occurred_at, delivery.received_at), original_at, sent_at, _flags(occurred_at, delivery, flags))


def _flags(occurred_at: int, delivery: Delivery, flags: list[str]) -> list[str]:
    """Judged after the correction: a clock that is merely wrong, and says so by `sentAt`, is no reason to doubt."""
    limits, ago = delivery.source.settings, delivery.received_at - occurred_at
    if ago > limits.far_past_s * SECOND:
        return [*flags, FAR_PAST]
    return [*flags, FAR_FUTURE] if -ago > limits.far_future_s * SECOND else flags


def _corrected(original_at: int | None, sent_at: int | None, received_at: int) -> int:
    if original_at is None:
        return received_at
    if sent_at is None or abs(received_at - sent_at) <= TOLERANCE_US:
        return original_at
    return received_at - (sent_at - original_at)


def sent_at_of(value: Any) -> tuple[int | None, list[str]]:
    """One that can't be read is none, and a flag: it costs the correction of the clock, and no event."""
    try:
        return instant(value, "sentAt"), []
    except InvalidInput:
        return None, [SENT_AT_INVALID]


def instant(value: Any, field: str) -> int | None:
    """From 1970 on; without an offset it is UTC. Raises InvalidInput (TIMESTAMP_INVALID)."""
    if value is None or value == "":
        return None
    try:
        found = (value.astimezone(UTC) - EPOCH) // _MICROSECOND if isinstance(value, datetime) else from_iso(value)
    except (ValueError, TypeError, OverflowError):
        raise _invalid(field) from None
    if not 0 <= found <= END_OF_TIME:
        raise _invalid(field)
    return found


def _invalid(field: str) -> InvalidInput:
    return InvalidInput(f"{field} is ISO 8601 text between the years 1970 and 9999", reason="TIMESTAMP_INVALID")
