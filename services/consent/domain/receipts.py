"""Receipts of decisions, in two public forms. Pure: the same decision, definitions and restriction always give the same receipt.

What the registry doesn't say, such as how long data is kept where no version of the purpose does, is told as not stated rather than made up.
"""

import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final, Literal

import msgspec

from shared.errors import WrongState
from shared.events.catalogue import Public, encode
from shared.events.consent import ControllerDefined, DecisionRecorded, NoticeDefined, PurposeDefined
from shared.ids import derived_id, to_text
from shared.instants import EPOCH, SECOND

Format = Literal["kantara", "iso_27560"]

NOT_STATED: Final = "not stated"
LANGUAGE_UNKNOWN: Final = "und"  # ISO 639-2
WITHDRAW: Final = "At any time, without giving a reason"
RESTRICTED: Final = "Processing is restricted (GDPR Art. 18): data is stored and not used"
BY_GUARDIAN: Final = "Granted or authorised by who is responsible for the child"  # GDPR Art. 8(1)
RESTRICTION_RIGHT: Final = "https://w3id.org/dpv/legal/eu/gdpr#A18"
RECORD_PROFILE: Final = "https://w3id.org/dpv/schema/dpv-27560#record"
RECEIPT_PROFILE: Final = "https://w3id.org/dpv/schema/dpv-27560#receipt"
CONTEXT: Final = {
    "dpv": "https://w3id.org/dpv#",
    "dct": "http://purl.org/dc/terms/",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    "fides": "urn:fideslang:",
}
STATUSES: Final[dict[str, str]] = {"granted": "ConsentGiven", "refused": "ConsentRefused", "withdrawn": "ConsentWithdrawn"}
LEGAL_BASES: Final = {
    "consent": "Consent",
    "contract": "Contract",
    "legal_obligation": "LegalObligation",
    "legitimate_interest": "LegitimateInterest",
}
# Fideslang categories that GDPR Art. 9 names; each covers its children.
SENSITIVE: Final = (
    "user.biometric",
    "user.biometric_health",
    "user.demographic.political_opinion",
    "user.demographic.race_ethnicity",
    "user.demographic.religious_belief",
    "user.demographic.sexual_orientation",
    "user.genetic",
    "user.health_and_medical",
)


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """A decision and the versions that belong to it: of the purpose that was decided about, of the notice that was shown, if that was
    said, and of the controller as it was then, if the purpose names one; and what restricts processing now, if anything does."""

    decision: DecisionRecorded
    purpose: PurposeDefined
    notice: NoticeDefined | None
    controller: ControllerDefined | None
    restriction: DecisionRecorded | None = None

    @property
    def notice_name(self) -> str:
        shown = self.decision.notice
        return f"urn:c360:notice:{shown.name}:{shown.version}:{shown.locale}" if shown else NOT_STATED

    @property
    def language(self) -> str:
        return self.decision.notice.locale if self.decision.notice else LANGUAGE_UNKNOWN

    @property
    def jurisdiction(self) -> str:
        return (self.controller.jurisdiction if self.controller else "") or NOT_STATED


def receipt(evidence: Evidence, format_: Format) -> dict[str, Any]:
    """As JSON. Raises WrongState (NO_RECEIPT)."""
    return MAKERS[format_](evidence)


def hash_of(definition: Public) -> bytes:
    """SHA-256 of a definition as it stands in the log, which a bundle proves."""
    return hashlib.sha256(encode(definition)).digest()


def sensitive(categories: tuple[str, ...]) -> list[str]:
    return [one for one in categories if any(one == parent or one.startswith(f"{parent}.") for parent in SENSITIVE)]


