"""What closed a proposal that nobody answered: what was seen, a decision or its withdrawal, or other rules."""

from collections.abc import Collection, Sequence
from typing import Any, Literal, NamedTuple

from services.identity.domain.decision import Decision
from services.identity.tables import decisions
from services.identity.tables.rulebook import PARTITION, RULES_STREAM
from services.identity.tables.views import ProposalRow

Cause = Literal["EVENT", "DECISION", "RULES"]


class Closed(NamedTuple):
    """`decided_by` and `reason` are of who decided, or took a decision back."""

    cause: Cause
    decided_by: str = ""
    reason: str = ""


async def closed(pool: Any, rows: Sequence[ProposalRow]) -> dict[bytes, Closed]:
    """By proposal id; none of one that is open or expired, or of which what spoke for it was erased."""
    causes = {row.closed_by for row in rows if row.closed_by}
    decided = await decisions.of_ids(pool, causes)
    spent = await decisions.spent_among(pool, causes - decided.keys())
    rules = await _activations_among(pool, causes - decided.keys() - spent)
    found: dict[bytes, Closed] = {}
    for row in rows:
        if (decision := decided.get(row.closed_by or b"")) is not None:
            found[row.proposal_id] = of_decision(decision, row.closed_at or 0)
        elif row.closed_by:
            found[row.proposal_id] = Closed(
                "DECISION" if row.closed_by in spent else "RULES" if row.closed_by in rules else "EVENT"
            )
    return found


def of_decision(decision: Decision, at: int) -> Closed:
    """What it did at an instant: what stands behind its withdrawal was done by that."""
    if decision.withdrawn_at is not None and at >= decision.withdrawn_at:
        return Closed("DECISION", decision.withdrawn_by or "", decision.withdrawn_reason or "")
    return Closed("DECISION", decision.decided_by, decision.reason)


async def _activations_among(pool: Any, ids: Collection[bytes]) -> set[bytes]:
    if not ids:
        return set()
    rows = await pool.fetch(
        "SELECT event_id FROM events WHERE partition = $1 AND stream = $2 AND event_id = ANY($3::bytea[])",
        PARTITION,
        RULES_STREAM,
        list(ids),
    )
    return {row["event_id"] for row in rows}
