"""How much may be done in a time: token buckets."""

from typing import Final

MINUTE_S: Final = 60.0
ROUNDING: Final = 1e-9


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
