"""Whether and when a call is made again. Pure: the clock and chance are given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import grpc

from customer360_client.errors import ClientError

# Recorded, and not yet heard by every reader: who repeats the request id waits on.
NOT_YET_ENFORCED: Final = "NOT_YET_ENFORCED"
OVERLOADED: Final = "OVERLOADED"  # the one limit that passes by itself and doesn't say when


@dataclass(frozen=True)
class Retries:
    """Pauses grow from the first to the longest, each by chance between nothing and that ("full jitter"), so that callers who were
    refused together don't come again together. What a service says of when to come again is waited for before."""

    first_pause_s: float = 0.05
    longest_pause_s: float = 2.0

    def pause_s(self, attempt: int, error: ClientError, left_s: float, chance: float) -> float | None:
        """None: it isn't made again. `attempt` counts from 1; `chance` is between 0 and 1."""
        if not is_passing(error):
            return None
        grown = self.first_pause_s * 2 ** min(attempt - 1, 32)  # further doubling would overflow, and is past any longest pause
        pause = (error.retry_after_s or 0.0) + chance * min(grown, self.longest_pause_s)
        return pause if pause < left_s else None  # it would come too late: the caller is told now


def is_passing(error: ClientError) -> bool:
    """Every call of this client may be made twice: reads change nothing, writes carry a key of their own."""
    if error.code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return error.retry_after_s is not None or error.reason == OVERLOADED
    if error.code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return error.reason == NOT_YET_ENFORCED
    return error.code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


class Attempts:
    """Of one call, within its whole time."""

    def __init__(self, retries: Retries, timeout_s: float, clock: Callable[[], float], chance: Callable[[], float]) -> None:
        self._retries = retries
        self._clock = clock
        self._chance = chance
        self._ends_at = clock() + timeout_s
        self._made = 0
        self._renewed = False

    def left_s(self) -> float:
        return max(0.001, self._ends_at - self._clock())  # gRPC takes none for a deadline in the past

    def after(self, error: ClientError, renew: Callable[[], bool]) -> float:
        """How long to wait before the next one. Raises the error where there is none. `renew` forgets the credential, and says
        whether there is another to be had; it is tried once."""
        self._made += 1
        error.attempts = self._made
        if error.code is grpc.StatusCode.UNAUTHENTICATED and not self._renewed and renew():
            self._renewed = True
            return 0.0
        pause = self._retries.pause_s(self._made, error, self._ends_at - self._clock(), self._chance())
        if pause is None:
            raise error
        return pause
