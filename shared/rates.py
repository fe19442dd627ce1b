"""How much may be done in a time: token buckets."""

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from shared.errors import LimitExceeded

MINUTE_S: Final = 60.0
ROUNDING: Final = 1e-9
MOST_BUCKETS: Final = 10_000  # of a door; the least recently used is forgotten


class Bucket:
    """Fills with `per_s` up to `most`; what takes more than is in it is let through once, and paid back by whoever comes next.

    So of any span of s seconds no more gets through than most + s * per_s, and once the largest amount. Instants are seconds.
    """

    __slots__ = ("_at", "_held", "_most", "_per_s")

    def __init__(self, per_s: float, most: float, now: float) -> None:
        self._per_s = per_s
        self._most = most
        self._held = most
        self._at = now

    def take(self, amount: float, now: float) -> float:
        """0 when it was taken; else after how many seconds it is worth trying again."""
        wait = self.wait(now)
        if wait == 0:
            self._held -= amount
        return wait

    def wait(self, now: float) -> float:
        """Seconds until there is one in it again."""
        if now > self._at:
            self._held = min(self._most, self._held + (now - self._at) * self._per_s)
            self._at = now
        return 0.0 if self._held >= 1 - ROUNDING else (1 - self._held) / self._per_s


class Buckets:
    """One for each of whom a door knows by a key. `clock` is in seconds and never runs backwards."""

    def __init__(self, per_s: float, most: float, clock: Callable[[], float]) -> None:
        self._per_s = per_s
        self._most = most
        self._clock = clock
        self._held: OrderedDict[Any, Bucket] = OrderedDict()

    def take(self, key: Any) -> None:
        """Raises LimitExceeded (RATE_EXCEEDED)."""
        now = self._clock()
        bucket = self._held.pop(key, None) or Bucket(self._per_s, self._most, now)
        self._held[key] = bucket
        while len(self._held) > MOST_BUCKETS:
            self._held.popitem(last=False)
        if wait := bucket.take(1, now):
            raise LimitExceeded("too often; come again later", reason="RATE_EXCEEDED", retry_after_ms=int(wait * 1000))


def retry_after_s(refused: Exception, otherwise: int) -> int:
    """Whole seconds, as HTTP tells them, after which it is worth trying again."""
    told = refused.facts.get("retry_after_ms") if isinstance(refused, LimitExceeded) else None
    return otherwise if told is None else max(1, math.ceil(int(told) / 1000))
