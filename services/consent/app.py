"""Consent's use cases: record what people decided, and list it."""

import asyncio
from typing import Any

from services.consent.domain.ledger import Instant, RecordDecision, fold, record_decision
from services.consent.views import Decisions, Definitions, Placed
from services.consent.writing import ConsentLog
from shared.events.catalogue import make_entry
from shared.events.consent import DECISION_RECORDED, DecisionRecorded, decisions_stream
from shared.ids import NewId, to_text
from shared.instants import END_OF_TIME


class Consent:
    def __init__(self, decisions: Decisions, definitions: Definitions, log: ConsentLog, new_id: NewId) -> None:
        self._decisions = decisions
        self._definitions = definitions
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

    async def _record(self, command: RecordDecision) -> Placed[DecisionRecorded]:
        async with self._log.turn() as now:
            earlier = await self._decisions.of_request(command.request_id)
            bearing = [placed.event for placed in (earlier, *await self._referred(command)) if placed]
            for event in record_decision(fold(bearing), command, now, self._new_id):
                stream = decisions_stream(event.identifier_hash)
                entry = make_entry(DECISION_RECORDED, stream, self._new_id(), event.decided_at, event)
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
