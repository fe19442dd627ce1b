"""How far this process has applied each log it follows, and waiting for it: reading your own writes without sleeping."""

import asyncio
import heapq
from collections import Counter
from collections.abc import Iterable
from itertools import count

from shared.errors import InvalidInput, NotFreshEnough

LONGEST_WAIT_S = 600.0  # whatever deadline a caller sets: what is further behind needs people, and a call that waits takes memory
LOGS = frozenset({"ingest", "customer", "profile", "consent", "segments", "settled"})


def progress_name(log: str, partition: int) -> str:
    """Only the profile log has partitions that advance on their own. Raises InvalidInput (POSITION_INVALID)."""
    if log not in LOGS:
        raise InvalidInput(f"a position's log is one of {', '.join(sorted(LOGS))}", reason="POSITION_INVALID")
    return f"profile/{partition}" if log == "profile" else log


class Progress:
    """Numbers per log name ("ingest", "customer", "consent", or "profile/2" where partitions matter); they only rise."""

    def __init__(self) -> None:
        self._applied: dict[str, int] = {}
        self._waiters: dict[str, list[tuple[int, int, asyncio.Future[None]]]] = {}
        self._gone: Counter[str] = Counter()  # by log, who waits no more and is still among the waiters
        self._tie = count()

    def applied(self, log: str) -> int:
        """-1 when nothing is applied yet."""
        return self._applied.get(log, -1)

    @property
    def is_waited_for(self) -> bool:
        return any(self._waiters.values())

    def advance(self, log: str, number: int) -> None:
        if number <= self.applied(log):
            return
        self._applied[log] = number
        waiters = self._waiters.get(log, [])
        while waiters and waiters[0][0] <= number:
            future = heapq.heappop(waiters)[2]
            if future.done():
                self._gone[log] -= 1
            else:
                future.set_result(None)

    async def wait(self, log: str, number: int, timeout_s: float) -> None:
        """As long as that, and LONGEST_WAIT_S at most. Raises NotFreshEnough when the position isn't applied by then."""
        if number <= self.applied(log):
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiters.setdefault(log, []), (number, next(self._tie), future))
        wait_s = min(timeout_s, LONGEST_WAIT_S)
        try:
            async with asyncio.timeout(wait_s):
                await future
        except TimeoutError:
            raise self._too_old(log, number, wait_s) from None
        finally:
            if future.cancelled():
                self._forget(log)

    def _too_old(self, log: str, number: int, waited_s: float) -> NotFreshEnough:
        longest = f", which is the longest that a call waits ({LONGEST_WAIT_S:g} s)" if waited_s == LONGEST_WAIT_S else ""
        return NotFreshEnough(
            f"{log} position {number} is not applied yet after {waited_s:.3g} s{longest}",
            log=log,
            applied=self.applied(log),
            waited_s=f"{waited_s:.3g}",
            longest_wait_s=f"{LONGEST_WAIT_S:g}",
        )

    def _forget(self, log: str) -> None:
        """Whoever waits no more, once they are half of all: each by itself would be looked for among ten thousand."""
        self._gone[log] += 1
        if 2 * self._gone[log] >= len(self._waiters.get(log, [])):
            waiting = [waiter for waiter in self._waiters.pop(log, []) if not waiter[2].done()]
            heapq.heapify(waiting)
            self._gone.pop(log)
            if waiting:
                self._waiters[log] = waiting

    async def wait_all(self, positions: Iterable[tuple[str, int]], timeout_s: float) -> None:
        await asyncio.gather(*(self.wait(log, number, timeout_s) for log, number in positions))
