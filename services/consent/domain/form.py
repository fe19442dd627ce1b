"""In what form definitions are taken. Pure."""

import re
from collections.abc import Iterable
from typing import Any, Final

from shared.errors import InvalidInput
from shared.events.callers import CallerDefined, OverrideDefined
from shared.events.consent import ALL_TRAITS, ControllerDefined, LegalBasis, NoticeDefined, PurposeDefined
from shared.events.signals import MappingDefined
from shared.identifiers import NAMESPACE

NAME: Final = re.compile(r"[a-z0-9_]{1,64}")
JURISDICTION: Final = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,3})?")  # ISO 3166-1 and 3166-2; EU is reserved there for the Union
DPV: Final = re.compile(r"https://w3id\.org/dpv[A-Za-z0-9._~/-]{0,100}#[A-Za-z0-9_-]{1,100}")
FIDESLANG: Final = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+){0,9}")
LOCALE: Final = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?")  # BCP 47: language, script, region
MAX_DESCRIPTION: Final = 1_000  # characters: a paragraph for people
MAX_TRAITS: Final = 500  # more than any golden record has
NEVER_MASKED: Final = frozenset({ALL_TRAITS, "events"})
MAX_TRAIT_NAME: Final = 128  # characters
MAX_JURISDICTIONS: Final = 100
MAX_TAGS: Final = 50  # of each kind
MAX_TAG: Final = 200  # characters
MAX_AGE: Final = 150  # years
MAX_DAYS: Final = 3_660  # ten years
MAX_CONTACT_POINTS: Final = 20  # kinds of them
DECIDABLE: Final = frozenset({"consent", "legitimate_interest"})  # legal bases that leave the person a choice
MAX_LINE: Final = 500  # characters of what is said of a controller, and of a reason
MAX_WHO: Final = 100  # characters of who defines
MAX_NOTICE_PURPOSES: Final = 50
MAX_CALLER_PURPOSES: Final = 100
MAX_TICKET: Final = 100  # characters
MAX_CREDENTIAL: Final = 200  # characters of a name that others give: a subject, an issuer, a certificate's
MAX_CERTIFICATE_NAMES: Final = 10
MAX_RATE: Final = 1_000_000
MAX_CUSTOMERS_PER_HOUR: Final = 250_000  # each process counts them in half a megabyte; whoever reads more of them exports
MAX_LOCALES: Final = 50
MAX_NOTICE_BYTES: Final = 500_000  # of all texts together: it is an event of the log
# What permits less comes first: whatever one permits, all behind it permit too.
STRICTEST_FIRST: Final[tuple[LegalBasis, ...]] = ("consent", "legitimate_interest", "contract", "legal_obligation")


def check_form(definition: Any) -> None:
    """Raises InvalidInput (PURPOSE_INVALID, CONTROLLER_INVALID, NOTICE_INVALID, SIGNAL_MAPPING_INVALID, CALLER_INVALID, OVERRIDE_INVALID, LEGAL_BASIS_STRICTER,
    CONDITION_NOT_ENFORCED, REASON_INVALID, NAME_INVALID)."""
    match definition:
        case PurposeDefined():
            _check_name("PURPOSE_INVALID", definition.name)
            _check_purpose(definition)
        case ControllerDefined():
            _check_name("CONTROLLER_INVALID", definition.name)
            _check_controller(definition)
        case NoticeDefined():
            _check_name("NOTICE_INVALID", definition.name)
            _check_notice(definition)
        case MappingDefined():
            _check_name("SIGNAL_MAPPING_INVALID", definition.name)
        case CallerDefined():
            _check_name("CALLER_INVALID", definition.name)
            _check_caller(definition)
        case OverrideDefined():
            _check_name("OVERRIDE_INVALID", definition.name)
            _check_override(definition)
    check_said(definition.defined_by, definition.reason)


