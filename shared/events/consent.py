"""What consent publishes: purposes and decisions, and the one rule that says what they permit.

The rule stands here because consent answers checks by it and profile enforces it at every read: one rule, two readers.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

from shared.events.catalogue import PermissionFact, register
from shared.ids import derived_id

OWNER = "consent"
FOLLOWERS = ("profile",)

LegalBasis = Literal["consent", "contract", "legal_obligation", "legitimate_interest"]
Outcome = Literal["granted", "refused", "withdrawn", "objected"]

ALL_TRAITS = "*"


class PurposeDefined(PermissionFact, frozen=True, kw_only=True):
    """What data may be used for, on which legal basis, and what of it; a change is a new version of the purpose."""

    request_id: str
    name: str
    version: int
    description: str
    legal_basis: LegalBasis
    traits: tuple[str, ...]

    def may_see(self, field: str) -> bool:
        """`field` is a trait's name or an identifier's namespace."""
        return field in self.traits or ALL_TRAITS in self.traits


class DecisionRecorded(PermissionFact, frozen=True, kw_only=True):
    """What a person decided, bound for ever to the identifier (its keyed hash) that it was captured for."""

    request_id: str
    decision_id: bytes
    identifier_hash: bytes
    namespace: str
    purpose: str
    purpose_version: int
    outcome: Outcome
    decided_at: int
    method: str = ""
    confirmed: bool = False  # the person confirmed it from the identifier itself (double opt-in)


PURPOSE_DEFINED = register("consent.purpose_defined", 1, PurposeDefined)
DECISION_RECORDED = register("consent.decision_recorded", 1, DecisionRecorded)


def purpose_stream(name: str) -> bytes:
    """The stream that a purpose's versions are in."""
    return derived_id(b"purpose", name.encode())


def decisions_stream(identifier_hash: bytes) -> bytes:
    """The stream that the decisions bound to an identifier are in."""
    return derived_id(b"decisions", identifier_hash)


class Verdict(msgspec.Struct, frozen=True):
    permitted: bool
    reason: str
    decision_id: bytes = b""


ALLOWED_BY_LAW = {"contract": "CONTRACT", "legal_obligation": "LEGAL_OBLIGATION"}
DENIALS = {"refused": "CONSENT_REFUSED", "withdrawn": "CONSENT_WITHDRAWN", "objected": "OBJECTED"}


def judge(purpose: PurposeDefined, decisions: Iterable[DecisionRecorded]) -> Verdict:
    """What one person's decisions about one purpose permit. Order and duplication of the decisions don't matter."""
    if purpose.legal_basis in ALLOWED_BY_LAW:
        return Verdict(True, ALLOWED_BY_LAW[purpose.legal_basis])
    latest = max(decisions, key=_precedence, default=None)
    if latest is not None and latest.outcome != "granted":
        return Verdict(False, DENIALS[latest.outcome], latest.decision_id)
    if latest is not None:
        return Verdict(True, "CONSENT_GRANTED", latest.decision_id)
    if purpose.legal_basis == "legitimate_interest":
        return Verdict(True, "LEGITIMATE_INTEREST")
    return Verdict(False, "CONSENT_MISSING")


def holding(decisions: Iterable[DecisionRecorded]) -> dict[str, DecisionRecorded]:
    """By purpose, of one person's decisions the one that holds."""
    found: dict[str, DecisionRecorded] = {}
    for decision in decisions:
        held = found.get(decision.purpose)
        if held is None or _precedence(decision) > _precedence(held):
            found[decision.purpose] = decision
    return found


def outlives_erasure(decision: DecisionRecorded, erased_at: int) -> bool:
    """After its identifier was erased, what a person forbade still holds; what a person granted doesn't come back."""
    return decision.outcome != "granted" or decision.decided_at > erased_at


def outlives_parting(decision: DecisionRecorded) -> bool:
    """When its identifier turned out to be shared, what was forbidden by it still holds of those it was linked to.

    Else whoever can have an address named along with somebody else's could end its owner's withdrawal.
    """
    return decision.outcome != "granted"


def _precedence(decision: DecisionRecorded) -> tuple[int, bool, bytes]:
    """The most recent by when it happened; at the same instant a denial wins."""
    return decision.decided_at, decision.outcome != "granted", decision.decision_id
