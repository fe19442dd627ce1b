"""What stands over all that people decide about purposes: the restriction of processing (GDPR Art. 18), and that somebody is a child. Pure; a
part of `consent_rule`.

Both are decisions about every purpose at once. A restriction holds until the very decision that lifts it, and an age until the very decision that
corrects it, so it doesn't matter which comes first, how often, or by which of a person's identifiers.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from shared.events.consent import EVERY_PURPOSE, DecisionRecorded, KnownAge, PurposeDefined
from shared.instants import years_after

RESTRICTED: Final = "RESTRICTED"
MINOR: Final = "MINOR"
GRANTED_BY_MINOR: Final = "GRANTED_BY_MINOR"


def bears_on(decision: DecisionRecorded, purpose: PurposeDefined) -> bool:
    return decision.purpose in (purpose.name, EVERY_PURPOSE)


def valid_from(decision: DecisionRecorded) -> int:
    """From when on it is so: what corrects an age holds in its place, and nobody was what was said of them by mistake."""
    if decision.age and decision.age.corrects:
        return min(decision.age.holds_from, decision.decided_at)
    return decision.decided_at


def restricting(decisions: Iterable[DecisionRecorded]) -> DecisionRecorded | None:
    """Of the restrictions that nobody lifted the newest."""
    about_every = [decision for decision in decisions if decision.purpose == EVERY_PURPOSE]
    lifted = {decision.restriction.lifts for decision in about_every if decision.restriction}
    standing = (one for one in about_every if one.outcome == "restricted" and one.decision_id not in lifted)
    return max(standing, key=lambda one: (one.decided_at, one.decision_id), default=None)


def known_ages(decisions: Iterable[DecisionRecorded]) -> list[DecisionRecorded]:
    """All that was said of how old a person is and nobody corrected. Each holds, so the youngest counts."""
    return ages_by_guardian(decisions).get(b"", [])


def ages_by_guardian(decisions: Iterable[DecisionRecorded]) -> Mapping[bytes, list[DecisionRecorded]]:
    """As `known_ages`, also of who authorises for them: by the hash of the guardian's identifier, empty for their own."""
    about_age = [(decision, decision.age) for decision in decisions if decision.age is not None]
    corrected = {age.corrects for _, age in about_age}
    found: dict[bytes, list[DecisionRecorded]] = defaultdict(list)
    for decision, age in about_age:
        if age.under and decision.decision_id not in corrected:
            found[age.guardian_hash].append(decision)
    return found


class Youth(NamedTuple):
    """Until when somebody is taken to be younger than they have to be, and by which decision."""

    until: int
    decision_id: bytes


def youngest(ages: Iterable[DecisionRecorded], years: int) -> Youth:
    return max(Youth(_grown_at(one.decided_at, one.age, years), one.decision_id) for one in ages if one.age)


def is_younger(ages: Iterable[DecisionRecorded], years: int, at: int) -> bool:
    return at < youngest(ages, years).until


def _grown_at(known_at: int, age: KnownAge, years: int) -> int:
    """Who was younger is taken to be so until they can't be any more: else who is "under 16" would be 16 a moment later.

    Whoever may have been old enough already is known to be too young as long as they can't have been old enough.
    """
    return years_after(known_at, years - (age.at_least if age.under <= years else age.under))
