"""The one rule that says what people's decisions permit. Pure: consent answers checks by it and profile enforces it at every read.

A decision is bound for ever to the identifier that it was captured for. What holds for a person is computed over the identifiers that
are theirs at that moment, so a merge moves nothing and a split leaves each side as it was:

- Identifiers of one **core** are certainly one person's. By its purpose's scope a decision counts for the whole core, or for its
  identifier alone.
- Cores are joined by matches only. No grant crosses a match. A denial of the whole person does, and can be lifted only where it stands;
  of other denials, whatever would hold if both were one person has to permit too.
- The most recent decision counts, by when it happened; a tie denies. What a stronger identifier denied isn't lifted by a weaker one.
- While processing is restricted by any identifier that is or may be theirs, nothing is permitted but what its purpose says goes on.
- Where any of them is known to be a child's, what a child can't grant doesn't count, and what nobody has to grant isn't permitted by default.
- Who authorises it for a child is somebody else: by none of the child's identifiers, whether those are theirs for certain, likely, or shared.
  And it is nobody who was too young to grant it themselves, as far as that is known by now.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

import msgspec

from shared.consent_conditions import GRANTS, by_a_grown_up, by_another, granted_too_young, lacking, minor_under
from shared.consent_overlays import GRANTED_BY_MINOR, MINOR, RESTRICTED, ages_by_guardian, known_ages, restricting, youngest
from shared.consent_states import STATES, State
from shared.events.consent import DecisionRecorded, Outcome, PurposeDefined
from shared.identifiers import strength
from shared.instants import DAY, END_OF_TIME

ALLOWED_BY_LAW: Final = {"contract": "CONTRACT", "legal_obligation": "LEGAL_OBLIGATION"}
DENIALS: Final[dict[Outcome, str]] = {
    "refused": "CONSENT_REFUSED",
    "withdrawn": "CONSENT_WITHDRAWN",
    "objected": "OBJECTED",
    "opted_out": "OPTED_OUT",
    "limited": "LIMITED",
}
OF_THE_WHOLE_PERSON: Final = frozenset[Outcome]({"objected", "opted_out", "limited"})  # whatever the scope


class Bond(msgspec.Struct, frozen=True):
    """How an identifier belongs to the person. Not `theirs`: it turned out to be shared while it was, and nothing granted by it counts."""

    theirs: bool = True
    core: bytes = b""  # identifiers of the same are certainly one person's


CERTAIN: Final = Bond()


class Verdict(msgspec.Struct, frozen=True):
    """`until`: from when on, in microseconds, time alone may change it. `against`: what stands against the decision, in a conflict; of a
    minor, what denies it besides.
    `ask_again_at`: who denied isn't to be asked again before; 0: nothing is said."""

    permitted: bool
    reason: str
    decision_id: bytes = b""
    until: int = END_OF_TIME
    against: bytes = b""
    ask_again_at: int = 0

    @property
    def state(self) -> State:
        return STATES[self.reason]


class Case(msgspec.Struct, frozen=True):
    """What is judged by: what the person decided about one purpose, whatever other decisions are among them; how the identifiers are
    bound, where it isn't simply; the instant, in microseconds; and whether what nobody decided about may be permitted."""

    purpose: PurposeDefined
    decisions: Collection[DecisionRecorded]
    now: int
    bonds: Mapping[bytes, Bond] = {}
    by_default: bool = True

    def bond(self, value_hash: bytes) -> Bond:
        return self.bonds.get(value_hash, CERTAIN)


def judge(case: Case, core: bytes = b"") -> Verdict:
    """Whether the purpose is permitted for whom a core is of. The order and duplication of decisions don't matter.

    Decided by contact point, it is if any of them permits it; by identifier, if all of them do.
    """
    return _unless_restricted(by_others(case), lambda free: _of_age(free, lambda grown: _judge(grown, core)))


def judge_point(case: Case, point: bytes) -> Verdict:
    """Whether it is for one identifier: where decisions count for an identifier alone, no other's grant counts for it."""
    return _unless_restricted(by_others(case), lambda free: _of_age(free, lambda grown: _judge_point(grown, point)))


def by_others(case: Case) -> Case:
    """What somebody authorised for themselves is as if nobody had, and so is what a child authorised for another. Who is one with whom at that
    moment says so, and all that is known of the guardian's age, so the order doesn't matter."""
    if not any(decision.authorised for decision in case.decisions):
        return case
    ages = ages_by_guardian(case.decisions)
    by_adults = (by_a_grown_up(case.purpose, decision, ages) for decision in case.decisions)
    return msgspec.structs.replace(case, decisions=[by_another(decision, case.bonds) for decision in by_adults])


def _unless_restricted(case: Case, judged: Callable[[Case], Verdict]) -> Verdict:
    """Where a purpose goes on by consent alone, only what was granted since is such (GDPR Art. 18(2))."""
    restriction = restricting(case.decisions)
    if restriction is None or not {*case.purpose.despite_restriction} <= {"consent"}:
        return judged(case)
    if case.purpose.despite_restriction:
        since = [d for d in case.decisions if d.outcome not in GRANTS or d.decided_at > restriction.decided_at]
        verdict = judged(msgspec.structs.replace(case, decisions=since))
        if verdict.permitted and verdict.reason in GRANTS.values():
            return verdict
    return Verdict(False, RESTRICTED, restriction.decision_id)


