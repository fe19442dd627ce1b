"""The use cases of rights requests: take one, take its next step, tell how it stands and what is due."""

import asyncio
from collections.abc import Sequence
from typing import get_args

import msgspec

from services.consent.domain.definitions import CLOCK_TOLERANCE
from services.consent.domain.rights import EVENT_TYPES, RightsRequest, Step, Today, decide, fold, receive, says_the_same
from services.consent.domain.rights_commands import AnyStep, Fulfil, Receive
from services.consent.persons import Persons
from services.consent.rights import PlacedStep, Rights, Standing, check_room
from services.consent.views import Decisions
from services.consent.writing import ConsentLog
from shared.consent_rule import DENIALS
from shared.errors import InvalidInput, NotFound, WrongState
from shared.events.catalogue import make_entry
from shared.events.rights import Right
from shared.ids import NewId, from_text
from shared.instants import Clock
from shared.request_ids import reused
from shared.telemetry import RIGHTS_OPEN, RIGHTS_OVERDUE

COUNT_S = 60.0  # what is due changes by the day, and by people's hands
DECIDED = frozenset[Right]({"objection", "restriction"})  # what decisions fulfil


class Case(msgspec.Struct, frozen=True):
    """A request with its steps; `customer` has the identifier now, or nobody."""

    standing: Standing
    steps: list[PlacedStep]
    customer: bytes


class RightsDesk:
    def __init__(
        self, rights: Rights, decisions: Decisions, persons: Persons, log: ConsentLog, new_id: NewId, clock: Clock
    ) -> None:
        self._rights = rights
        self._decisions = decisions
        self._persons = persons
        self._log = log
        self._new_id = new_id
        self._clock = clock

    def today(self) -> Today:
        return Today.at(self._clock())

    async def open(self, command: Receive) -> tuple[Case, int]:
        """The request, and where its receipt stands. Raises what `receive` does, Conflict (REQUEST_ID_REUSED)."""
        async with self._log.turn() as now:
            earlier = await self._rights.of_request(command.request_id)
            if earlier is None:
                duplicate_of = await self._rights.open_one(command.identifier_hash, command.right)
                earlier = await self._record(self._new_id(), receive(command, duplicate_of, Today.at(now)), now)
            elif not says_the_same(command, earlier.step):
                raise reused()
        return await self.case(earlier.entry.stream), earlier.pos

    async def take_step(self, rights_id: bytes, command: AnyStep) -> tuple[Case, int]:
        """The request after it, and where the step stands.

        Raises what `decide` does, NotFound (RIGHTS_REQUEST_UNKNOWN), Conflict (REQUEST_ID_REUSED), TooLarge (TOO_MANY_STEPS), InvalidInput
        (REFERENCES_INVALID), WrongState (NOT_ERASED).
        """
        async with self._log.turn() as now:
            earlier = await self._rights.of_request(command.request_id)
            if earlier is None:
                steps = await self._steps(rights_id)
                check_room(steps)
                request = fold(placed.step for placed in steps)
                step = decide(request, command, Today.at(now))
                if isinstance(command, Fulfil):
                    await self._check_done(request, command, steps[0].recorded_at)
                earlier = await self._record(rights_id, step, now)
            elif earlier.entry.stream != rights_id or not says_the_same(command, earlier.step):
                raise reused()
        return await self.case(rights_id), earlier.pos

    async def case_of_request(self, request_id: str) -> Case:
        """By what it was opened with. Raises NotFound (RIGHTS_REQUEST_UNKNOWN)."""
        found = await self._rights.of_request(request_id)
        return await self.case(found.entry.stream if found else b"")

    async def case(self, rights_id: bytes) -> Case:
        """Raises NotFound (RIGHTS_REQUEST_UNKNOWN)."""
        steps = await self._steps(rights_id)
        request = fold(placed.step for placed in steps)
        value_hash = request.received.identifier_hash
        customers = await self._persons.customers_of([value_hash])
        return Case(Standing(rights_id, request), steps, customers.get(value_hash, b""))

    async def due(
        self, states: Sequence[str], asked: Sequence[str], value_hash: bytes | None, after: tuple[str, bytes], limit: int
    ) -> tuple[list[Standing], dict[bytes, bytes]]:
        """What is due first comes first; and by identifier who has it."""
        found = await self._rights.due(states, asked, value_hash, after, limit)
        hashes = {standing.request.received.identifier_hash for standing in found}
        return found, await self._persons.customers_of(hashes)

    async def keep_counted(self) -> None:
        """Never returns: tells the metrics what is open, and what is overdue."""
        while True:
            await self._count()
            await asyncio.sleep(COUNT_S)

    async def _count(self) -> None:
        found, late = await self._rights.counts(self.today().latest.isoformat())
        for right in get_args(Right):
            RIGHTS_OPEN.labels(right).set(found.get(right, 0))
        RIGHTS_OVERDUE.set(late)

    async def _steps(self, rights_id: bytes) -> list[PlacedStep]:
        steps = await self._rights.steps(rights_id)
        if not steps:
            raise NotFound("nobody asked for this here", reason="RIGHTS_REQUEST_UNKNOWN")
        return steps

    async def _record(self, rights_id: bytes, step: Step, now: int) -> PlacedStep:
        """Within a turn."""
        entry = make_entry(EVENT_TYPES[type(step)], rights_id, self._new_id(), now, step)
        [record] = await self._log.append_all([entry])
        return PlacedStep(step, entry, record.pos, record.recorded_at)

    async def _check_done(self, request: RightsRequest, command: Fulfil, received_at: int) -> None:
        """What consent itself can see."""
        value_hash, right = request.received.identifier_hash, request.received.right
        if right == "erasure" and await self._persons.erased_at(value_hash) < received_at - CLOCK_TOLERANCE:
            raise WrongState("nobody with this identifier has been erased since the request came", reason="NOT_ERASED")
        if right in DECIDED:
            for reference in command.references:
                await self._check_forbids(value_hash, reference)

    async def _check_forbids(self, value_hash: bytes, reference: str) -> None:
        found = await self._decisions.of_id(_decision_id(reference))
        if found is None or found.event.identifier_hash != value_hash or found.event.outcome not in {*DENIALS, "restricted"}:
            raise _no_decision()


def _decision_id(reference: str) -> bytes:
    try:
        return from_text(reference, "decision")
    except InvalidInput:
        raise _no_decision() from None


def _no_decision() -> InvalidInput:
    return InvalidInput("name decisions of this identifier that forbid something, by their ids", reason="REFERENCES_INVALID")
