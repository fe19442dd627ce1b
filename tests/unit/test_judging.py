"""A mistake of ours in judging one event concerns no other event, and loses nothing."""

from services.ingest.domain.plan import Outcome
from services.ingest.judging import judge_by_plan
from shared.events.wire import RawEvent


class Broken:
    version = 3

    def judge(self, event: RawEvent) -> Outcome:
        raise OverflowError


def test_an_event_that_cannot_be_judged_waits() -> None:
    event = RawEvent(kind="track", message_id="m", source="crm", user_id="u", name="e", occurred_at=1, received_at=1)
    outcome = judge_by_plan(Broken(), event)
    assert (outcome.event, outcome.action) == (event, "quarantine")
    assert [found.rule for found in outcome.findings] == ["NOT_JUDGED"]
    assert judge_by_plan(None, event) == Outcome(event)