def _of_age(case: Case, judged: Callable[[Case], Verdict]) -> Verdict:
    """What a child granted never counts, of age or not, whatever it lacks besides; what others are permitted by default is not, until they are."""
    ages = known_ages(case.decisions) if minor_under(case.purpose) else []
    if not ages:
        return judged(case)
    until, known_by = youngest(ages, minor_under(case.purpose))
    could = [decision for decision in case.decisions if not granted_too_young(case.purpose, ages, decision)]
    verdict = judged(msgspec.structs.replace(case, decisions=could, by_default=case.now >= until))
    if verdict.permitted:
        return verdict
    against = verdict.against or (verdict.decision_id if verdict.reason in DENIALS.values() else b"")
    if case.now < until:
        return Verdict(False, MINOR, known_by, until, against)
    free = judged(case)
    return Verdict(False, GRANTED_BY_MINOR, known_by, free.until, against) if free.permitted else verdict


def _judge(case: Case, core: bytes) -> Verdict:
    purpose = case.purpose
    if purpose.legal_basis in ALLOWED_BY_LAW:
        return Verdict(True, ALLOWED_BY_LAW[purpose.legal_basis])
    counting = _counting(case)
    if purpose.scope == "person":
        return _judged(case, counting, core, b"")
    decided = {d.identifier_hash for d in counting if case.bond(d.identifier_hash) == Bond(core=core)}
    if purpose.scope == "contact_point":
        decided = {d.identifier_hash for d in counting if d.identifier_hash in decided and d.namespace in purpose.contact_points}
        verdicts = [_judged(case, counting, core, point) for point in decided]
        return _newest(counting, verdicts, best=True) if verdicts else _judged(case, counting, core, b"")
    bound = {value_hash for value_hash, bond in case.bonds.items() if bond == Bond(core=core)}
    return _newest(counting, [_judged(case, counting, core, point) for point in (bound | decided) or {b""}], best=False)


def _judge_point(case: Case, point: bytes) -> Verdict:
    core = case.bond(point).core
    if case.purpose.scope == "person" or case.purpose.legal_basis in ALLOWED_BY_LAW:
        return _judge(case, core)
    return _judged(case, _counting(case), core, point)


def _counting(case: Case) -> list[DecisionRecorded]:
    """Of what was decided about the purpose, what bears on it at all."""
    return [
        decision
        for decision in case.decisions
        if decision.purpose == case.purpose.name
        and (case.bond(decision.identifier_hash).theirs or outlives_parting(decision))
        and (decision.outcome != "opted_in" or case.purpose.legal_basis != "consent")  # who opts in consents to nothing
    ]


def _newest(counting: Iterable[DecisionRecorded], verdicts: Collection[Verdict], *, best: bool) -> Verdict:
    """Of those that permit or don't, whichever `best` asks for first, the one by the newest decision; it holds no longer than any of them."""
    when = {d.decision_id: precedence(d) for d in counting}
    found = max(verdicts, key=lambda one: (one.permitted == best, when.get(one.decision_id, (-1, False, b"")), one.reason))
    return msgspec.structs.replace(found, until=min(one.until for one in verdicts))


def _judged(case: Case, counting: Iterable[DecisionRecorded], core: bytes, point: bytes) -> Verdict:
    """By all of the core, or by what bears on one of its identifiers."""
    by_core: dict[bytes, list[DecisionRecorded]] = {core: []}
    for decision in counting:
        by_core.setdefault(case.bond(decision.identifier_hash).core, []).append(decision)
    bearing = {one: _bearing(case.purpose, decisions, point) for one, decisions in by_core.items()}
    own = bearing.pop(core)
    verdict = _held(case, own)
    if not verdict.permitted or not bearing:
        return verdict
    standing = [newest for decisions in bearing.values() if (newest := _standing(case.purpose, decisions)) is not None]
    if standing:
        denial = max(standing, key=precedence)
        return _denied(case.purpose, denial, verdict.until)
    # One of them may be the same person or another: it is permitted only if it is either way.
    doubts = [found for _, decisions in sorted(bearing.items()) if not (found := _held(case, own + decisions)).permitted]
    return _conflict(verdict, min(doubt.against or doubt.decision_id for doubt in doubts)) if doubts else verdict


def _bearing(purpose: PurposeDefined, decisions: list[DecisionRecorded], point: bytes) -> list[DecisionRecorded]:
    """Of one core's, what bears on one of its identifiers: its own decisions, and the denials of others that are of the whole person."""
    if purpose.scope == "person":
        return decisions
    own = [decision for decision in decisions if decision.identifier_hash == point]
    of_others: dict[bytes, list[DecisionRecorded]] = {}
    for decision in decisions:
        if decision.identifier_hash != point:
            of_others.setdefault(decision.identifier_hash, []).append(decision)
    return own + [denial for others in of_others.values() for denial in _unlifted_in(purpose, others)]


