"""Why a verdict is what it is: of every decision that was looked at, whether it decided, and if not, why. Pure."""

from collections.abc import Mapping
from typing import Final

import msgspec

from shared.consent_rule import ALLOWED_BY_LAW, Case, Verdict, judge_point, outlives_parting, precedence
from shared.events.consent import DecisionRecorded

DECIDES: Final = "DECIDES"
AGAINST: Final = "STANDS_AGAINST"  # a conflict: the one that keeps it from being permitted
ERASED: Final = "ERASED"  # a grant of before its identifier was erased
SHARED: Final = "IDENTIFIER_SHARED"  # a grant by what turned out to be somebody else's too
NOT_ASKED: Final = "NOBODY_ASKED"  # the purpose stands on a contract or a law
OLDER: Final = "OLDER"  # than the one that decides; or as old, and a grant
OTHER: Final = "OTHER_IDENTIFIER"  # it counts for another contact point or identifier, or for who is only likely the same
NOTHING: Final = "DECIDES_NOTHING"  # whatever it says, it permits and forbids nothing here
LACKING: Final = frozenset({"CONSENT_UNCONFIRMED", "CONSENT_LAPSED", "AGE_NOT_ATTESTED", "CONSENT_EXPIRED", "CONSENT_STALE"})


class Change(msgspec.Struct, frozen=True):
    """What differs between two instants. `before` and `after` are roles of a decision, versions of a purpose, or reasons."""

    what: str  # decision, purpose or time
    decision_id: bytes = b""
    before: str = ""
    after: str = ""


def role(case: Case, verdict: Verdict, decision: DecisionRecorded, erased: bool) -> str:
    """Of one decision about the purpose. Those that were erased are not in the case."""
    deciding = {verdict.decision_id: DECIDES, verdict.against: AGAINST}
    if decision.decision_id in deciding:
        return deciding[decision.decision_id]
    if erased:
        return ERASED
    if case.purpose.legal_basis in ALLOWED_BY_LAW:
        return NOT_ASKED
    if not case.bond(decision.identifier_hash).theirs and not outlives_parting(decision):
        return SHARED
    return _why_it_lost(case, verdict, decision)


def _why_it_lost(case: Case, verdict: Verdict, decision: DecisionRecorded) -> str:
    alone = judge_point(Case(case.purpose, [decision], case.now, case.bonds), decision.identifier_hash)
    if alone.reason in LACKING:
        return alone.reason
    if alone.decision_id != decision.decision_id:
        return NOTHING
    winner = next((one for one in case.decisions if one.decision_id == verdict.decision_id), None)
    return OLDER if winner is not None and precedence(decision) < precedence(winner) else OTHER


def changes(
    roles_before: Mapping[bytes, str], roles_after: Mapping[bytes, str], versions: tuple[int, int], reasons: tuple[str, str]
) -> list[Change]:
    """What made the difference, if there is any: versions of the purpose, decisions that came, went or count otherwise, or else time."""
    found = [Change("purpose", before=str(versions[0]), after=str(versions[1]))] if versions[0] != versions[1] else []
    for decision_id in sorted({*roles_before, *roles_after}):
        before, after = roles_before.get(decision_id, ""), roles_after.get(decision_id, "")
        if before != after:
            found.append(Change("decision", decision_id, before, after))
    if reasons[0] != reasons[1] and not any(one.what == "purpose" or not (one.before and one.after) for one in found):
        found.append(Change("time", before=reasons[0], after=reasons[1]))
    return found
