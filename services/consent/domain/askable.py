"""Whom one may ask about a purpose, or ask again: why, and from when on. Pure, and by what was decided alone.

Nobody is asked whose processing is restricted, who objected, or of whose age nothing was attested. Who denied is asked again only where
the purpose says for how long not. A child is asked when they are none any more; who is responsible for them is somebody else.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from shared.consent_conditions import GRANTS, granted_too_young, minor_under
from shared.consent_overlays import GRANTED_BY_MINOR, MINOR, RESTRICTED, known_ages, restricting, youngest
from shared.consent_rule import DENIALS, Bond, Case, Verdict, by_others, judge_point, precedence
from shared.events.consent import DecisionRecorded, PurposeDefined
from shared.instants import DAY, END_OF_TIME

ALWAYS: Final = 0
OBJECTED: Final = DENIALS["objected"]  # for ever: an objection needs no reason, and a question is no answer to it
SUPPRESSED: Final = "SUPPRESSED"  # who had the identifier was erased, and nobody has it


class Asking(msgspec.Struct, frozen=True):
    """`since`: from when on they may be asked, in microseconds; None: not by what is decided so far. `decision_ids`: what that follows from."""

    reason: str
    since: int | None = None
    decision_ids: frozenset[bytes] = frozenset()

    def may(self, now: int) -> bool:
        return self.since is not None and self.since <= now


def asking(case: Case, point: bytes) -> Asking:
    """Of one identifier: of the person, where the purpose is decided about by persons."""
    case = by_others(case)
    if (restriction := restricting(case.decisions)) is not None:
        return Asking(RESTRICTED, None, frozenset((restriction.decision_id,)))
    verdict = judge_point(case, point)
    rests_on = frozenset({verdict.decision_id, verdict.against} - {b""})
    if verdict.permitted:
        return Asking(verdict.reason, None, rests_on)
    if (objection := _objection(_by_who_could(case), verdict)) is not None:
        return Asking(OBJECTED, None, frozenset((objection.decision_id,)))
    if verdict.reason in (MINOR, GRANTED_BY_MINOR):
        return Asking(verdict.reason, _once_grown(case, point), rests_on)
    since = _since(case, verdict)
    return Asking(verdict.reason, None if since is None else max(since, _if_one_person(case, point).ask_again_at), rests_on)


def _by_who_could(case: Case) -> Case:
    """Without what a child granted, which took nothing back."""
    ages = known_ages(case.decisions)
    could = [one for one in case.decisions if not one.age and not granted_too_young(case.purpose, ages, one)]
    return msgspec.structs.replace(case, decisions=could)


def _once_grown(case: Case, point: bytes) -> int | None:
    grown_at = youngest(known_ages(case.decisions), minor_under(case.purpose)).until
    grown = asking(msgspec.structs.replace(_by_who_could(case), now=max(case.now, grown_at)), point)
    return None if grown.since is None else max(grown.since, grown_at)


def _since(case: Case, verdict: Verdict) -> int | None:
    purpose = case.purpose
    made = next((one for one in case.decisions if one.decision_id == verdict.decision_id), None)
    if verdict.reason == "CONSENT_MISSING":
        return ALWAYS
    if verdict.reason == "CONSENT_CONFLICT":
        return _of_conflict(case, verdict, made)
    if verdict.reason in DENIALS.values():
        return verdict.ask_again_at or None
    if made is None:
        return None
    since = {
        "CONSENT_STALE": max(made.decided_at, purpose.in_force_at),
        "CONSENT_EXPIRED": made.decided_at + purpose.expires_after_days * DAY,
        "CONSENT_LAPSED": made.confirm_by + 1,
        "CONSENT_UNCONFIRMED": made.confirm_by + 1 if made.confirm_by else made.decided_at,  # else a confirmation is waited for
    }
    return since.get(verdict.reason)


def _of_conflict(case: Case, verdict: Verdict, grant: DecisionRecorded | None) -> int:
    """Whoever denied is who would be asked."""
    against = next(one for one in case.decisions if one.decision_id == verdict.against)
    return max(grant.decided_at if grant else ALWAYS, _rests_until(case.purpose, against))


def _rests_until(purpose: PurposeDefined, denial: DecisionRecorded) -> int:
    return min(denial.decided_at + purpose.ask_again_after_days * DAY, END_OF_TIME)


def _if_one_person(case: Case, point: bytes) -> Verdict:
    """Who is only likely the same may be: then what they denied was denied by whoever is asked."""
    core = case.bond(point).core
    one = {value_hash: Bond(theirs=bond.theirs, core=core) for value_hash, bond in case.bonds.items()}
    return judge_point(msgspec.structs.replace(case, bonds=one), point)


def _objection(case: Case, verdict: Verdict) -> DecisionRecorded | None:
    """The newest that no grant in its own core came after; or one that decides, or stands against a grant. It crosses every link."""
    objected = [one for one in case.decisions if one.purpose == case.purpose.name and one.outcome == "objected"]
    standing = [one for one in objected if one.decision_id in (verdict.decision_id, verdict.against) or not _lifted(case, one)]
    return max(standing, key=precedence, default=None)


def _lifted(case: Case, objection: DecisionRecorded) -> bool:
    core = case.bond(objection.identifier_hash).core
    theirs: Iterable[DecisionRecorded] = (one for one in case.decisions if case.bond(one.identifier_hash).core == core)
    return any(precedence(one) > precedence(objection) and _counted(case, one) for one in theirs)


def _counted(case: Case, grant: DecisionRecorded) -> bool:
    """Whether it permitted the purpose when it was made."""
    if grant.purpose != case.purpose.name or grant.outcome not in GRANTS:
        return False
    alone = judge_point(Case(case.purpose, [grant], grant.decided_at, case.bonds), grant.identifier_hash)
    return alone.permitted and alone.decision_id == grant.decision_id
