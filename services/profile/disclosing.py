"""Writes down what is read, before it is answered. What many calls read while a unit is being written becomes the next unit.

A call that comes while nothing is being written is written down at once. The more this process has to do, the longer after the one
before a unit begins: each costs the process and the database as much as some reads, however many it holds.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, NamedTuple

from services.profile.domain.disclosure import Disclosure, Given
from shared.errors import CustomerError, LimitExceeded, Unavailable
from shared.instants import Clock
from shared.telemetry import DISCLOSURES, logger

GATHER_S: Final = 0.004  # at most, where every read waits for the others anyway
AT_EASE: Final = 0.75  # of a core that this thread takes; up to there nothing is gathered
AT_WORK: Final = 1.0  # here all that comes in GATHER_S
UNIT_READS: Final = 2_000  # some hundred bytes each
TOLD_AT_ONCE: Final = 100  # answers that go out before others on the loop have their turn; some milliseconds
WAITING_READS: Final = 50_000  # more than there may be calls; a call of many customers has some hundred

Then = Callable[[CustomerError | None], None]  # what is done once it is durable, or with why it isn't
Write = Callable[[Sequence[Disclosure]], Awaitable[None]]

log = logger("disclosing")


class Call(NamedTuple):
    """Which call, by whom, and the id that it gave the request."""

    name: str
    caller: str
    request_id: str = ""


def gathering_s(busy: float) -> float:
    """From the beginning of a unit to that of the next, by the share of its time that this thread was at work before."""
    return GATHER_S * min(1.0, max(0.0, (busy - AT_EASE) / (AT_WORK - AT_EASE)))


class _Share:
    """Of the time since it was asked before that this thread was at work."""

    def __init__(self) -> None:
        self._at, self._worked = time.monotonic(), time.thread_time()

    def busy(self, now: float) -> float:
        passed, worked = now - self._at, time.thread_time() - self._worked
        self._at, self._worked = now, self._worked + worked
        return worked / passed if passed > 0 else 0.0


class Disclosing:
    """`write` makes disclosures durable. Raises CustomerError: then none of them is."""

    def __init__(self, write: Write, clock: Clock) -> None:
        self._write = write
        self._clock = clock
        self._waiting: deque[tuple[Disclosure, Then]] = deque()
        self._writing: asyncio.Task[None] | None = None
        self._share = _Share()

    def one(self, given: Given, call: Call) -> Awaitable[None]:
        """Wait for it before the answer goes out. Raises LimitExceeded (OVERLOADED), and when it is waited for what `write` does."""
        written = asyncio.get_running_loop().create_future()
        self.write_down(given, call, lambda error: _settle(written, error))
        return written

    def write_down(self, given: Given, call: Call, then: Then) -> None:
        """As `one`, for whoever has no task that waits. Raises LimitExceeded (OVERLOADED)."""
        if len(self._waiting) >= WAITING_READS:
            raise LimitExceeded("too many reads wait to be written down; ask again later", reason="OVERLOADED")
        self._waiting.append((Disclosure(given, call.caller, self._clock(), call.request_id), then))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all())

    async def all(self, given: Iterable[Given], call: Call) -> None:
        """As `one`, of several."""
        written = [self.one(one, call) for one in given]
        for done in await asyncio.gather(*written, return_exceptions=True):
            if isinstance(done, BaseException):
                raise done

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                began = time.monotonic()
                busy = self._share.busy(began)
                await self._unit([self._waiting.popleft() for _ in range(min(len(self._waiting), UNIT_READS))])
                if self._waiting and (rest := began + gathering_s(busy) - time.monotonic()) > 0:
                    await asyncio.sleep(rest)
        finally:
            self._writing = None

    async def _unit(self, unit: Sequence[tuple[Disclosure, Then]]) -> None:
        """Whoever waits is told by and by, while the next unit is being written already."""
        failed: CustomerError | None = None
        try:
            await self._write([disclosure for disclosure, _ in unit])
        except CustomerError as error:
            failed = error
        except Exception as error:
            log.error("disclosures could not be written", error=type(error).__name__)
            failed = Unavailable("what is read can't be written down", reason="DISCLOSURE_NOT_RECORDED")
        else:
            DISCLOSURES.inc(len(unit))
        asyncio.get_running_loop().call_soon(_tell, deque(then for _, then in unit), failed)


def _tell(waiting: deque[Then], error: CustomerError | None) -> None:
    for _ in range(min(len(waiting), TOLD_AT_ONCE)):
        try:
            waiting.popleft()(error)
        except Exception as unforeseen:  # of one; the others are told
            log.error("unforeseen error", error=type(unforeseen).__name__)
    if waiting:
        asyncio.get_running_loop().call_soon(_tell, waiting, error)


def _settle(written: asyncio.Future[None], error: CustomerError | None) -> None:
    if written.done():  # whoever waited is gone
        return
    if error is None:
        written.set_result(None)
    else:
        written.set_exception(error)
