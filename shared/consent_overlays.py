"""What stands over all that people decide about purposes: the restriction of processing (GDPR Art. 18). Pure; a part of `consent_rule`.

A restriction is a decision about every purpose at once. It holds until the very decision that lifts it, so it doesn't matter which comes
first, how often, or by which of a person's identifiers.
"""

from collections.abc import Iterable
from typing import Final

from shared.events.consent import EVERY_PURPOSE, DecisionRecorded, PurposeDefined

RESTRICTED: Final = "RESTRICTED"


def bears_on(decision: DecisionRecorded, purpose: PurposeDefined) -> bool:
    return decision.purpose in (purpose.name, EVERY_PURPOSE)


def restricting(decisions: Iterable[DecisionRecorded]) -> DecisionRecorded | None:
    """Of the restrictions that nobody lifted the newest."""
    about_every = [decision for decision in decisions if decision.purpose == EVERY_PURPOSE]
    lifted = {decision.restriction.lifts for decision in about_every if decision.restriction}
    standing = (one for one in about_every if one.outcome == "restricted" and one.decision_id not in lifted)
    return max(standing, key=lambda one: (one.decided_at, one.decision_id), default=None)