def kantara(evidence: Evidence) -> dict[str, Any]:
    """Kantara Initiative, Consent Receipt Specification 1.1.0 (2018), 4.3 to 4.5. Raises WrongState (NO_RECEIPT)."""
    decision, purpose = evidence.decision, evidence.purpose
    if decision.outcome != "granted":
        raise no_receipt("a Kantara receipt tells of what was granted")
    special = sensitive(purpose.data_categories)
    return {
        "version": "KI-CR-v1.1.0",
        "jurisdiction": evidence.jurisdiction,
        "consentTimestamp": decision.decided_at // SECOND,
        "collectionMethod": _collection_method(decision),
        "consentReceiptID": to_text(decision.decision_id),
        "language": evidence.language,
        "piiPrincipalId": decision.identifier_hash.hex(),
        "piiControllers": [_kantara_controller(evidence.controller)],
        "policyUrl": evidence.notice_name,
        "services": [
            {
                "service": evidence.controller.legal_name if evidence.controller else NOT_STATED,
                "purposes": [
                    {
                        "purpose": purpose.description or purpose.name,
                        "purposeCategory": list(purpose.data_uses or purpose.dpv) or [purpose.name],
                        "consentType": "EXPLICIT",
                        "piiCategory": _categories(purpose),
                        "primaryPurpose": True,
                        "termination": _termination(evidence),
                        **_third_parties(purpose),
                    }
                ],
            }
        ],
        "sensitive": bool(special),
        "spiCat": special,
    }


def _collection_method(decision: DecisionRecorded) -> str:
    """The form has no place for who grants in another's place, who is named by the keyed hash of an identifier."""
    method = decision.method or NOT_STATED
    if (given := decision.authorised) is None:
        return method
    return f"{method}. {BY_GUARDIAN}, {given.guardian_hash.hex()}; verified by: {given.verified_by}"


def _termination(evidence: Evidence) -> str:
    """The only text of the form that may say under which conditions data is used no more."""
    if (restriction := evidence.restriction) is None:
        return WITHDRAW
    return f"{WITHDRAW}. {RESTRICTED} since {_iso(restriction.decided_at)}"


def _iso(instant: int) -> str:
    return (EPOCH + timedelta(microseconds=instant)).isoformat()


def _third_parties(purpose: PurposeDefined) -> dict[str, Any]:
    """As the purpose's data uses say (Fideslang, such as marketing.advertising.third_party); the form knows yes and no alone."""
    if any("third_party" in use.split(".") for use in purpose.data_uses):
        return {"thirdPartyDisclosure": True, "thirdPartyName": ", ".join(purpose.recipients) or NOT_STATED}
    return {"thirdPartyDisclosure": False}


def _kantara_controller(controller: ControllerDefined | None) -> dict[str, Any]:
    contact = controller.contact if controller else ""
    found = {
        "piiController": controller.legal_name if controller else NOT_STATED,
        "contact": (controller.protection_officer or contact if controller else "") or NOT_STATED,
        "address": {"streetAddress": (controller.address if controller else "") or NOT_STATED},
        "email": contact if "@" in contact else NOT_STATED,
        "phone": contact if contact.startswith("+") else NOT_STATED,
    }
    return found | ({"piiControllerUrl": contact} if contact.startswith("https://") else {})


def iso_27560(evidence: Evidence) -> dict[str, Any]:
    """ISO/IEC TS 27560:2023 as W3C's "Consent Records and Receipts as per ISO/IEC TS 27560:2023 using DPV" maps its fields: a receipt
    with a copy of the record. Raises WrongState (NO_RECEIPT)."""
    decision = evidence.decision
    if decision.outcome not in STATUSES:
        raise no_receipt("ISO/IEC TS 27560 tells of consent that was given, refused or withdrawn")
    return {
        "@context": CONTEXT,
        "@id": f"urn:uuid:{to_text(derived_id(b'receipt', decision.decision_id))}",
        "@type": "dpv:ConsentReceipt",
        "dct:identifier": to_text(derived_id(b"receipt", decision.decision_id)),
        "dct:conformsTo": RECEIPT_PROFILE,
        "dpv:hasRecordOfActivity": _record(evidence),
    }


def _record(evidence: Evidence) -> dict[str, Any]:
    decision = evidence.decision
    return {
        "@id": f"urn:uuid:{to_text(decision.decision_id)}",
        "@type": "dpv:ConsentRecord",
        "dct:identifier": to_text(decision.decision_id),
        "dct:conformsTo": RECORD_PROFILE,
        "dpv:hasDataSubject": {"@type": "dpv:DataSubject", "dct:identifier": decision.identifier_hash.hex()},
        "dpv:hasNotice": _notice(evidence),
        "dct:language": evidence.language,
        "dpv:hasJurisdiction": evidence.jurisdiction,
        "dpv:hasDataController": _party(evidence.controller),
        "dpv:hasProcess": _process(evidence),
        "dpv:hasConsentControl": {"@type": "dpv:WithdrawConsent", "dct:description": WITHDRAW},
        "dpv:hasConsentStatus": {
            "@type": f"dpv:{STATUSES[decision.outcome]}",
            "dpv:isIndicatedBy": _indicated_by(decision),
            "dpv:isIndicationTime": {
                "@type": "xsd:dateTime",
                "@value": _iso(decision.decided_at),
            },
            "dpv:hasIndicationMethod": decision.method or NOT_STATED,
        },
    }


