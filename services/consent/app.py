"""Consent's use cases: define and decide (the single writer), and answer what is permitted."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from services.consent import views
from services.consent.domain.ledger import (
    NOW,
    READY_PURPOSES,
    DefinePurpose,
    Instant,
    RecordDecision,
    check_past,
    check_purpose_name,
    define_purpose,
    fold,
    record_decision,
    unknown_purpose,
)
from services.consent.persons import Persons
from services.consent.views import Decisions, E, Placed, Purposes
from shared.bus.enforcement import Roll
from shared.errors import DeadlineExceeded
from shared.events.catalogue import Entry, make_entry
from shared.events.consent import (
    DECISION_RECORDED,
    PURPOSE_DEFINED,
    DecisionRecorded,
    PurposeDefined,
    Verdict,
    decisions_stream,
    judge,
    purpose_stream,
)
from shared.events.wire import Unit, encode
from shared.ids import NewId, to_text
from shared.instants import END_OF_TIME, Clock
from shared.log import LogReader, LogWriter
from shared.log.writer import Versioned
from shared.positions import Progress
from shared.telemetry import EVENTS_APPLIED

CONSENT_PARTITION = 0


class Checked(msgspec.Struct, frozen=True):
    """A verdict, and the version of the purpose that it was found by."""

    purpose: PurposeDefined
    verdict: Verdict


class Consent:
    """Commands are carried out one after another: there is one writer."""

    def __init__(self, pool: Any, writer: LogWriter, roll: Roll, progress: Progress, clock: Clock, new_id: NewId) -> None:
        self.purposes = Purposes(pool)
        self.decisions = Decisions(pool)
        self.persons = Persons(pool)
        self._reader = LogReader(pool)
        self._writer = writer
        self._roll = roll
        self._progress = progress
        self._clock = clock
        self._new_id = new_id
        self._turns = asyncio.Lock()
        self._owns = False
        self.on_committed: Callable[[], None] = lambda: None

    async def define_ready_purposes(self) -> None:
        """Those that nobody has defined yet."""
        async with self._turn():
            known = {placed.event.name for placed in await self.purposes.newest()}
        for command in READY_PURPOSES:
            if command.name not in known:
                await self._define(command)

    async def define_purpose(self, command: DefinePurpose, timeout_s: float) -> Placed[PurposeDefined]:
        """Answered when every reader goes by it. Raises what define_purpose does, and DeadlineExceeded."""
        until = asyncio.get_running_loop().time() + timeout_s
        placed = await self._define(command)
        await self._enforced(placed.pos, until, {})
        return placed

    async def _define(self, command: DefinePurpose) -> Placed[PurposeDefined]:
        async with self._turn() as now:
            newest, earlier = await self.purposes.named(command.name), await self.purposes.of_request(command.request_id)
            ledger = fold(placed.event for placed in (newest, earlier) if placed)
            for event in define_purpose(ledger, command):
                stream = purpose_stream(event.name)
                return await self._append(event, make_entry(PURPOSE_DEFINED, stream, self._new_id(), now, event))
        assert earlier is not None, "no event means that it was defined before"
        return earlier

    async def record_decision(self, command: RecordDecision, timeout_s: float) -> tuple[Placed[DecisionRecorded], int]:
        """The decision, and how many live readers enforce it.

        Raises what record_decision does, and DeadlineExceeded (NOT_YET_ENFORCED): it is recorded, but some reader
        may still serve without it; the same command waits again.
        """
        until = asyncio.get_running_loop().time() + timeout_s
        placed = await self._record(command)
        return placed, await self._enforced(placed.pos, until, {"decision_id": to_text(placed.event.decision_id)})

    async def _enforced(self, position: int, until: float, facts: dict[str, str]) -> int:
        try:
            async with asyncio.timeout_at(until):
                return await self._roll.enforced(position)
        except TimeoutError:
            raise DeadlineExceeded(
                "recorded, but not yet acknowledged by every reader; repeat the same request_id", reason="NOT_YET_ENFORCED", **facts
            ) from None

    async def _record(self, command: RecordDecision) -> Placed[DecisionRecorded]:
        async with self._turn() as now:
            purpose, earlier = await self.purposes.named(command.purpose), await self.decisions.of_request(command.request_id)
            ledger = fold(placed.event for placed in (purpose, earlier) if placed)
            for event in record_decision(ledger, command, now, self._new_id):
                stream = decisions_stream(event.identifier_hash)
                entry = make_entry(DECISION_RECORDED, stream, self._new_id(), event.decided_at, event)
                return await self._append(event, entry)
        assert earlier is not None, "no event means that it was recorded before"
        return earlier

    async def check_customer(self, purpose: str, customer: bytes, instant: Instant = NOW) -> Checked:
        """Raises InvalidInput (PURPOSE_UNKNOWN, INSTANT_IN_FUTURE), NotFound (CUSTOMER_UNKNOWN), WrongState (CUSTOMER_ERASED)."""
        instant = await self.settled(instant)
        known = await self._known_purpose(purpose, instant.known_at)
        await self.persons.require(customer)
        return await self._judged(known, await self.persons.identifiers_of(customer), instant)

    async def check_identifier(self, purpose: str, value_hash: bytes, instant: Instant = NOW) -> Checked:
        """Its customer's decisions count, its own alone when no customer is known.

        Raises InvalidInput (PURPOSE_UNKNOWN, INSTANT_IN_FUTURE).
        """
        instant = await self.settled(instant)
        known = await self._known_purpose(purpose, instant.known_at)
        customer = await self.persons.customer_of(value_hash)
        bound = {value_hash: True} if customer is None else await self.persons.identifiers_of(customer)
        return await self._judged(known, bound, instant)

    async def decisions_of(self, value_hash: bytes, instant: Instant) -> list[Placed[DecisionRecorded]]:
        """Oldest first by when they were recorded. Raises InvalidInput (INSTANT_IN_FUTURE), TooLarge (TOO_MANY_DECISIONS)."""
        instant = await self.settled(instant)
        found = await self.decisions.of_identifier(value_hash, instant.known_at)
        return [placed for placed in found if placed.event.decided_at <= instant.valid_at]

    async def settled(self, instant: Instant) -> Instant:
        """What is known by then stays the same. Raises InvalidInput (INSTANT_IN_FUTURE)."""
        check_past(instant, self._clock())
        if instant.known_at == END_OF_TIME:
            return instant
        return Instant(instant.valid_at, await self._writer.settle(instant.known_at))

    async def _judged(self, purpose: PurposeDefined, bound: Mapping[bytes, bool], instant: Instant) -> Checked:
        return Checked(purpose, judge(purpose, await self.decisions.about(purpose.name, bound, instant)))

    async def _known_purpose(self, name: str, known_at: int) -> PurposeDefined:
        check_purpose_name(name)
        if (placed := await self.purposes.named(name, known_at)) is None:
            raise unknown_purpose()
        return placed.event

    async def read_outbox(self, first: int, limit: int) -> list[tuple[int, bytes]]:
        """The log is the outbox: one message an event, numbered by its position."""
        records = await self._reader.partition(CONSENT_PARTITION, first, limit)
        return [(record.pos, encode(Unit(record.pos, {}, [record.entry]))) for record in records]

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[int]:
        """The turn to write, and the instant it is: later than all that is recorded, even if our clock was set back."""
        async with self._turns:
            if not self._owns:
                await self._claim()
            yield max(self._clock(), self._writer.heads[CONSENT_PARTITION].last_recorded_at + 1)

    async def _claim(self) -> None:
        """Takes the log over, also from one that fenced us (decision 7); from here on no reader gets a lease that lacks what
        its last owner may have answered.
        """
        before = self._writer.heads.get(CONSENT_PARTITION)
        after = (await self._writer.claim())[CONSENT_PARTITION]
        self._committed()
        await self._roll.open(self._last_position(), settled=before is not None and after.owner_epoch == before.owner_epoch + 1)
        self._owns = True

    async def _append(self, event: E, entry: Entry) -> Placed[E]:
        # Whatever goes wrong, or when the caller goes away meanwhile: the next turn reads anew where the log stands.
        self._owns = False
        version = await self._reader.version(CONSENT_PARTITION, entry.stream) + 1
        [record] = await self._writer.append([Versioned(CONSENT_PARTITION, version, entry)], {}, views.apply)
        self._owns = True
        self._committed()
        EVENTS_APPLIED.labels("consent").inc()
        return Placed(event, record.pos, record.recorded_at)

    def _committed(self) -> None:
        self._progress.advance("consent", self._last_position())
        self.on_committed()

    def _last_position(self) -> int:
        return self._writer.heads[CONSENT_PARTITION].next_pos - 1
