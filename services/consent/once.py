"""Records what is about every purpose, once for each request, and waits for every reader."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from services.consent.views import Decisions, Placed
from services.consent.writing import ConsentLog
from shared.events.catalogue import Entry, make_entry
from shared.events.consent import DECISION_RECORDED, DecisionRecorded, decisions_stream
from shared.ids import NewId, to_text
from shared.request_ids import reused


class Once:
    def __init__(self, decisions: Decisions, log: ConsentLog, new_id: NewId) -> None:
        self.decisions = decisions
        self.new_id = new_id
        self._log = log

    async def record(
        self,
        request_id: str,
        decide: Callable[[int], Awaitable[Sequence[DecisionRecorded]]],
        is_it: Callable[[DecisionRecorded], bool],
        timeout_s: float,
    ) -> tuple[Placed[DecisionRecorded], int]:
        """What was recorded, and how many live readers enforce it. `decide` is given the instant and gives what the request says last, behind
        what follows from it; `is_it` is asked of what the request recorded before.

        Raises what `decide` does, Conflict (REQUEST_ID_REUSED), DeadlineExceeded (NOT_YET_ENFORCED): it is recorded, and the same command
        waits again.
        """
        until = asyncio.get_running_loop().time() + timeout_s
        async with self._log.turn() as now:
            placed = (await self.decisions.of_requests([request_id])).get(request_id)
            if placed is None:
                decided = await decide(now)
                records = await self._log.append_all([self._entry(event) for event in decided])
                placed = Placed(decided[-1], records[-1].pos, records[-1].recorded_at)
            elif not is_it(placed.event):
                raise reused()
        return placed, await self._log.enforced(placed.pos, until, {"decision_id": to_text(placed.event.decision_id)})

    def _entry(self, event: DecisionRecorded) -> Entry:
        return make_entry(DECISION_RECORDED, decisions_stream(event.identifier_hash), self.new_id(), event.decided_at, event)

    async def named(self, decision_id: bytes) -> tuple[DecisionRecorded | None, list[DecisionRecorded]]:
        """It, and all that was recorded about its identifier. Within `decide`."""
        found = await self.decisions.of_id(decision_id)
        if found is None:
            return None, []
        return found.event, [one.event for one in await self.decisions.of_identifier(found.event.identifier_hash)]
