"""What consent publishes: definitions (purposes, controllers, notices) and decisions. What they permit: `shared.consent_rule`."""

from typing import Literal

import msgspec

from shared.events.catalogue import PermissionFact, Public, register
from shared.ids import derived_id

OWNER = "consent"
FOLLOWERS = ("profile",)

LegalBasis = Literal["consent", "contract", "legal_obligation", "legitimate_interest"]
Outcome = Literal[
    "granted",
    "refused",
    "withdrawn",
    "objected",
    "opted_out",
    "opted_in",
    "limited",
    "restricted",
    "restriction_lifted",
    "age_known",
    "age_taken_back",
]
RestrictionGround = Literal["accuracy_contested", "unlawful_processing", "legal_claims", "objection_pending"]  # GDPR Art. 18(1)
RestrictionException = Literal["consent", "legal_claims", "rights_of_others", "public_interest"]  # GDPR Art. 18(2)
Scope = Literal["person", "contact_point", "identifier"]
MaskClass = Literal["partial", "tokenised", "generalised", "absent"]

ALL_TRAITS = "*"
EVERY_PURPOSE = "*"  # what restrictions and ages are about; no purpose has such a name


class PurposeDefined(PermissionFact, frozen=True, kw_only=True):
    """What data may be used for, on which legal basis, and what of it; a change is a new version of the purpose.

    Enforced are `legal_basis`, `traits`, `masks`, `scope`, `double_opt_in`, `minimum_age`, `minors_under`, `minors_opt_in_from`,
    `expires_after_days`, `notice` and `despite_restriction`; all else is told and enforced by nobody.
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
    minors_under: int = 0  # years; of whoever is known to be younger only what is authorised by who is responsible for them counts
    minors_opt_in_from: int = 0  # years from which on such a person may opt in by themself; only with a legitimate interest
    scope: Scope = "person"  # whom a decision counts for: who made it, or the identifier alone that it was captured for
    contact_points: tuple[str, ...] = ()  # namespaces that are decided about each by itself, such as email; only with that scope
    expires_after_days: int = 0  # a grant counts for so long; 0: until it is taken back
    notice: str = ""  # a notice's name: a grant counts only if the person was shown it, in `notice_version` or a later one
    notice_version: int = 0  # the oldest that still says what people need to know; only with `notice`
    ask_again_after_days: int = 0  # who refused isn't to be asked again for so long; 0: nothing is said
    masks: dict[str, MaskClass] = {}  # of what it may see, by field: what is shown masked, and in nothing but profiles
    despite_restriction: tuple[RestrictionException, ...] = ()  # on which grounds it goes on while processing is restricted
    dpv: tuple[str, ...] = ()  # IRIs of the W3C Data Privacy Vocabulary
    data_uses: tuple[str, ...] = ()  # Fideslang keys, such as marketing.advertising.first_party
    data_categories: tuple[str, ...] = ()  # Fideslang keys, such as user.contact.email
    retention: str = ""  # how long its data is kept, or by what that is determined (GDPR Art. 13(2)(a)); empty: not stated
    recipients: tuple[str, ...] = ()  # whom its data is disclosed to, or which kinds of them (GDPR Art. 13(1)(e))
    defined_by: str = ""
    reason: str = ""
    in_force_at: int = 0

    def may_see(self, field: str) -> bool:
        """`field` is a trait's name or an identifier's namespace. Whether a contact point may be seen is each one's own matter; what is
        masked may not."""
        if field in self.contact_points or field in self.masks or (field == ALL_TRAITS and self.masks):
            return False
        return field in self.traits or ALL_TRAITS in self.traits

    def mask_of(self, field: str) -> MaskClass | None:
        """How it is masked where it may be shown so."""
        return self.masks.get(field) if field in self.traits or ALL_TRAITS in self.traits else None

    def may_see_permitted(self, contact_point: str) -> bool:
        """Of what is decided about each by itself, those that permit it."""
        return contact_point in self.contact_points and (contact_point in self.traits or ALL_TRAITS in self.traits)


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


class Restriction(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of a restriction of processing (GDPR Art. 18), or of its end."""

    grounds: tuple[RestrictionGround, ...] = ()
    lifts: bytes = b""  # of its end: the decision that restricted
    told_at: int = 0  # of its end: when the person was told of it, which is before (Art. 18(3))
    by: str
    reason: str


class KnownAge(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the age of a person at the instant of its decision, in whole years; or that it isn't known any more."""

    under: int = 0  # the person was younger; 0: what it corrects is taken back, and nothing said in its place
    at_least: int = 0
    corrects: bytes = b""  # the decision that said otherwise
    holds_from: int = 0  # microseconds; of what corrects that one the instant from which on it was so: it holds in its place
    guardian_hash: bytes = b""  # it is the age of who authorises by this identifier for the person it is bound to, and not theirs
    follows: bytes = b""  # of that: the decision about the guardian that says so
    by: str
    reason: str


class ParentalAuthorisation(msgspec.Struct, frozen=True, kw_only=True):
    """Of a grant: who is responsible for a child gave or authorised it (GDPR Art. 8(1))."""

    guardian_hash: bytes  # keyed hash of an identifier of whoever that is
    verified_by: str  # the means by which it was verified (Art. 8(2)), such as a signed form


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
    signal_id: bytes = b""  # of the signal that it follows from; empty: it was told as a decision
    because: str = ""  # where in the signal it stands, such as usca.sale_opt_out
    restriction: Restriction | None = None  # of what restricts every purpose, or ends that; else there is none
    age: KnownAge | None = None  # of what says how old a person is; else there is none
    authorised: ParentalAuthorisation | None = None  # of a grant for a child


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