def _unlifted_in(purpose: PurposeDefined, decisions: Iterable[DecisionRecorded]) -> list[DecisionRecorded]:
    """The denials of the whole person after the newest grant."""
    decided = list(decisions)
    granted = max((precedence(d) for d in decided if d.outcome in GRANTS and not lacking(purpose, d)), default=None)
    return [d for d in decided if _is_of_the_whole(purpose, d) and (granted is None or precedence(d) > granted)]


def _is_of_the_whole(purpose: PurposeDefined, decision: DecisionRecorded) -> bool:
    """Also what was denied by what is no contact point: no contact point is meant, so all are."""
    everywhere = purpose.scope == "contact_point" and decision.namespace not in purpose.contact_points
    return decision.outcome in OF_THE_WHOLE_PERSON or (everywhere and decision.outcome in DENIALS)


def _standing(purpose: PurposeDefined, decisions: Iterable[DecisionRecorded]) -> DecisionRecorded | None:
    """A denial of the whole person that nobody has lifted in its own core."""
    unlifted = (denial for denial in _unlifted_in(purpose, decisions) if denial.outcome in OF_THE_WHOLE_PERSON)
    return max(unlifted, key=precedence, default=None)


def _held(case: Case, decisions: Collection[DecisionRecorded]) -> Verdict:
    """What holds of decisions that all bear on it."""
    purpose = case.purpose
    made = [decision for decision in decisions if not lacking(purpose, decision)]
    latest = max(made, key=precedence, default=None)
    if latest is not None:
        return _held_by(case, latest, made)
    if purpose.legal_basis == "legitimate_interest" and case.by_default:
        return Verdict(True, "LEGITIMATE_INTEREST")
    pending = max(decisions, key=precedence, default=None)
    if pending is not None:
        return _waited_for(case, pending)
    return Verdict(False, "CONSENT_MISSING")


def _waited_for(case: Case, pending: DecisionRecorded) -> Verdict:
    """A grant that lacks something; the confirmation of one may be waited for, until it lapses."""
    reason = lacking(case.purpose, pending)
    if reason != "CONSENT_UNCONFIRMED" or not pending.confirm_by:
        return Verdict(False, reason, pending.decision_id)
    if pending.confirm_by < case.now:
        return Verdict(False, "CONSENT_LAPSED", pending.decision_id)
    return Verdict(False, reason, pending.decision_id, pending.confirm_by + 1)


def _held_by(case: Case, latest: DecisionRecorded, made: Iterable[DecisionRecorded]) -> Verdict:
    if latest.outcome in DENIALS:
        return _denied(case.purpose, latest, END_OF_TIME)
    if case.purpose.scope == "person" and (denial := _unlifted(latest, made)) is not None:
        return _conflict(Verdict(True, GRANTS[latest.outcome], latest.decision_id), denial.decision_id)
    until = END_OF_TIME
    if case.purpose.expires_after_days:
        until = latest.decided_at + case.purpose.expires_after_days * DAY
        if until <= case.now:
            return Verdict(False, "CONSENT_EXPIRED", latest.decision_id)
    return Verdict(True, GRANTS[latest.outcome], latest.decision_id, until)


def _denied(purpose: PurposeDefined, denial: DecisionRecorded, until: int) -> Verdict:
    days = purpose.ask_again_after_days
    again = min(denial.decided_at + days * DAY, END_OF_TIME) if days else 0
    return Verdict(False, DENIALS[denial.outcome], denial.decision_id, until, ask_again_at=again)


def _unlifted(grant: DecisionRecorded, made: Iterable[DecisionRecorded]) -> DecisionRecorded | None:
    """The newest denial by a stronger identifier, if nothing as strong has granted since: who is known by less may be another."""
    stronger = [d for d in made if strength(d.namespace) < strength(grant.namespace)]
    for least in sorted({strength(d.namespace) for d in stronger}):
        newest = max((d for d in stronger if strength(d.namespace) <= least), key=precedence)
        if newest.outcome in DENIALS:
            return newest
    return None


def _conflict(permitted: Verdict, against: bytes) -> Verdict:
    return msgspec.structs.replace(permitted, permitted=False, reason="CONSENT_CONFLICT", against=against)


def outlives_erasure(decision: DecisionRecorded, erased_at: int) -> bool:
    """After its identifier was erased, what a person forbade still holds; what a person granted doesn't come back."""
    return decision.outcome not in GRANTS or decision.decided_at > erased_at


def outlives_parting(decision: DecisionRecorded) -> bool:
    """When its identifier turned out to be shared, what was forbidden by it still holds of those it was linked to.

    Else whoever can have an address named along with somebody else's could end its owner's withdrawal.
    """
    return decision.outcome not in GRANTS


def precedence(decision: DecisionRecorded) -> tuple[int, bool, bytes]:
    """The most recent by when it happened; at the same instant a denial wins."""
    return decision.decided_at, decision.outcome in DENIALS, decision.decision_id
