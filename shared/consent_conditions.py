"""What a grant has to have to count. Pure; a part of `consent_rule`."""

from collections.abc import Collection, Container, Mapping
from typing import Final

import msgspec

from shared.consent_overlays import is_younger
from shared.events.consent import DecisionRecorded, Outcome, PurposeDefined

GRANTS: Final[dict[Outcome, str]] = {"granted": "CONSENT_GRANTED", "opted_in": "OPTED_IN"}


def lacking(purpose: PurposeDefined, decision: DecisionRecorded) -> str:
    """What a grant lacks to count for the purpose; nothing is lacking of a denial."""
    if decision.outcome not in GRANTS:
        return ""
    if purpose.double_opt_in and not decision.confirmed:
        return "CONSENT_UNCONFIRMED"
    if decision.attested_age < purpose.minimum_age and not decision.authorised:
        return "AGE_NOT_ATTESTED"
    return "CONSENT_STALE" if purpose.notice and not _was_shown(purpose, decision) else ""


def _was_shown(purpose: PurposeDefined, decision: DecisionRecorded) -> bool:
    shown = decision.notice
    return shown is not None and shown.name == purpose.notice and shown.version >= purpose.notice_version


def minor_under(purpose: PurposeDefined) -> int:
    """Years; 0: nobody is too young."""
    return max(purpose.minimum_age, purpose.minors_under)


def time_permits(purpose: PurposeDefined) -> bool:
    """Whether time alone may permit what it didn't: to whoever is no child any more, where nobody has to consent."""
    return purpose.legal_basis == "legitimate_interest" and minor_under(purpose) > 0


def granted_too_young(purpose: PurposeDefined, ages: Collection[DecisionRecorded], decision: DecisionRecorded) -> bool:
    """Whether it is a grant by somebody who could not give it, and nobody who is responsible for them authorised it."""
    if decision.outcome not in GRANTS or decision.authorised or not ages or not minor_under(purpose):
        return False
    if not is_younger(ages, minor_under(purpose), decision.decided_at):
        return False
    own = purpose.minors_opt_in_from if purpose.legal_basis == "legitimate_interest" else 0
    return not own or decision.attested_age < own or is_younger(ages, own, decision.decided_at)


def by_another(decision: DecisionRecorded, theirs: Container[bytes]) -> DecisionRecorded:
    """Without its authorisation, where that is by an identifier of the very person, or of who may be them: nobody is responsible for themselves."""
    given = decision.authorised
    if given is None or (given.guardian_hash not in theirs and given.guardian_hash != decision.identifier_hash):
        return decision
    return msgspec.structs.replace(decision, authorised=None)


def by_a_grown_up(
    purpose: PurposeDefined, decision: DecisionRecorded, by_guardian: Mapping[bytes, Collection[DecisionRecorded]]
) -> DecisionRecorded:
    """Without its authorisation, where whoever gave that is known to have been too young to grant it themselves. Ages are as `ages_by_guardian`."""
    given, years = decision.authorised, minor_under(purpose)
    ages = by_guardian.get(given.guardian_hash) if given else None
    if not ages or not years or not is_younger(ages, years, decision.decided_at):
        return decision
    return msgspec.structs.replace(decision, authorised=None)