def check_said(by: str, reason: str) -> None:
    """Raises InvalidInput (REASON_INVALID, NAME_INVALID)."""
    if not 1 <= len(reason) <= MAX_LINE or not reason.isprintable():
        raise InvalidInput(f"say why: a reason is 1 to {MAX_LINE} printable characters", reason="REASON_INVALID")
    if not 1 <= len(by) <= MAX_WHO or not by.isprintable():
        raise InvalidInput(f"say who it is, in 1 to {MAX_WHO} printable characters", reason="NAME_INVALID")


def _check_name(reason: str, name: str) -> None:
    if not NAME.fullmatch(name):
        raise _invalid(reason, "name", "a name is 1 to 64 lower-case letters, digits and underscores")


def _check_purpose(purpose: PurposeDefined) -> None:
    reason = "PURPOSE_INVALID"
    if len(purpose.description) > MAX_DESCRIPTION or "\0" in purpose.description:
        raise _invalid(reason, "description", f"a purpose's description is at most {MAX_DESCRIPTION} characters, without NUL")
    if len(purpose.traits) > MAX_TRAITS:
        raise _invalid(reason, "traits", f"a purpose sees at most {MAX_TRAITS} traits by name; '{ALL_TRAITS}' is all")
    if not all(1 <= len(trait) <= MAX_TRAIT_NAME and trait.isprintable() for trait in purpose.traits):
        raise _invalid(reason, "traits", f"a trait's name is 1 to {MAX_TRAIT_NAME} printable characters")
    _check_tags(purpose.dpv, DPV, "dpv", "an IRI such as https://w3id.org/dpv#Marketing")
    _check_tags(purpose.data_uses, FIDESLANG, "data_uses", "a Fideslang key such as marketing.advertising.first_party")
    _check_tags(purpose.data_categories, FIDESLANG, "data_categories", "a Fideslang key such as user.contact.email")
    if len(purpose.recipients) > MAX_TAGS or "" in purpose.recipients:
        raise _invalid(reason, "recipients", f"a purpose has at most {MAX_TAGS} recipients, each of which says something")
    for field, lines in (("retention", (purpose.retention,)), ("recipients", purpose.recipients)):
        if not all(len(line) <= MAX_LINE and line.isprintable() for line in lines):
            raise _invalid(reason, field, f"{field} is at most {MAX_LINE} printable characters")
    if not 0 <= purpose.ask_again_after_days <= MAX_DAYS:
        raise _invalid(reason, "ask_again_after_days", f"nobody is left unasked for more than {MAX_DAYS} days")
    _check_masks(purpose)
    _check_scope(purpose)
    _check_conditions(purpose)
    _check_bases(purpose)


def _check_masks(purpose: PurposeDefined) -> None:
    """What wouldn't be as it is told is refused."""
    if len(purpose.masks) > MAX_TRAITS or not all(purpose.mask_of(field) for field in purpose.masks):
        raise _invalid(
            "PURPOSE_INVALID", "masks", f"masked are at most {MAX_TRAITS} of the traits that the purpose may see, by name"
        )
    if not NEVER_MASKED.isdisjoint(purpose.masks) or not set(purpose.contact_points).isdisjoint(purpose.masks):
        raise _invalid("PURPOSE_INVALID", "masks", "events and contact points are shown or not: there is no mask of them")


def _check_scope(purpose: PurposeDefined) -> None:
    if (purpose.scope == "contact_point") != bool(purpose.contact_points):
        raise _invalid(
            "PURPOSE_INVALID", "contact_points", "name what contact points are, such as email, with that scope and no other"
        )
    if len(purpose.contact_points) > MAX_CONTACT_POINTS or not all(map(NAMESPACE.fullmatch, purpose.contact_points)):
        raise _invalid(
            "PURPOSE_INVALID",
            "contact_points",
            f"contact points are at most {MAX_CONTACT_POINTS} namespaces, such as email or phone",
        )
    if purpose.scope != "person" and purpose.legal_basis not in DECIDABLE:
        raise InvalidInput("nobody decides about what law or contract needs: it has no scope", reason="CONDITION_NOT_ENFORCED")


