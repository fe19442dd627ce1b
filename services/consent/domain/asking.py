"""Who was asked again before the purpose allows it. Pure, and of what was decided alone: whatever the order in which it came."""

from collections.abc import Iterable, Mapping

from shared.consent_rule import DENIALS, precedence
from shared.events.consent import DecisionRecorded
from shared.instants import DAY


def answers_a_question(decision: DecisionRecorded) -> bool:
    """Who refuses was asked, and who had a notice before them. What a signal or a second click says was asked before."""
    asked = decision.outcome == "refused" or decision.notice is not None
    return asked and not decision.signal_id and not decision.confirms


def asked_too_early(decided: Iterable[DecisionRecorded], days: Mapping[int, int]) -> set[bytes]:
    """Ids of those that answer a question which wasn't to be asked yet. `decided`: all by one identifier about one purpose; `days`: by version
    of the purpose, how long who denied isn't to be asked again."""
    early = set[bytes]()
    before: DecisionRecorded | None = None  # the newest of an earlier instant
    last: DecisionRecorded | None = None
    for one in sorted(decided, key=precedence):
        if last is not None and last.decided_at < one.decided_at:
            before = last
        last = one
        if before is None or before.outcome not in DENIALS or not answers_a_question(one):
            continue
        if one.decided_at < before.decided_at + days.get(one.purpose_version, 0) * DAY:
            early.add(one.decision_id)
    return early
