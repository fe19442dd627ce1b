"""Which events were taken before: those under way are in memory, those applied have a receipt in the database.

Identity's memory of messages is the authority and loses nothing: whatever is answered here, no event is applied twice. This
one lets the door say `duplicate`. It asks the database once for all that many requests bring while it is asking, and goes
on without an answer when there is none.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Final, Protocol

import msgspec

from services.ingest.backlog import Backlog, Claim
from shared.errors import Unavailable
from shared.store.pool import DOWN as STORE_DOWN
from shared.telemetry import logger

LOOK_UP_TIMEOUT_S: Final = 1.0
PAUSE_S: Final = 1.0  # after a look-up that failed; until then everything counts as new

MayKnow = Callable[[Collection[bytes]], list[bytes]]  # of these event ids, those worth a look-up; for new ones rarely any
LookUp = Callable[[Collection[bytes]], Awaitable[set[bytes]]]  # those that have a receipt

log = logger("memory")


class Buffer(Protocol):
    async def submit(self, events: list[bytes]) -> int:
        """Returns where the events stand once they are durable."""
        ...


class Taken(msgspec.Struct, frozen=True):
    """`number` is where the newest of them stands, those that were taken before included."""

    number: int | None = None
    duplicates: Collection[bytes] = ()


class Memory:
    def __init__(self, backlog: Backlog, may_know: MayKnow, look_up: LookUp, buffer: Buffer, clock: Callable[[], float]) -> None:
        """`clock` tells seconds, monotonic."""
        self._backlog = backlog
        self._may_know = may_know
        self._receipts = Gathered(look_up, clock)
        self._buffer = buffer

    async def submit(self, events: Mapping[bytes, bytes]) -> Taken:
        """Makes encoded events, by their ids, durable, but for those that were taken before.

        Raises LimitExceeded (OVERLOADED), Unavailable (BROKER_DOWN, STOPPING, TRY_AGAIN); then none is known to be.
        """
        self._backlog.require_room(len(events))
        # First what is under way, then the receipts: an event leaves the former after it got the latter.
        mine, others = self._backlog.claim(events)
        try:
            await self._withdraw_known(mine)
            fresh = mine.event_ids
            if fresh:
                self._backlog.became_durable(mine, await self._buffer.submit([events[event_id] for event_id in fresh]))
        finally:
            if not mine.settled.is_set():
                self._backlog.give_up(mine)
        numbers = [await self._number_of(event_id, claim) for event_id, claim in others.items()]
        if mine.number is not None:
            numbers.append(mine.number)
        if len(fresh) == len(events):
            return Taken(mine.number)
        return Taken(max(numbers, default=self._backlog.consumed), events.keys() - set(fresh))

    async def taken_before(self, event_ids: Collection[bytes]) -> set[bytes]:
        """Those that are durable in the stream, or applied."""
        under_way = {event_id for event_id in event_ids if self._backlog.holds(event_id)}
        asked = self._may_know(event_ids)
        return under_way | ((await self._receipts.known(asked)).intersection(event_ids) if asked else set())

    async def _number_of(self, event_id: bytes, claim: Claim) -> int:
        """Waits for the request that brought the event first. Raises Unavailable: this one is not taken at its word either."""
        await claim.settled.wait()
        if event_id in claim.applied:
            return self._backlog.consumed
        if claim.number is None:
            raise Unavailable("the first event of this message id was not taken; send it again", reason="TRY_AGAIN")
        return claim.number

    async def _withdraw_known(self, claim: Claim) -> None:
        if asked := self._may_know(claim.event_ids):
            known = await self._receipts.known(asked)
            self._backlog.withdraw(claim, [event_id for event_id in asked if event_id in known])


class _Round:
    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.known: set[bytes] | None = None


class Gathered:
    """One look-up at a time; what is asked meanwhile is gathered into the next."""

    def __init__(self, look_up: LookUp, clock: Callable[[], float]) -> None:
        self._look_up = look_up
        self._clock = clock
        self._gathering = _Round()
        self._turn = asyncio.Lock()
        self._pause_until = float("-inf")

    async def known(self, event_ids: Collection[bytes]) -> set[bytes]:
        """At least those of `event_ids` that have a receipt; nothing while the database doesn't answer."""
        if self._clock() < self._pause_until:
            return set()
        mine = self._gathering
        mine.asked += event_ids
        async with self._turn:
            if mine.known is None:  # nobody has asked for this round yet, or who did was cancelled
                if self._gathering is mine:
                    self._gathering = _Round()
                mine.known = await self._ask(mine.asked)
        return mine.known

    async def _ask(self, event_ids: list[bytes]) -> set[bytes]:
        if self._clock() < self._pause_until:
            return set()
        try:
            async with asyncio.timeout(LOOK_UP_TIMEOUT_S):
                return await self._look_up(event_ids)
        except STORE_DOWN as error:
            self._pause_until = self._clock() + PAUSE_S
            log.warning("cannot look up receipts; duplicates are left to identity", error=type(error).__name__)
            return set()
