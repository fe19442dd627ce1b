"""A token bucket: so many events a second, and a second's worth at once. A request that has more than that passes when the bucket
is full and leaves it in debt, so that however low the limit is a batch passes, and what comes next waits for both.

Each process has its own; a source that sends to several processes gets its limit from each.
"""

import math
from typing import Final

from shared.errors import LimitExceeded

BURST_S: Final = 1.0


class Bucket:
    """`now` counts seconds, monotonic."""

    __slots__ = ("_at", "_capacity", "_rate", "_tokens")

    def __init__(self, events_per_s: int, now: float) -> None:
        self._rate = events_per_s
        self._capacity = events_per_s * BURST_S
        self._tokens = self._capacity
        self._at = now

    def take(self, events: int, now: float) -> None:
        """Raises LimitExceeded (RATE_LIMITED; `retry_after_s` says when it would have been taken), and takes nothing then."""
        self._tokens = min(self._capacity, self._tokens + (now - self._at) * self._rate)
        self._at = now
        needed = min(float(events), self._capacity)
        if self._tokens < needed:
            wait_s = math.ceil((needed - self._tokens) / self._rate)
            raise LimitExceeded(
                "this source sends more events a second than it may; send again later", reason="RATE_LIMITED", retry_after_s=wait_s
            )
        self._tokens -= events


class Limiter:
    """The buckets of all sources that have a limit. A change of the limit begins a new one."""

    def __init__(self) -> None:
        self._buckets: dict[tuple[str, int], Bucket] = {}

    def take(self, source: str, events_per_s: int, events: int, now: float) -> None:
        """Raises LimitExceeded (RATE_LIMITED)."""
        if not events_per_s:
            return
        bucket = self._buckets.get(key := (source, events_per_s))
        if bucket is None:
            bucket = self._buckets[key] = Bucket(events_per_s, now)
        bucket.take(events, now)
