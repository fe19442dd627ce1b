"""What consent publishes: definitions (purposes, controllers, notices) and decisions, and the one rule that says what they permit.

The rule stands here because consent answers checks by it and profile enforces it at every read: one rule, two readers.
"""

from collections.abc import Iterable
from typing import Literal, TypeVar

import msgspec

from shared.events.catalogue import PermissionFact, Public, register
from shared.ids import derived_id

OWNER = "consent"
FOLLOWERS = ("profile",)

LegalBasis = Literal["consent", "contract", "legal_obligation", "legitimate_interest"]
Outcome = Literal["granted", "refused", "withdrawn", "objected"]

ALL_TRAITS = "*"


class PurposeDefined(PermissionFact, frozen=True, kw_only=True):
    """What data may be used for, on which legal basis, and what of it; a change is a new version of the purpose.

    Enforced are `legal_basis`, `traits`, `double_opt_in` and `minimum_age`; all else is told and enforced by nobody.
    """

    request_id: str
    name: str
    version: int
    description: str
    legal_basis: LegalBasis  # for everybody, as nobody's jurisdiction is known
    traits: tuple[str, ...]
    controller: str = ""  # a controller's name; empty: none was named
    legal_bases: dict[str, LegalBasis] = {}  # what is claimed elsewhere, by jurisdiction (ISO 3166, or EU); none is stricter
    double_opt_in: bool = False  # a grant counts only once the person confirmed it from the identifier itself
    minimum_age: int = 0  # years; a grant counts only if whoever took it attested that the person is as old
    ask_again_after_days: int = 0  # who refused isn't to be asked again for so long; 0: nothing is said
    dpv: tuple[str, ...] = ()  # IRIs of the W3C Data Privacy Vocabulary
    data_uses: tuple[str, ...] = ()  # Fideslang keys, such as marketing.advertising.first_party
    data_categories: tuple[str, ...] = ()  # Fideslang keys, such as user.contact.email
    defined_by: str = ""
    reason: str = ""
    in_force_at: int = 0

    def may_see(self, field: str) -> bool:
        """`field` is a trait's name or an identifier's namespace."""
        return field in self.traits or ALL_TRAITS in self.traits


class ControllerDefined(Public, frozen=True, kw_only=True):
    """Who decides what data is used for, and answers for it (GDPR Art. 4(7)); names an organisation, nobody in it."""

    request_id: str
    name: str
    version: int
    legal_name: str
    address: str = ""
    contact: str = ""  # where people reach it about their data: an address, a mailbox or a page
    protection_officer: str = ""  # where its data protection officer is reached
    jurisdiction: str = ""  # ISO 3166 of where it is established
    defined_by: str = ""
    reason: str = ""
    in_force_at: int = 0


class NoticeText(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown in one language."""

    locale: str  # BCP 47, such as de or pt-BR
    text: str
    sha256: bytes  # of the text in UTF-8, computed by us


class NoticeDefined(Public, frozen=True, kw_only=True):
    """What people are shown when they are asked about purposes: the full text, in every language that it is shown in."""

    request_id: str
    name: str
    version: int
    purposes: tuple[str, ...]
    texts: tuple[NoticeText, ...]
    controller: str = ""
    defined_by: str = ""
    reason: str = ""
    in_force_at: int = 0

    def text_in(self, locale: str) -> NoticeText | None:
        return next((text for text in self.texts if text.locale == locale), None)


class NoticeShown(msgspec.Struct, frozen=True, kw_only=True):
    """Which text a person had before them when they decided."""

    name: str
    version: int
    locale: str
    sha256: bytes


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
    attested_age: int = 0  # years that the person has at least, as whoever took the decision attests; 0: nothing was attested
    notice: NoticeShown | None = None
    proof_sha256: bytes = b""  # of what proves it and is kept elsewhere; empty: there is nothing
    confirm_by: int = 0  # of a grant that waits to be confirmed: until when; 0: it doesn't
    token_sha256: bytes = b""  # of what it is confirmed with
    confirms: bytes = b""  # the decision that waited for this one


Decision = TypeVar("Decision", bound=DecisionRecorded)

PURPOSE_DEFINED = register("consent.purpose_defined", 1, PurposeDefined)
CONTROLLER_DEFINED = register("consent.controller_defined", 1, ControllerDefined)
NOTICE_DEFINED = register("consent.notice_defined", 1, NoticeDefined)
DECISION_RECORDED = register("consent.decision_recorded", 1, DecisionRecorded)


def definition_stream(kind: str, name: str) -> bytes:
    """The stream that the versions of a purpose, a controller or a notice are in."""
    return derived_id(kind.encode(), name.encode())


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
    pending = None
    if purpose.double_opt_in or purpose.minimum_age:
        decisions, pending = _counting(purpose, decisions)
    latest = max(decisions, key=_precedence, default=None)
    if latest is not None and latest.outcome != "granted":
        return Verdict(False, DENIALS[latest.outcome], latest.decision_id)
    if latest is not None:
        return Verdict(True, "CONSENT_GRANTED", latest.decision_id)
    if purpose.legal_basis == "legitimate_interest":
        return Verdict(True, "LEGITIMATE_INTEREST")
    if pending is not None:
        return Verdict(False, _lacking(purpose, pending), pending.decision_id)
    return Verdict(False, "CONSENT_MISSING")


def _counting(
    purpose: PurposeDefined, decisions: Iterable[DecisionRecorded]
) -> tuple[list[DecisionRecorded], DecisionRecorded | None]:
    """Denials, and grants that have what the purpose asks of them; and the newest grant that hasn't."""
    all_of_them = list(decisions)
    counting = [decision for decision in all_of_them if not _lacking(purpose, decision)]
    return counting, max((one for one in all_of_them if _lacking(purpose, one)), key=_precedence, default=None)


def _lacking(purpose: PurposeDefined, decision: DecisionRecorded) -> str:
    """What a grant lacks to count for the purpose; nothing is lacking of a denial."""
    if decision.outcome != "granted":
        return ""
    if purpose.double_opt_in and not decision.confirmed:
        return "CONSENT_UNCONFIRMED"
    return "AGE_NOT_ATTESTED" if decision.attested_age < purpose.minimum_age else ""


def holding(decisions: Iterable[Decision]) -> dict[str, Decision]:
    """By purpose, of one person's decisions the one that holds."""
    found: dict[str, Decision] = {}
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
