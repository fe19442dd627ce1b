"""Receipts: a decision, looked up with the versions that belong to it."""

from typing import Any

from services.consent.checking import ByIdentifier, Checks
from services.consent.domain.ledger import NOW, Instant
from services.consent.domain.receipts import Evidence, Format, no_receipt, receipt
from services.consent.views import Decisions, Definitions, Placed
from shared.consent_overlays import restricting
from shared.errors import CustomerError, NotFound
from shared.events.consent import EVERY_PURPOSE, ControllerDefined, DecisionRecorded, NoticeDefined, PurposeDefined
from shared.ids import to_text


class Receipts:
    def __init__(self, checks: Checks, decisions: Decisions, definitions: Definitions) -> None:
        self._checks = checks
        self._decisions = decisions
        self._definitions = definitions

    async def receipt(self, decision_id: bytes, format_: Format) -> tuple[dict[str, Any], int]:
        """As JSON, and the decision's position. Raises NotFound (DECISION_UNKNOWN), WrongState (NO_RECEIPT)."""
        if (placed := await self._decisions.of_id(decision_id)) is None:
            raise NotFound("no decision has this id", reason="DECISION_UNKNOWN", decision_id=to_text(decision_id))
        return receipt(await self._evidence(placed), format_), placed.pos

    async def _evidence(self, placed: Placed[DecisionRecorded]) -> Evidence:
        decision = placed.event
        if decision.purpose == EVERY_PURPOSE:
            raise no_receipt("a receipt tells of a purpose")
        purpose = await self._definitions.version("purpose", decision.purpose, decision.purpose_version)
        assert purpose is not None, "a decision is only recorded about a purpose"
        assert isinstance(purpose.event, PurposeDefined)
        return Evidence(
            decision=decision,
            purpose=purpose.event,
            notice=await self._notice(decision),
            controller=await self._controller(purpose.event.controller, decision.decided_at),
            restriction=await self._restriction(purpose.event, decision),
        )

    async def _restriction(self, purpose: PurposeDefined, decision: DecisionRecorded) -> DecisionRecorded | None:
        """The newest in force now, by any identifier of whoever decided."""
        [brief] = await self._checks.briefs(purpose, [ByIdentifier(decision.namespace, decision.identifier_hash)], NOW)
        return None if isinstance(brief, CustomerError) else restricting(brief.case.decisions)

    async def _notice(self, decision: DecisionRecorded) -> NoticeDefined | None:
        if decision.notice is None:
            return None
        found = await self._definitions.version("notice", decision.notice.name, decision.notice.version)
        return found.event if found and isinstance(found.event, NoticeDefined) else None

    async def _controller(self, name: str, decided_at: int) -> ControllerDefined | None:
        """As it was when the person decided; the first version where there was none yet."""
        if not name:
            return None
        found = await self._definitions.in_force("controller", name, Instant(valid_at=decided_at))
        found = found or await self._definitions.version("controller", name, 1)
        return found.event if found and isinstance(found.event, ControllerDefined) else None
