"""Consent's use cases: record what people decided, also in two clicks, and list it."""

import asyncio
from collections.abc import Sequence
from typing import Any

from services.consent.domain import confirming
from services.consent.domain.confirming import Confirm, RequestConfirmation
from services.consent.domain.ledger import Instant, Ledger, RecordDecision, fold, record_decision
from services.consent.persons import Persons
from services.consent.views import Decisions, Definitions, Placed
from services.consent.writing import ConsentLog
from shared.errors import InvalidInput
from shared.events.catalogue import make_entry
from shared.events.consent import DECISION_RECORDED, DecisionRecorded, decisions_stream
from shared.ids import NewId, to_text
from shared.instants import END_OF_TIME


class Consent:
    def __init__(
        self, persons: Persons, decisions: Decisions, definitions: Definitions, log: ConsentLog, new_id: NewId, token_key: bytes
    ) -> None:
        self._persons = persons
        self._decisions = decisions
        self._definitions = definitions
        self._token_key = token_key
        self._log = log
        self._new_id = new_id

    async def record_decision(self, command: RecordDecision, timeout_s: float) -> tuple[Placed[DecisionRecorded], int]:
        """The decision, and how many live readers enforce it.

        Raises what record_decision does, and DeadlineExceeded (NOT_YET_ENFORCED): it is recorded, but some reader
        may still serve without it; the same command waits again.
        """
        until = asyncio.get_running_loop().time() + timeout_s
        placed = await self._record(command)
        return placed, await self._log.enforced(placed.pos, until, {"decision_id": to_text(placed.event.decision_id)})

    async def request_confirmation(self, command: RequestConfirmation, timeout_s: float) -> tuple[Placed[DecisionRecorded], str]:
        """The grant that waits, and the token that confirms it. Raises what confirming.request_confirmation does, and DeadlineExceeded."""
        until = asyncio.get_running_loop().time() + timeout_s
        async with self._log.turn() as now:
            ledger, earlier = await self._ledger(command.decision)
            events = confirming.request_confirmation(ledger, command, now, self._new_id, self._token_key)
            placed = await self._append(events, earlier)
        decision = placed.event
        await self._log.enforced(placed.pos, until, {"decision_id": to_text(decision.decision_id)})
        return placed, confirming.token_of(decision.decision_id, decision.confirm_by, self._token_key)

    async def confirm(self, command: Confirm, timeout_s: float) -> tuple[Placed[DecisionRecorded], int]:
        """The confirmed grant, and how many live readers enforce it. Raises what confirming.confirmation does, and DeadlineExceeded."""
        until = asyncio.get_running_loop().time() + timeout_s
        waiting = await self._decisions.of_id(confirming.decision_named(command.token, self._token_key))
        if waiting is None:
            raise InvalidInput("what this token confirms was never recorded here", reason="CONFIRMATION_UNKNOWN")
        async with self._log.turn() as now:
            value_hash = waiting.event.identifier_hash
            since = [
                one.event for one in await self._decisions.of_identifier(value_hash) if one.event.purpose == waiting.event.purpose
            ]
            erased_at = await self._persons.erased_at(value_hash)
            decision = confirming.confirmation(waiting.event, since, erased_at, command, now)
            ledger, earlier = await self._ledger(decision)
            placed = await self._append(record_decision(ledger, decision, now, self._new_id), earlier)
        return placed, await self._log.enforced(placed.pos, until, {"decision_id": to_text(placed.event.decision_id)})

    async def _record(self, command: RecordDecision) -> Placed[DecisionRecorded]:
        async with self._log.turn() as now:
            ledger, earlier = await self._ledger(command)
            return await self._append(record_decision(ledger, command, now, self._new_id), earlier)

    async def _ledger(self, command: RecordDecision) -> tuple[Ledger, Placed[DecisionRecorded] | None]:
        """What bears on the command, and what was recorded by its request id before. Within a turn."""
        earlier = await self._decisions.of_request(command.request_id)
        return fold([placed.event for placed in (earlier, *await self._referred(command)) if placed]), earlier

    async def _append(
        self, events: Sequence[DecisionRecorded], earlier: Placed[DecisionRecorded] | None
    ) -> Placed[DecisionRecorded]:
        """Within a turn."""
        for event in events:
            entry = make_entry(DECISION_RECORDED, decisions_stream(event.identifier_hash), self._new_id(), event.decided_at, event)
            return await self._log.append(event, entry)
        assert earlier is not None, "no event means that it was recorded before"
        return earlier

    async def _referred(self, command: RecordDecision) -> list[Placed[Any] | None]:
        """The purpose's first version and the one that was in force when the person decided, and the notice."""
        decided = Instant(END_OF_TIME if command.decided_at is None else min(max(command.decided_at, 0), END_OF_TIME))
        found = [await self._definitions.version("purpose", command.purpose, 1)]
        found.append(await self._definitions.in_force("purpose", command.purpose, decided))
        if command.notice:
            found.append(await self._definitions.version("notice", command.notice.name, command.notice.version))
        return found

    async def decisions_of(self, value_hash: bytes, instant: Instant) -> list[Placed[DecisionRecorded]]:
        """Oldest first by when they were recorded. Raises InvalidInput (INSTANT_IN_FUTURE), TooLarge (TOO_MANY_DECISIONS)."""
        instant = await self._log.settled(instant)
        found = await self._decisions.of_identifier(value_hash, instant.known_at)
        return [placed for placed in found if placed.event.decided_at <= instant.valid_at]