def _indicated_by(decision: DecisionRecorded) -> str | dict[str, Any]:
    if (given := decision.authorised) is None:
        return decision.identifier_hash.hex()
    return {
        "@type": "dpv:GuardianOfDataSubject",
        "dct:identifier": given.guardian_hash.hex(),
        "dct:description": f"{BY_GUARDIAN}; verified by: {given.verified_by}",
    }


def _notice(evidence: Evidence) -> dict[str, Any]:
    found = {"@type": "dpv:ConsentNotice", "dct:identifier": evidence.notice_name}
    if (shown := evidence.decision.notice) is None:
        return found
    text = evidence.notice.text_in(shown.locale) if evidence.notice else None
    return found | {"dct:description": text.text if text else NOT_STATED, "dpv:hasIdentifier": f"sha256:{shown.sha256.hex()}"}


def _party(controller: ControllerDefined | None) -> dict[str, Any]:
    return {
        "@type": "dpv:DataController",
        "dct:identifier": f"{controller.name}@{controller.version}" if controller else NOT_STATED,
        "dpv:hasName": controller.legal_name if controller else NOT_STATED,
        "dpv:hasAddress": (controller.address if controller else "") or NOT_STATED,
        "dpv:hasContact": (controller.contact if controller else "") or NOT_STATED,
    }


def _process(evidence: Evidence) -> dict[str, Any]:
    purpose = evidence.purpose
    return {
        "@type": "dpv:Process",
        "dpv:hasPurpose": {
            "@id": f"urn:c360:purpose:{purpose.name}:{purpose.version}",
            "@type": [f"dpv:{iri.partition('#')[2]}" for iri in purpose.dpv] or ["dpv:Purpose"],
            "dct:title": purpose.name,
            "dct:description": purpose.description or NOT_STATED,
            "dpv:hasIdentifier": f"sha256:{hash_of(purpose).hex()}",
        },
        "dpv:hasLegalBasis": f"dpv:{LEGAL_BASES[purpose.legal_basis]}",
        "dpv:hasPersonalData": [_personal_data(one, purpose) for one in _categories(purpose)],
        "dpv:hasStorageCondition": {"@type": "dpv:StorageCondition", "dct:description": purpose.retention or NOT_STATED},
        "dpv:hasRecipient": list(purpose.recipients) or NOT_STATED,
        **_right(evidence.restriction),
    }


def _right(restriction: DecisionRecorded | None) -> dict[str, Any]:
    """The right to have processing restricted, which is being exercised."""
    if restriction is None:
        return {}
    since = {"@type": "xsd:dateTime", "@value": _iso(restriction.decided_at)}
    return {
        "dpv:hasRight": {"@id": RESTRICTION_RIGHT, "@type": "dpv:ActiveRight", "dct:description": RESTRICTED, "dct:date": since}
    }


def _personal_data(category: str, purpose: PurposeDefined) -> dict[str, Any]:
    kind = "SpecialCategoryPersonalData" if category in sensitive(purpose.data_categories) else "PersonalData"
    named = {"@id": f"fides:{category}"} if purpose.data_categories else {}
    return named | {"@type": f"dpv:{kind}", "dct:title": category}


def _categories(purpose: PurposeDefined) -> list[str]:
    """By tags where there are any, else the traits."""
    return list(purpose.data_categories or purpose.traits) or [NOT_STATED]


def no_receipt(why: str) -> WrongState:
    return WrongState(f"{why}; this decision is another", reason="NO_RECEIPT")


MAKERS: Final[dict[Format, Callable[[Evidence], dict[str, Any]]]] = {"kantara": kantara, "iso_27560": iso_27560}
