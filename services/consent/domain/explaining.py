"""Why a verdict is what it is: of every decision that was looked at, whether it decided, and if not, why. Pure."""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from shared.consent_conditions import by_a_grown_up, by_another, granted_too_young
from shared.consent_overlays import GRANTED_BY_MINOR, RESTRICTED, ages_by_guardian
from shared.consent_rule import ALLOWED_BY_LAW, Bond, Case, Verdict, judge_point, outlives_parting, precedence
from shared.events.consent import EVERY_PURPOSE, DecisionRecorded

DECIDES: Final = "DECIDES"
AGAINST: Final = "STANDS_AGAINST"  # a conflict: the one that keeps it from being permitted
ERASED: Final = "ERASED"  # a grant of before its identifier was erased
SHARED: Final = "IDENTIFIER_SHARED"  # a grant by what turned out to be somebody else's too
NOT_ASKED: Final = "NOBODY_ASKED"  # the purpose stands on a contract or a law
OLDER: Final = "OLDER"  # than the one that decides; or as old, and a grant
OTHER: Final = "OTHER_IDENTIFIER"  # it counts for another contact point or identifier, or for who is only likely the same
RESTRICTION: Final = "RESTRICTED"  # it doesn't count while processing is restricted
LIFTED: Final = "LIFTED"  # a restriction that was
LIFTS: Final = "LIFTS"  # the end of one
DESPITE: Final = "DESPITE_RESTRICTION"  # a restriction that the purpose goes on in spite of
CORRECTED: Final = "CORRECTED"  # an age that is known to be another by now
CORRECTS: Final = "CORRECTS"  # that an age isn't known any more
NOTHING: Final = "DECIDES_NOTHING"  # whatever it says, it permits and forbids nothing here
LACKING: Final = frozenset({"CONSENT_UNCONFIRMED", "CONSENT_LAPSED", "AGE_NOT_ATTESTED", "CONSENT_EXPIRED", "CONSENT_STALE"})


class Change(msgspec.Struct, frozen=True):
    """What differs between two instants. `before` and `after` are roles of a decision, how an identifier belongs, versions of a purpose, or reasons."""

    what: str  # decision, identifier, purpose or time
    decision_id: bytes = b""
    before: str = ""
    after: str = ""
    identifier_hash: bytes = b""


class Told(msgspec.Struct, frozen=True):
    """What is compared. `roles` by decision, `belonging` by identifier hash."""

    version: int
    reason: str
    roles: Mapping[bytes, str]
    belonging: Mapping[bytes, str] = {}


def role(case: Case, verdict: Verdict, decision: DecisionRecorded, erased: bool) -> str:
    """Of one decision about the purpose. Those that were erased are not in the case."""
    deciding = {verdict.decision_id: DECIDES, verdict.against: AGAINST}
    if decision.decision_id in deciding:
        return deciding[decision.decision_id]
    if decision.purpose == EVERY_PURPOSE:
        return _role_of_age(case, decision) if decision.age else _role_of_restriction(case, verdict, decision)
    if erased or verdict.reason == RESTRICTED:
        return ERASED if erased else RESTRICTION
    if case.purpose.legal_basis in ALLOWED_BY_LAW:
        return NOT_ASKED
    return _why_it_lost(case, verdict, decision)


def _role_of_restriction(case: Case, verdict: Verdict, decision: DecisionRecorded) -> str:
    """Of one that doesn't decide."""
    if decision.outcome != "restricted":
        return LIFTS
    if any(one.restriction and one.restriction.lifts == decision.decision_id for one in case.decisions):
        return LIFTED
    return OLDER if verdict.reason == RESTRICTED else DESPITE


def _role_of_age(case: Case, decision: DecisionRecorded) -> str:
    """Of one that doesn't decide."""
    if any(one.age and one.age.corrects == decision.decision_id for one in case.decisions):
        return CORRECTED
    return NOTHING if decision.age and decision.age.under else CORRECTS


def _why_it_lost(case: Case, verdict: Verdict, decision: DecisionRecorded) -> str:
    if not case.bond(decision.identifier_hash).theirs and not outlives_parting(decision):
        return SHARED
    ages = ages_by_guardian(case.decisions)
    given = by_another(by_a_grown_up(case.purpose, decision, ages), case.bonds)
    if granted_too_young(case.purpose, ages.get(b"", []), given):
        return GRANTED_BY_MINOR
    alone = judge_point(Case(case.purpose, [given], case.now, case.bonds), decision.identifier_hash)
    if alone.reason in LACKING:
        return alone.reason
    if alone.decision_id != decision.decision_id:
        return NOTHING
    winner = next((one for one in case.decisions if one.decision_id == verdict.decision_id), None)
    return OLDER if winner is not None and precedence(decision) < precedence(winner) else OTHER


def belonging(core: bytes, bonds: Mapping[bytes, Bond]) -> dict[bytes, str]:
    """By identifier hash, how it belongs to whoever is of that core."""

    def how(bond: Bond) -> str:
        if not bond.theirs:
            return "SHARED"
        return "THEIRS" if bond.core == core else "LIKELY_THEIRS"

    return {value_hash: how(bond) for value_hash, bond in bonds.items()}


def changes(before: Told, after: Told) -> list[Change]:
    """What made the difference, if there is any: versions of the purpose, identifiers that came, went or belong otherwise, decisions
    that came, went or count otherwise, or else time."""
    found = []
    if before.version != after.version:
        found.append(Change("purpose", before=str(before.version), after=str(after.version)))
    for value_hash, was, now in _differing(before.belonging, after.belonging):
        found.append(Change("identifier", before=was, after=now, identifier_hash=value_hash))
    for decision_id, was, now in _differing(before.roles, after.roles):
        found.append(Change("decision", decision_id, was, now))
    told = any(one.what in ("purpose", "identifier") or not (one.before and one.after) for one in found)
    if before.reason != after.reason and not told:
        found.append(Change("time", before=before.reason, after=after.reason))
    return found


def _differing(before: Mapping[bytes, str], after: Mapping[bytes, str]) -> Iterator[tuple[bytes, str, str]]:
    for key in sorted({*before, *after}):
        if before.get(key, "") != after.get(key, ""):
            yield key, before.get(key, ""), after.get(key, "")
