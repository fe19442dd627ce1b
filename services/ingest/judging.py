"""Judging an event by its source's plan, whatever the event is: what goes wrong with one concerns no other."""

from typing import Final

from services.ingest.domain.plan import Finding, Judge, Outcome
from shared.events.wire import RawEvent
from shared.telemetry import logger

NOT_JUDGED: Final = (Finding("NOT_JUDGED", "quarantine"),)

log = logger("plans")


def judge_by_plan(plan: Judge | None, event: RawEvent) -> Outcome:
    """Never raises: an event that a mistake of ours meets waits in the quarantine until that is mended."""
    if plan is None:
        return Outcome(event)
    try:
        return plan.judge(event)
    except Exception as error:
        log.error("could not judge an event", source=event.source, plan_version=plan.version, error=type(error).__name__)
        return Outcome(event, "quarantine", NOT_JUDGED)