def _check_conditions(purpose: PurposeDefined) -> None:
    """A condition on grants that isn't enforced is refused rather than kept."""
    if not 0 <= purpose.minimum_age <= MAX_AGE:
        raise _invalid("PURPOSE_INVALID", "minimum_age", f"a minimum age is 0 to {MAX_AGE} years")
    if not 0 <= purpose.minors_opt_in_from <= purpose.minors_under <= MAX_AGE:
        raise _invalid("PURPOSE_INVALID", "minors_under", f"minors are under 0 to {MAX_AGE} years, and opt in from a lower age on")
    if bool(purpose.notice) != bool(purpose.notice_version):
        raise _invalid(
            "PURPOSE_INVALID", "notice_version", "name a notice together with its oldest version that still counts, from 1"
        )
    if not 0 <= purpose.expires_after_days <= MAX_DAYS:
        raise _invalid("PURPOSE_INVALID", "expires_after_days", f"a grant counts for at most {MAX_DAYS} days; 0 is no end")
    if purpose.legal_basis != "consent" and (
        purpose.double_opt_in or purpose.minimum_age or purpose.expires_after_days or purpose.notice
    ):
        raise InvalidInput(
            "double opt-in, a minimum age, an expiry and a notice are conditions on consent: no other legal basis asks for a grant",
            reason="CONDITION_NOT_ENFORCED",
        )
    if (purpose.minors_under and purpose.legal_basis not in DECIDABLE) or (
        purpose.minors_opt_in_from and purpose.legal_basis != "legitimate_interest"
    ):
        raise InvalidInput(
            "minors are asked about where people decide, and opt in where there is a legitimate interest",
            reason="CONDITION_NOT_ENFORCED",
        )
    if len(set(purpose.despite_restriction)) != len(purpose.despite_restriction):
        raise _invalid("PURPOSE_INVALID", "despite_restriction", "each ground is named once")
    if "consent" in purpose.despite_restriction and purpose.legal_basis != "consent":
        raise InvalidInput(
            "a purpose that asks for no consent can't go on by consent while processing is restricted",
            reason="CONDITION_NOT_ENFORCED",
        )


def _check_bases(purpose: PurposeDefined) -> None:
    if len(purpose.legal_bases) > MAX_JURISDICTIONS or not all(map(JURISDICTION.fullmatch, purpose.legal_bases)):
        raise _invalid(
            "PURPOSE_INVALID", "legal_bases", f"at most {MAX_JURISDICTIONS} jurisdictions, by ISO 3166 codes such as DE or US-CA"
        )
    if any(_rank(basis) < _rank(purpose.legal_basis) for basis in purpose.legal_bases.values()):
        raise InvalidInput(
            "nobody's jurisdiction is known: legal_basis is enforced for everybody, and has to be the strictest of them all",
            reason="LEGAL_BASIS_STRICTER",
        )


def _rank(basis: LegalBasis) -> int:
    return STRICTEST_FIRST.index(basis)


def _check_tags(tags: tuple[str, ...], form: re.Pattern[str], field: str, example: str) -> None:
    if len(tags) > MAX_TAGS or not all(len(tag) <= MAX_TAG and form.fullmatch(tag) for tag in tags):
        raise _invalid("PURPOSE_INVALID", field, f"each of {field} is {example}, and they are {MAX_TAGS} at most")


def _check_controller(controller: ControllerDefined) -> None:
    reason = "CONTROLLER_INVALID"
    if not controller.legal_name:
        raise _invalid(reason, "legal_name", "a controller has a name")
    for field in ("legal_name", "address", "contact", "protection_officer"):
        value = getattr(controller, field)
        if len(value) > MAX_LINE or not value.isprintable():
            raise _invalid(reason, field, f"{field} is at most {MAX_LINE} printable characters")
    if controller.jurisdiction and not JURISDICTION.fullmatch(controller.jurisdiction):
        raise _invalid(reason, "jurisdiction", "a jurisdiction is an ISO 3166 code such as DE or US-CA")


