"""How consent knows that every live reader enforces a decision before it answers the person.

A reader may serve what needs consent only while it holds a lease, which consent extends at each renewal. A renewal says
how far the reader has applied the consent log. Consent answers a decision when every reader it has granted a lease has
applied it, or has let its lease run out: a reader that is cut off has then stopped serving by itself (Gray and Cheriton,
"Leases", 1989). A reader that comes, or comes back, gets no lease before it has applied all that was ever answered. A
consent process that has just started can't know whom its predecessor granted leases, so it first waits until all of them
have run out; and a predecessor that still runs grants none once it can't confirm that the log is its own.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from shared.bus.connection import BROKER_DOWN
from shared.telemetry import logger
from shared.waiting import wait_for_news

SUBJECT = "c360.enforcement"
LEASE_S = 3.0  # longer than a restart of consent, so that readers serve through it
AUTHORITY_S = 1.0  # how long consent may grant leases after it has confirmed that it owns the log
CONFIRM_S = 0.3
RENEW_S = 0.5
SAFETY_S = 0.25  # clocks of two processes run at slightly different speeds
REQUEST_S = 1.0
SETTLE_S = LEASE_S + AUTHORITY_S + SAFETY_S  # until all leases that somebody else may have granted have run out
PATIENCE_S = 0.2  # a reader that lags for longer gets no further lease, or it could hold up every decision for ever
BEHIND = b"behind"  # the answer that extends no lease

log = logger("enforcement")
Clock = Callable[[], float]  # seconds, monotonic


class Renewal(msgspec.Struct, frozen=True):
    reader: str
    applied: int  # last position of the consent log that every answer of this reader includes
    leaving: bool = False


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Renewal).decode


class Lease:
    """A reader's side. `applied` tells its position; `renew` makes it known at once."""

    def __init__(self, client: Client, reader: str, applied: Callable[[], int], clock: Clock) -> None:
        self._client = client
        self._reader = reader
        self._applied = applied
        self._clock = clock
        self._until = float("-inf")
        self._told = float("-inf")  # the lease whose end the log has
        self._news = asyncio.Event()

    def holds(self) -> bool:
        return self._clock() < self._until

    def renew(self) -> None:
        self._news.set()

    async def run(self) -> None:
        while True:
            self._news.clear()
            await self._ask()
            self._tell_end()
            await wait_for_news(self._news, RENEW_S)

    async def _ask(self) -> None:
        asked = self._clock()
        with contextlib.suppress(*BROKER_DOWN):
            answer = await self._client.request(SUBJECT, encode(Renewal(self._reader, self._applied())), timeout=REQUEST_S)
            if answer.data != BEHIND:
                self._extend(asked + LEASE_S)

    def _extend(self, until: float) -> None:
        self._tell_end()
        ended, self._until = self._until, until
        if ended == float("-inf"):
            log.info("the lease to serve what needs consent is held")
        elif self._told == ended:
            log.warning("the lease to serve what needs consent is held again", without_it_s=round(self._clock() - ended, 1))

    def _tell_end(self) -> None:
        """Once, when it is noticed: between renewals nothing looks."""
        if not self.holds() and self._told != self._until:
            self._told = self._until
            log.warning("the lease to serve what needs consent has run out: what needs it is refused")

    async def leave(self) -> None:
        """Serve nothing afterwards."""
        self._until = float("-inf")
        with contextlib.suppress(*BROKER_DOWN):
            await self._client.publish(SUBJECT, encode(Renewal(self._reader, self._applied(), leaving=True)))


class Roll:
    """Consent's side: who holds a lease, and how far each has come. `owns` confirms that the log is this process's own."""

    def __init__(self, client: Client, clock: Clock, owns: Callable[[], Awaitable[bool]]) -> None:
        self._client = client
        self._clock = clock
        self._owns = owns
        self._authority = float("-inf")
        self._settled = clock() + SETTLE_S
        self._readers: dict[str, tuple[int, float]] = {}
        self._floor = -1  # no lease for a reader that has applied less
        self._subscription: Subscription | None = None
        self._news = asyncio.Event()

    async def open(self, floor: int, *, settled: bool) -> None:
        """`floor` is the last position that may have been answered before; `settled`: nobody else granted leases since."""
        self._floor = max(self._floor, floor)
        if not settled:
            self._settled = self._clock() + SETTLE_S
        if self._subscription is None:
            self._subscription = await self._client.subscribe(SUBJECT, cb=self._on_renewal)

    async def keep_authority(self) -> None:
        while True:
            asked = self._clock()
            if await self._owns():
                self._authority = asked + AUTHORITY_S
            await asyncio.sleep(CONFIRM_S)

    async def enforced(self, position: int) -> int:
        """Waits until no reader can serve without this position; returns how many live readers enforce it.

        At most PATIENCE_S + LEASE_S + SAFETY_S, whatever the readers do.
        """
        patient_until = self._clock() + PATIENCE_S
        try:
            while (left := self._wait_s(position)) > 0:
                self._news.clear()
                patience = patient_until - self._clock()
                if patience <= 0:
                    self._floor = max(self._floor, position)
                await wait_for_news(self._news, min(left, patience) if patience > 0 else left)
        finally:
            self._floor = max(self._floor, position)
        self._readers = {name: held for name, held in self._readers.items() if held[1] > self._clock()}
        return len(self._readers)

    def _wait_s(self, position: int) -> float:
        """How long at most until every reader that is behind has lost its lease."""
        now = self._clock()
        behind = [until for applied, until in self._readers.values() if applied < position and until > now]
        return max([self._settled, *behind]) - now

    async def _on_renewal(self, message: Msg) -> None:
        renewal = decode(message.data)
        if self._clock() >= self._authority:
            if self._authority == float("-inf"):
                await message.respond(BEHIND)  # just started; one that lost its authority leaves the word to its successor
            return
        if renewal.leaving:
            self._readers.pop(renewal.reader, None)
        elif renewal.applied < self._floor:
            _, until = self._readers.get(renewal.reader, (-1, float("-inf")))
            self._readers[renewal.reader] = (renewal.applied, until)
            await message.respond(BEHIND)
        else:
            self._readers[renewal.reader] = (renewal.applied, self._clock() + LEASE_S + SAFETY_S)
            await message.respond(b"")
        self._news.set()
