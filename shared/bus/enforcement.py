"""How consent knows that every live reader enforces a decision before it answers the person.

A reader may serve what needs consent only while it holds a lease, which consent extends at each renewal. A renewal says
how far the reader has applied the consent log. Consent answers a decision when every reader it has granted a lease has
applied it, or has let its lease run out: a reader that is cut off has then stopped serving by itself (Gray and Cheriton,
"Leases", 1989). A consent process that has just started can't know whom its predecessor granted leases, so it first waits
until all of them have run out.
"""

import asyncio
from collections.abc import Callable

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg

from shared.bus.connection import BROKER_DOWN
from shared.telemetry import logger

SUBJECT = "c360.enforcement"
LEASE_S = 4.0  # longer than a restart of consent, so that readers serve through it
RENEW_S = 0.5
SAFETY_S = 0.25  # clocks of two processes run at slightly different speeds
REQUEST_S = 1.0

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
        self._news = asyncio.Event()

    def holds(self) -> bool:
        return self._clock() < self._until

    def renew(self) -> None:
        self._news.set()

    async def run(self) -> None:
        while True:
            self._news.clear()
            asked = self._clock()
            try:
                await self._client.request(SUBJECT, encode(Renewal(self._reader, self._applied())), timeout=REQUEST_S)
                self._until = asked + LEASE_S
            except BROKER_DOWN:
                log.warning("consent did not extend the lease", holds=self.holds())
            try:
                await asyncio.wait_for(self._news.wait(), RENEW_S)
            except TimeoutError:
                continue

    async def leave(self) -> None:
        """Serve nothing afterwards."""
        self._until = float("-inf")
        await self._client.publish(SUBJECT, encode(Renewal(self._reader, self._applied(), leaving=True)))


class Roll:
    """Consent's side: who holds a lease, and how far each has come."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._settled = clock() + LEASE_S + SAFETY_S
        self._readers: dict[str, tuple[int, float]] = {}
        self._news = asyncio.Event()

    async def open(self) -> None:
        await self._client.subscribe(SUBJECT, cb=self._on_renewal)

    async def enforced(self, position: int) -> int:
        """Waits until no reader can serve without this position; returns how many live readers enforce it."""
        while (left := self._wait_s(position)) > 0:
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), left)
            except TimeoutError:
                continue
        return sum(1 for _, until in self._readers.values() if until > self._clock())

    def _wait_s(self, position: int) -> float:
        """How long at most until every reader that is behind has lost its lease."""
        now = self._clock()
        behind = [until for applied, until in self._readers.values() if applied < position and until > now]
        return max([self._settled, *behind]) - now

    async def _on_renewal(self, message: Msg) -> None:
        renewal = decode(message.data)
        if renewal.leaving:
            self._readers.pop(renewal.reader, None)
        else:
            self._readers[renewal.reader] = (renewal.applied, self._clock() + LEASE_S + SAFETY_S)
            await message.respond(b"")
        self._news.set()
