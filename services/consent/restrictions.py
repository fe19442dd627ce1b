"""The use cases of restrictions: restrict the processing of what is known of a person, and end that."""

import asyncio

from services.consent.domain.restricting import Command, Lift, Restrict, lift, restrict, says_the_same
from services.consent.views import Decisions, Placed
from services.consent.writing import ConsentLog
from shared.events.catalogue import make_entry
from shared.events.consent import DECISION_RECORDED, DecisionRecorded, decisions_stream
from shared.ids import NewId, to_text
from shared.request_ids import reused


class Restrictions:
    def __init__(self, decisions: Decisions, log: ConsentLog, new_id: NewId) -> None:
        self._decisions = decisions
        self._log = log
        self._new_id = new_id

    async def record(self, command: Command, timeout_s: float) -> tuple[Placed[DecisionRecorded], int]:
        """What was recorded, and how many live readers enforce it.

        Raises what `restrict` and `lift` do, Conflict (REQUEST_ID_REUSED), DeadlineExceeded (NOT_YET_ENFORCED): it is recorded, and the same
        command waits again.
        """
        until = asyncio.get_running_loop().time() + timeout_s
        async with self._log.turn() as now:
            placed = (await self._decisions.of_requests([command.request_id])).get(command.request_id)
            if placed is None:
                event = restrict(command, now, self._new_id) if isinstance(command, Restrict) else await self._lift(command, now)
                entry = make_entry(
                    DECISION_RECORDED, decisions_stream(event.identifier_hash), self._new_id(), event.decided_at, event
                )
                placed = await self._log.append(event, entry)
            elif not says_the_same(command, placed.event):
                raise reused()
        return placed, await self._log.enforced(placed.pos, until, {"decision_id": to_text(placed.event.decision_id)})

    async def _lift(self, command: Lift, now: int) -> DecisionRecorded:
        """Within a turn."""
        found = await self._decisions.of_id(command.restriction_id)
        since = await self._decisions.of_identifier(found.event.identifier_hash) if found else []
        return lift(command, found.event if found else None, [one.event for one in since], now, self._new_id)
