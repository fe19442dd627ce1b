"""How far this process has applied each log it follows, and waiting for it: reading your own writes without sleeping."""

import asyncio
import heapq
from collections.abc import Iterable
from itertools import count

from shared.errors import InvalidInput, NotFreshEnough

# A caller without a deadline still gets an answer.
LONGEST_WAIT_S = 30.0
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
        self._tie = count()

    def applied(self, log: str) -> int:
        """-1 when nothing is applied yet."""
        return self._applied.get(log, -1)

    def advance(self, log: str, number: int) -> None:
        if number <= self.applied(log):
            return
        self._applied[log] = number
        waiters = self._waiters.get(log, [])
        while waiters and waiters[0][0] <= number:
            future = heapq.heappop(waiters)[2]
            if not future.done():
                future.set_result(None)

    async def wait(self, log: str, number: int, timeout_s: float) -> None:
        """Raises NotFreshEnough when the position isn't applied in time."""
        if number <= self.applied(log):
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = (number, next(self._tie), future)
        heapq.heappush(self._waiters.setdefault(log, []), waiter)
        try:
            async with asyncio.timeout(min(timeout_s, LONGEST_WAIT_S)):
                await future
        except TimeoutError:
            raise NotFreshEnough(f"{log} position {number} is not applied yet", log=log, applied=self.applied(log)) from None
        finally:
            self._forget(log, waiter)

    def _forget(self, log: str, waiter: tuple[int, int, asyncio.Future[None]]) -> None:
        waiters = self._waiters.get(log, [])
        if waiter in waiters:
            waiters.remove(waiter)
            heapq.heapify(waiters)
        if not waiters:
            self._waiters.pop(log, None)

    async def wait_all(self, positions: Iterable[tuple[str, int]], timeout_s: float) -> None:
        await asyncio.gather(*(self.wait(log, number, timeout_s) for log, number in positions))
