"""Instants are microseconds since 1970 (UTC) in an int; only edges use other forms."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

Clock = Callable[[], int]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
END_OF_TIME = 253_402_300_799_999_999  # 9999-12-31, the last instant a Timestamp can carry
SECOND = 1_000_000
DAY = 24 * 3600 * SECOND


def years_after(instant: int, years: int) -> int:
    """The same date and time so many years later, or earlier; of 29 February, in a year that has none, 1 March."""
    moment = EPOCH + timedelta(microseconds=instant)
    try:
        then = moment.replace(year=moment.year + years)
    except ValueError:
        then = moment.replace(year=moment.year + years, month=3, day=1)
    return (then - EPOCH) // timedelta(microseconds=1)


def now_us() -> int:
    return time.time_ns() // 1000


def to_timestamp(instant: int) -> Timestamp:
    seconds, micros = divmod(instant, SECOND)
    return Timestamp(seconds=seconds, nanos=micros * 1000)


def from_timestamp(timestamp: Timestamp) -> int:
    return timestamp.seconds * SECOND + timestamp.nanos // 1000


def from_iso(text: str) -> int:
    """An ISO 8601 instant; without an offset it is UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - EPOCH) // timedelta(microseconds=1)


def to_iso(instant: int) -> str:
    return (EPOCH + timedelta(microseconds=instant)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
