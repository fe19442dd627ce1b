"""The events that are under way: on their way to the broker, or durable there and not yet consumed by identity.

Knows them by their ids alone. What identity has consumed leaves the backlog; while too much or too old stands in it, the
door refuses more: senders are told at once, and what is durable stays little enough to be worked off soon.
"""

import asyncio
from collections import deque
from collections.abc import Collection, Iterable
from typing import Final

import msgspec

from shared.errors import LimitExceeded
from shared.instants import SECOND, Clock
from shared.telemetry import BACKLOG_EVENTS, BACKLOG_SECONDS

MAX_EVENTS: Final = 500_000  # their ids take about 60 MB of this process
MAX_AGE_S: Final = 120  # longer than identity and its database take to restart


class Limits(msgspec.Struct, frozen=True):
    events: int = MAX_EVENTS
    age_s: int = MAX_AGE_S


class Claim:
    """Events of one request. Until it is settled nobody knows whether they will be durable; `number` is where they stand then."""

    __slots__ = ("applied", "durable_at", "event_ids", "number", "settled")

    def __init__(self) -> None:
        self.event_ids: list[bytes] = []
        self.applied: set[bytes] = set()  # those that turned out to have a receipt
        self.settled = asyncio.Event()
        self.number: int | None = None
        self.durable_at = 0


class Backlog:
    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._claims: dict[bytes, Claim] = {}
        self._durable: deque[Claim] = deque()  # in the order of their numbers, nearly
        self.consumed = 0  # sequence of INGEST
        BACKLOG_EVENTS.set_function(self.__len__)
        BACKLOG_SECONDS.set_function(lambda: self.age_s)

    def __len__(self) -> int:
        return len(self._claims)

    @property
    def age_s(self) -> float:
        """How long the oldest durable event has been waiting for identity. Asked by the metrics too, from another thread."""
        try:
            return max(0, self._clock() - self._durable[0].durable_at) / SECOND
        except IndexError:
            return 0.0

    @property
    def is_full(self) -> bool:
        return len(self._claims) >= self._limits.events

    def require_room(self, events: int) -> None:
        """Raises LimitExceeded (OVERLOADED)."""
        if len(self._claims) + events > self._limits.events or self.age_s > self._limits.age_s:
            raise LimitExceeded("too many events are waiting to be applied; send again later", reason="OVERLOADED")

    def claim(self, event_ids: Iterable[bytes]) -> tuple[Claim, dict[bytes, Claim]]:
        """A claim on those that nobody has claimed, and the claims that the others belong to."""
        mine, others = Claim(), {}
        for event_id in event_ids:
            holder = self._claims.setdefault(event_id, mine)
            if holder is mine:
                mine.event_ids.append(event_id)
            else:
                others[event_id] = holder
        return mine, others

    def holds(self, event_id: bytes) -> bool:
        """Whether the event is durable and not consumed."""
        claim = self._claims.get(event_id)
        return claim is not None and claim.number is not None

    async def position_of(self, event_id: bytes) -> int | None:
        """Where the event stands; None when it isn't under way. Waits until that is known."""
        claim = self._claims.get(event_id)
        if claim is None:
            return None
        await claim.settled.wait()
        return claim.number

    def withdraw(self, claim: Claim, applied: Collection[bytes]) -> None:
        """These are not under way: they have a receipt."""
        claim.applied.update(applied)
        claim.event_ids = [event_id for event_id in claim.event_ids if event_id not in claim.applied]
        self._forget(applied)

    def became_durable(self, claim: Claim, number: int, durable_at: int | None = None) -> None:
        claim.number = number
        claim.durable_at = self._clock() if durable_at is None else durable_at
        claim.settled.set()
        if number <= self.consumed:  # identity was quicker than the broker's answer
            self._forget(claim.event_ids)
        else:
            self._durable.append(claim)

    def give_up(self, claim: Claim) -> None:
        """They may be durable or not: who sends them again is taken at its word, and identity knows."""
        self._forget(claim.event_ids)
        claim.settled.set()

    def was_consumed(self, number: int) -> None:
        """Identity has consumed INGEST up to here, and the receipts of that can be looked up."""
        self.consumed = max(self.consumed, number)
        while self._durable and (self._durable[0].number or 0) <= self.consumed:
            self._forget(self._durable.popleft().event_ids)

    def _forget(self, event_ids: Iterable[bytes]) -> None:
        for event_id in event_ids:
            self._claims.pop(event_id, None)