def _check_notice(notice: NoticeDefined) -> None:
    reason = "NOTICE_INVALID"
    if not 1 <= len(notice.purposes) <= MAX_NOTICE_PURPOSES:
        raise _invalid(reason, "purposes", f"a notice tells of 1 to {MAX_NOTICE_PURPOSES} purposes")
    locales = [text.locale for text in notice.texts]
    if not 1 <= len(locales) <= MAX_LOCALES or _twice(locales):
        raise _invalid(reason, "texts", f"a notice has 1 to {MAX_LOCALES} texts, one of each locale")
    if not all(map(LOCALE.fullmatch, locales)):
        raise _invalid(reason, "texts", "a locale is as in BCP 47, such as de or pt-BR")
    if not all(text.text.strip() and "\0" not in text.text for text in notice.texts):
        raise _invalid(reason, "texts", "a text says something, and has no NUL")
    if sum(len(text.text.encode()) for text in notice.texts) > MAX_NOTICE_BYTES:
        raise _invalid(reason, "texts", f"the texts of a notice are at most {MAX_NOTICE_BYTES} bytes together")


def _check_caller(caller: CallerDefined) -> None:
    reason = "CALLER_INVALID"
    if len(caller.description) > MAX_DESCRIPTION or "\0" in caller.description:
        raise _invalid(reason, "description", f"a caller's description is at most {MAX_DESCRIPTION} characters, without NUL")
    if bool(caller.issuer) != bool(caller.subject):
        raise _invalid(reason, "subject", "name an issuer of tokens together with the subject that it knows the caller by")
    if len(caller.certificate_names) > MAX_CERTIFICATE_NAMES:
        raise _invalid(reason, "certificate_names", f"a caller has at most {MAX_CERTIFICATE_NAMES} names in certificates")
    for field, names in (("subject", [caller.issuer, caller.subject]), ("certificate_names", caller.certificate_names)):
        if not all(len(name) <= MAX_CREDENTIAL and name.isprintable() for name in names):
            raise _invalid(reason, field, f"{field} is at most {MAX_CREDENTIAL} printable characters")
    if "" in caller.certificate_names:
        raise _invalid(reason, "certificate_names", "a name in a certificate isn't empty")
    if len(caller.purposes) > MAX_CALLER_PURPOSES:
        raise _invalid(reason, "purposes", f"a caller declares at most {MAX_CALLER_PURPOSES} purposes by name; '*' is all")
    for field in ("calls_per_s", "burst", "misses_per_min"):
        if not 0 <= getattr(caller, field) <= MAX_RATE:
            raise _invalid(reason, field, f"{field} is 0 (no limit) to {MAX_RATE}")
    if not 0 <= caller.customers_per_hour <= MAX_CUSTOMERS_PER_HOUR:
        raise _invalid(reason, "customers_per_hour", f"customers_per_hour is 0 (no limit) to {MAX_CUSTOMERS_PER_HOUR}")
    if caller.burst and not caller.calls_per_s:
        raise _invalid(reason, "burst", "what may come at once is limited together with calls_per_s")


def _check_override(override: OverrideDefined) -> None:
    for field, most in (("ticket", MAX_TICKET), ("approved_by", MAX_WHO)):
        if not 1 <= len(value := getattr(override, field)) <= most or not value.isprintable():
            raise _invalid("OVERRIDE_INVALID", field, f"{field} is 1 to {most} printable characters")
    if len(override.review) > MAX_LINE or not override.review.isprintable():
        raise _invalid("OVERRIDE_INVALID", "review", f"a review is at most {MAX_LINE} printable characters")


def _twice(values: Iterable[str]) -> bool:
    listed = list(values)
    return len(set(listed)) < len(listed)


def _invalid(reason: str, field: str, message: str) -> InvalidInput:
    return InvalidInput(message, reason=reason, field=field)
