"""Judges reads of the past again, each by who was one then and what was known of decisions then, by the rule that judges reads of now."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from services.profile.clusters import bonds_of, case_of, cluster_of, cores_of, require_readable
from services.profile.domain.decided import KnownDecision
from services.profile.domain.disclosure import Disclosure
from services.profile.domain.policy import Change, decisions_under, purpose_under
from services.profile.domain.state import Held
from services.profile.enforcement import HELD, asks_the_person, depends_on_the_person
from services.profile.tables.consents import Consents
from services.profile.trails import Trails
from shared.consent_overlays import bears_on
from shared.consent_rule import ALLOWED_BY_LAW, judge
from shared.consent_states import STATES
from shared.errors import NotPermitted, WrongState
from shared.events.catalogue import encode
from shared.events.consent import PurposeDefined
from shared.pieces import Leisure

PURPOSE_INVALID: Final = "PURPOSE_INVALID"
GIVEN: Final = frozenset({"permit", "partial"})
UNCONFIRMED: Final = "CONSENT_NOT_CONFIRMED"
OF_PERMISSION: Final = frozenset({*STATES, HELD, "CUSTOMER_ERASED", UNCONFIRMED})  # reasons of refusals that the rule gives
READS_A_TURN: Final = 20  # some milliseconds; whoever reads now goes first
HASHES_AT_ONCE: Final = 5_000


class Judged(NamedTuple):
    """`decisions` are those that it follows from."""

    permitted: bool
    reason: str
    decisions: tuple[bytes, ...] = ()


class Then(NamedTuple):
    """What a read was judged by: all who were one with those it is about, what was known to be decided, and the purpose. `of_all`:
    everybody had to permit it, who is only likely the same, too."""

    read: Disclosure
    held: Mapping[bytes, Held]
    decided: Mapping[bytes, Sequence[KnownDecision]]
    purpose: PurposeDefined
    of_all: bool = False


class JudgingAgain:
    def __init__(self, trails: Trails, consents: Consents) -> None:
        self._trails = trails
        self._consents = consents
        self._purposes: dict[tuple[str, int], PurposeDefined] = {}  # versions don't change, and are few

    async def of(self, reads: Sequence[Disclosure]) -> list[Then | None]:
        """In their order; None where it can't be told: of a refusal that has another reason, of nobody, or of whom the log doesn't know."""
        wanted = [one for one in reads if can_be_judged(one)]
        bygone = await self._trails.of({member for one in wanted for member in one.given.members})
        held, leisure = dict[int, dict[bytes, Held]](), Leisure(READS_A_TURN)
        for one in wanted:
            held[id(one)] = await bygone.held(one)
            await leisure.done(1)
        decided = await self._decided({bound for one in held.values() for bound in bonds_of(one)})
        return [await self._then(one, held[id(one)], decided) if id(one) in held else None for one in reads]

    async def _decided(self, hashes: Collection[bytes]) -> dict[bytes, list[tuple[int, KnownDecision]]]:
        found, wanted = dict[bytes, list[tuple[int, KnownDecision]]](), list(hashes)
        for first in range(0, len(wanted), HASHES_AT_ONCE):
            found |= await self._consents.decided(wanted[first : first + HASHES_AT_ONCE])
        return found

    async def _then(
        self, read: Disclosure, held: Mapping[bytes, Held], decided: Mapping[bytes, Sequence[tuple[int, KnownDecision]]]
    ) -> Then | None:
        purpose = await self.purpose(read.given.terms.purpose, read.given.terms.purpose_version)
        if purpose is None or not held.keys() & set(read.given.members):
            return None
        known = {
            bound: [decision for position, decision in decided[bound] if position <= read.given.consent_known]
            for bound in bonds_of(held)
        }
        then = Then(read, held, known, purpose)
        # A read of a history is refused for whoever may be the same, and the record doesn't name them if they never decided.
        of_all = read.given.terms.outcome not in GIVEN and judged(then).permitted
        return then._replace(of_all=of_all)

    async def purpose(self, name: str, version: int) -> PurposeDefined | None:
        if (name, version) not in self._purposes:
            found = await self._consents.purpose(name, version)
            if found is None:
                return None
            self._purposes[name, version] = found
        return self._purposes[name, version]


def can_be_judged(read: Disclosure) -> bool:
    terms = read.given.terms
    return bool(read.given.members) and (terms.outcome in GIVEN or terms.reason in OF_PERMISSION)


def judged(then: Then, changes: Sequence[Change] = ()) -> Judged:
    """As it was judged then; with changes, as it would have been."""
    read = then.read
    purpose = purpose_under(changes, then.purpose, read.at) if changes else then.purpose
    if purpose is None:
        return Judged(False, PURPOSE_INVALID)
    decided = decisions_under(changes, then.decided, read.at) if changes else then.decided
    found, looked_at = Judged(True, ALLOWED_BY_LAW.get(purpose.legal_basis, "")), set[bytes]()
    for member in read.given.members:
        if member in looked_at or member not in then.held:
            continue
        cluster = cluster_of(member, then.held)
        looked_at |= cluster.keys()
        found = _of_cluster(read, cluster, cluster if then.of_all else read.given.members, decided, purpose)
        if not found.permitted:
            break
    return found


def untrue(then: Then) -> tuple[str, ...]:
    """What a record says of its judgement that doesn't follow: on what the purpose rests, its hash, and the decisions that decided. More of
    them may be named than decided, such as those about contact points, and none that wasn't known then."""
    terms, purpose = then.read.given.terms, then.purpose
    known = {one.decision_id for decisions in then.decided.values() for one in decisions if bears_on(one, purpose)}
    named, decided = set(then.read.given.evidence), set(judged(then).decisions)
    said = {
        "legal_basis": terms.legal_basis == purpose.legal_basis,
        "purpose_sha256": terms.policy == hashlib.sha256(encode(purpose)).digest(),
        "decision_ids": decided <= named and (named <= known if depends_on_the_person(purpose) else not named),
    }
    return tuple(name for name, follows in said.items() if not follows)


def _of_cluster(
    read: Disclosure,
    held: Mapping[bytes, Held],
    members: Collection[bytes],
    decided: Mapping[bytes, Sequence[KnownDecision]],
    purpose: PurposeDefined,
) -> Judged:
    """All of whom something was shown, or would be, have to permit it."""
    refusal = _unreadable(read, held, purpose)
    if refusal:
        return Judged(False, refusal)
    if not depends_on_the_person(purpose):
        return Judged(True, ALLOWED_BY_LAW[purpose.legal_basis])
    if read.given.terms.reason == UNCONFIRMED:  # then as now: what was decided can't be told to have been known
        return Judged(False, UNCONFIRMED)
    cores, case = cores_of(held), case_of(purpose, bonds_of(held), decided, read.at)
    verdicts = [judge(case, core) for core in sorted({cores[one] for one in members if one in held})]
    verdict = next((one for one in verdicts if not one.permitted), verdicts[0])
    return Judged(verdict.permitted, verdict.reason, tuple(one for one in (verdict.decision_id, verdict.against) if one))


def _unreadable(read: Disclosure, held: Mapping[bytes, Held], purpose: PurposeDefined) -> str:
    """Why nobody may be told of them; empty: they may."""
    try:
        require_readable(read.given.members[0], held, purpose)
    except NotPermitted as refusal:
        return refusal.reason
    except WrongState as refusal:
        # What is left of who was erased is told by some calls, for purposes that needn't ask: then as it was.
        left = not asks_the_person(purpose) and read.given.terms.outcome in GIVEN
        return "" if left else refusal.reason
    return ""
