"""How often a caller may call, and about how many, at any door: each process counts for itself."""

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

import msgspec

from shared.distinct import Distinct
from shared.errors import LimitExceeded
from shared.rates import MINUTE_S, Bucket
from shared.telemetry import ENUMERATION_ALARMS, SCRAPING_ALARMS, logger

MOST_BUCKETS: Final = 10_000  # of callers and purposes; the least recently used is forgotten
MOST_COUNTED: Final = 500  # callers; half a megabyte each at most
HOUR_S: Final = 3600.0
KEY_BYTES: Final = 32
DIGEST_BYTES: Final = 24

log = logger("door")
V = TypeVar("V")


class Limited(msgspec.Struct, frozen=True):
    """What one caller may. Another `version` of it is counted from the beginning. 0: no limit."""

    name: str
    version: int
    calls_per_s: int = 0  # for each purpose
    burst: int = 0  # 0: as many as in a second
    misses_per_min: int = 0
    customers_per_hour: int = 0


class Limits:
    def __init__(self, clock: Callable[[], float], key: bytes | None = None) -> None:
        """`clock` is in seconds and never runs backwards. By the key, which is this process's own, whoever is counted can't be found."""
        self._clock = clock
        self._key = key or secrets.token_bytes(KEY_BYTES)
        self._rates: OrderedDict[tuple[str, int, str], Bucket] = OrderedDict()
        self._misses: OrderedDict[tuple[str, int], Bucket] = OrderedDict()
        self._customers: OrderedDict[tuple[str, int], Distinct] = OrderedDict()
        self._alarmed: dict[str, float] = {}

    def check(self, caller: Limited, purpose: str, amount: int, names: Iterable[bytes]) -> None:
        """Of a call that counts for an amount, and tells of whom it names.

        Raises LimitExceeded (RATE_EXCEEDED, ENUMERATION_SUSPECTED, SCRAPING_SUSPECTED).
        """
        now = self._clock()
        if caller.misses_per_min and (wait := self._misses_of(caller, now).wait(now)):
            raise _refused("this caller asks about too many customers whom nobody knows", "ENUMERATION_SUSPECTED", wait)
        if caller.calls_per_s and (wait := self._rate_of(caller, purpose, now).take(amount, now)):
            raise _refused("this caller asks more often than it may for this purpose", "RATE_EXCEEDED", wait)
        if caller.customers_per_hour:
            self._count(caller, {self._digest(name) for name in names}, now)

    def missed(self, caller: Limited, amount: int) -> None:
        """It asked about so many whom nobody knows."""
        if not caller.misses_per_min:
            return
        now = self._clock()
        bucket = self._misses_of(caller, now)
        if bucket.take(amount, now) == 0 and bucket.wait(now) > 0:
            log.warning("a caller tries out identifiers", caller=caller.name, misses_per_min=caller.misses_per_min)
            ENUMERATION_ALARMS.labels(caller.name).inc()

    def _count(self, caller: Limited, names: set[bytes], now: float) -> None:
        """Raises LimitExceeded (SCRAPING_SUSPECTED); the first time in its hour that is an alarm."""
        most = caller.customers_per_hour
        counted = _held(self._customers, (caller.name, caller.version), MOST_COUNTED, lambda: Distinct(most, HOUR_S, now))
        if not (wait := counted.take(names, now)):
            return
        if now >= self._alarmed.get(caller.name, now):
            self._alarmed[caller.name] = now + wait  # as many as there are callers
            log.warning("a caller reads more customers than it may", caller=caller.name, customers_per_hour=most)
            SCRAPING_ALARMS.labels(caller.name).inc()
        raise _refused("this caller asks for more different customers than it may", "SCRAPING_SUSPECTED", wait)

    def _digest(self, name: bytes) -> bytes:
        return hashlib.blake2b(name, key=self._key, digest_size=DIGEST_BYTES).digest()

    def _rate_of(self, caller: Limited, purpose: str, now: float) -> Bucket:
        key, most = (caller.name, caller.version, purpose), caller.burst or caller.calls_per_s
        return _held(self._rates, key, MOST_BUCKETS, lambda: Bucket(caller.calls_per_s, most, now))

    def _misses_of(self, caller: Limited, now: float) -> Bucket:
        most = caller.misses_per_min
        return _held(self._misses, (caller.name, caller.version), MOST_BUCKETS, lambda: Bucket(most / MINUTE_S, most, now))


def _held(kept: OrderedDict[Any, V], key: Any, most: int, make: Callable[[], V]) -> V:
    found = kept.get(key)
    if found is None:
        found = kept[key] = make()
        while len(kept) > most:
            kept.popitem(last=False)
    else:
        kept.move_to_end(key)
    return found


def _refused(message: str, reason: str, wait_s: float) -> LimitExceeded:
    return LimitExceeded(message, reason=reason, retry_after_ms=int(wait_s * 1000))
