"""Who may authorise for a child, by what is known when it is recorded: neither the person themselves nor another child. Pure.

What is learnt later of who is one with whom is minded whenever it is judged (`consent_rule.by_others`); of the guardian's age it isn't.
"""

from collections.abc import Collection

from shared.consent_conditions import by_another, minor_under
from shared.consent_overlays import is_younger, known_ages
from shared.errors import WrongState
from shared.events.consent import DecisionRecorded, PurposeDefined


def check_guardian(
    purpose: PurposeDefined, decision: DecisionRecorded, theirs: Collection[bytes], of_guardian: Collection[DecisionRecorded]
) -> None:
    """`theirs`: the identifiers that are, or may be, of whom it is decided; `of_guardian`: what was said of who authorised it.

    Raises WrongState (GUARDIAN_IS_THE_PERSON, GUARDIAN_IS_A_MINOR).
    """
    if decision.authorised != by_another(decision, theirs).authorised:
        raise WrongState("who authorises it for a child is somebody else", reason="GUARDIAN_IS_THE_PERSON")
    ages, years = known_ages(of_guardian), minor_under(purpose)
    if ages and years and is_younger(ages, years, decision.decided_at):
        raise WrongState("who authorised it was known to be too young to grant it themselves", reason="GUARDIAN_IS_A_MINOR")
