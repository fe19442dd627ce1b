"""Receipts hold to the forms' field tables, and say what was decided: by whom, about what, when, and what was shown."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.consent.domain.definitions import notice_text
from services.consent.domain.receipts import NOT_STATED, Evidence, hash_of, iso_27560, kantara, receipt
from shared.errors import WrongState
from shared.events.consent import (
    ControllerDefined,
    DecisionRecorded,
    NoticeDefined,
    NoticeShown,
    ParentalAuthorisation,
    PurposeDefined,
)
from shared.ids import to_text
from shared.instants import SECOND, from_iso
from tests.properties.test_restriction import restricted

# Written from the field tables of Kantara's specification 1.1.0 (4.3 to 4.5, 4.8) and of W3C's guide to ISO/IEC TS 27560:2023.
SCHEMAS = Path(__file__).parent / "receipt_schemas"
KANTARA, ISO_27560 = (
    jsonschema_rs.validator_for(json.loads((SCHEMAS / f"{name}.json").read_text())) for name in ("kantara_1_1", "iso_27560")
)

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=20)
LATER = st.integers(0, 4_000_000_000 * SECOND)
PARENT = ParentalAuthorisation(guardian_hash=b"g" * 32, verified_by="signed form")
CATEGORIES = ["user.contact.email", "user.health_and_medical.genetic", "user.demographic", "user.demographic.religious_belief"]


@st.composite
def evidences(draw: st.DrawFn, outcomes: tuple[Any, ...] = ("granted", "refused", "withdrawn")) -> Evidence:
    notice = NoticeDefined(
        request_id="n", name="privacy", version=draw(st.integers(1, 9)), purposes=("offers",), texts=(notice_text("de", "Ja."),)
    )
    shown = NoticeShown(name="privacy", version=notice.version, locale="de", sha256=notice.texts[0].sha256)
    controller = ControllerDefined(
        request_id="c",
        name="shop",
        version=1,
        legal_name=draw(TEXTS.filter(bool)),
        address=draw(TEXTS),
        contact=draw(st.sampled_from(["", "privacy@shop.example", "+49301234", "https://shop.example/privacy", "ask us"])),
        jurisdiction=draw(st.sampled_from(["", "DE", "US-CA"])),
    )
    purpose = PurposeDefined(
        request_id="p",
        name="offers",
        version=draw(st.integers(1, 9)),
        description=draw(TEXTS),
        legal_basis="consent",
        traits=draw(st.sampled_from([(), ("email",), ("*",)])),
        dpv=draw(st.sampled_from([(), ("https://w3id.org/dpv#Marketing",)])),
        data_uses=draw(st.sampled_from([(), ("marketing.communications.email",), ("marketing.advertising.third_party.targeted",)])),
        data_categories=tuple(draw(st.lists(st.sampled_from(CATEGORIES), unique=True))),
        retention=draw(TEXTS),
        recipients=tuple(draw(st.lists(TEXTS.filter(bool), max_size=3))),
    )
    was_shown, outcome = draw(st.booleans()), draw(st.sampled_from(outcomes))
    for_a_child = outcome == "granted" and draw(st.booleans())
    decision = DecisionRecorded(
        request_id="d",
        decision_id=draw(st.binary(min_size=16, max_size=16)),
        identifier_hash=draw(st.binary(min_size=16, max_size=16)),
        namespace="email",
        purpose="offers",
        purpose_version=purpose.version,
        outcome=outcome,
        decided_at=draw(LATER),
        method=draw(TEXTS),
        notice=shown if was_shown else None,
        authorised=PARENT if for_a_child else None,
    )
    return Evidence(
        decision=decision,
        purpose=purpose,
        notice=notice if was_shown else None,
        controller=controller if draw(st.booleans()) else None,
        restriction=restricted(0, draw(LATER)) if draw(st.booleans()) else None,
    )


@given(evidences(("granted",)))
def test_a_kantara_receipt_has_what_the_specification_asks_for_and_tells_the_decision(evidence: Evidence) -> None:
    told = json.loads(json.dumps(receipt(evidence, "kantara")))
    KANTARA.validate(told)
    decision = evidence.decision
    assert told["consentReceiptID"] == to_text(decision.decision_id)
    assert told["consentTimestamp"] == decision.decided_at // SECOND
    assert bytes.fromhex(told["piiPrincipalId"]) == decision.identifier_hash
    assert told["policyUrl"] == (f"urn:c360:notice:privacy:{evidence.notice.version}:de" if evidence.notice else NOT_STATED)
    goes_to_others = evidence.purpose.data_uses[:1] == ("marketing.advertising.third_party.targeted",)
    assert told["services"][0]["purposes"][0]["thirdPartyDisclosure"] is goes_to_others
    if goes_to_others:
        assert told["services"][0]["purposes"][0]["thirdPartyName"] == (", ".join(evidence.purpose.recipients) or NOT_STATED)
    assert (f"{PARENT.guardian_hash.hex()}; verified by: signed form" in told["collectionMethod"]) is bool(decision.authorised)
    termination = told["services"][0]["purposes"][0]["termination"]
    assert ("Processing is restricted" in termination) is (evidence.restriction is not None)
    assert told["spiCat"] == [one for one in evidence.purpose.data_categories if one in (CATEGORIES[1], CATEGORIES[3])]


@given(evidences())
def test_a_record_of_27560_has_what_the_standard_asks_for_and_tells_the_decision(evidence: Evidence) -> None:
    told = json.loads(json.dumps(receipt(evidence, "iso_27560")))
    ISO_27560.validate(told)
    decision, record = evidence.decision, told["dpv:hasRecordOfActivity"]
    assert record["dct:identifier"] == to_text(decision.decision_id) != told["dct:identifier"]
    status = record["dpv:hasConsentStatus"]
    assert from_iso(status["dpv:isIndicationTime"]["@value"]) == decision.decided_at
    assert datetime.fromisoformat(status["dpv:isIndicationTime"]["@value"]).tzinfo is not None
    parent = {"@type": "dpv:GuardianOfDataSubject", "dct:identifier": PARENT.guardian_hash.hex()}
    by = status["dpv:isIndicatedBy"]
    assert by.items() >= parent.items() if decision.authorised else by == decision.identifier_hash.hex()
    words = {"granted": "dpv:ConsentGiven", "refused": "dpv:ConsentRefused", "withdrawn": "dpv:ConsentWithdrawn"}
    assert status["@type"] == words[decision.outcome]
    purpose = record["dpv:hasProcess"]["dpv:hasPurpose"]
    assert purpose["dpv:hasIdentifier"] == f"sha256:{hash_of(evidence.purpose).hex()}"
    process = record["dpv:hasProcess"]
    assert process["dpv:hasStorageCondition"]["dct:description"] == (evidence.purpose.retention or NOT_STATED)
    assert process["dpv:hasRecipient"] == (list(evidence.purpose.recipients) or NOT_STATED)
    right = process.get("dpv:hasRight")
    assert (from_iso(right["dct:date"]["@value"]) if right else None) == (
        evidence.restriction.decided_at if evidence.restriction else None
    )
    if decision.notice:
        assert record["dpv:hasNotice"]["dpv:hasIdentifier"] == f"sha256:{decision.notice.sha256.hex()}"
        assert record["dpv:hasNotice"]["dct:description"] == "Ja."


@given(evidences(("refused", "withdrawn", "objected")))
def test_what_a_form_has_no_word_for_has_no_receipt_of_that_form(evidence: Evidence) -> None:
    with pytest.raises(WrongState, match="another"):
        kantara(evidence)
    if evidence.decision.outcome == "objected":
        with pytest.raises(WrongState, match="another"):
            iso_27560(evidence)


@pytest.mark.parametrize("left_out", ["jurisdiction", "consentTimestamp", "piiControllers", "policyUrl", "services", "sensitive"])
def test_the_schema_misses_what_is_left_out(left_out: str) -> None:
    told = kantara(_an_evidence())
    assert KANTARA.is_valid(told)
    del told[left_out]
    assert not KANTARA.is_valid(told)


def _an_evidence() -> Evidence:
    purpose = PurposeDefined(request_id="p", name="offers", version=1, description="", legal_basis="consent", traits=("email",))
    decision = DecisionRecorded(
        request_id="d",
        decision_id=bytes(16),
        identifier_hash=bytes(16),
        namespace="email",
        purpose="offers",
        purpose_version=1,
        outcome="granted",
        decided_at=0,
    )
    return Evidence(decision=decision, purpose=purpose, notice=None, controller=None)
