"""What a shop would write, and what follows of signals that others published (from where, say test_tcf.py and test_gpp.py)."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from services.consent.domain.signals.bits import Vendors
from services.consent.domain.signals.gpp import GppString
from services.consent.domain.signals.mapping import MOST_RULES, SignalMapping, TcfRule
from services.consent.domain.signals.plain import CategoryPreferences, GpcHeader, SmsReply, UspString
from services.consent.domain.signals.proposing import AnySignal, propose
from services.consent.domain.signals.tcf import CanadianTcString, Restriction, TcString
from services.consent.domain.signals.tcf_policy import TCF_2_3
from shared.errors import InvalidInput
from tests.unit.test_gpp import STATES
from tests.unit.test_tcf import CANADIAN, OF_GPP, WITH_PUBLISHER

MAPPING = msgspec.json.decode(
    b"""{
      "tcf": [
        {"purpose": "personal_ads", "tcf_purposes": [1, 3, 9], "whose": "vendor", "vendor": 7},
        {"purpose": "analytics", "tcf_purposes": [8, 9], "basis": "legitimate_interest", "whose": "publisher"},
        {"purpose": "newsletter", "tcf_purposes": [2, 4], "whose": "publisher"}
      ],
      "tcf_canada": [{"purpose": "personal_ads", "tcf_purposes": [2, 3], "whose": "anyone"}],
      "us": {"sale_opt_out": ["selling"], "sharing_opt_out": ["personal_ads"], "sensitive_data_processing": ["health"]},
      "gpc": ["selling", "personal_ads"],
      "stop": ["sms_offers"],
      "start": ["sms_offers"],
      "categories": {"Advertising": ["personal_ads"], "Analytics": ["analytics"]}
    }""",
    type=SignalMapping,
)
TC = replace(TcString.decode(WITH_PUBLISHER), created=TCF_2_3 - 1, last_updated=TCF_2_3 - 1, policy_version=5)


def said(signal: AnySignal) -> dict[str, str]:
    return {decision.purpose: decision.said for decision in propose(signal, MAPPING).decisions}


def test_a_tc_string_grants_refuses_and_objects() -> None:
    proposals = propose(TC, MAPPING)
    assert [(one.purpose, one.said, one.because) for one in proposals.decisions] == [
        ("analytics", "objected", "tcf.legitimate_interest.8+9"),
        ("newsletter", "granted", "tcf.consent.2+4"),
        ("personal_ads", "granted", "tcf.consent.1+3+9"),
    ]
    assert (proposals.evidence.decoder, proposals.evidence.decoder_version, proposals.evidence.raw) == ("tcf", 1, WITH_PUBLISHER)
    assert proposals.unread == ()


@pytest.mark.parametrize(
    ("changes", "ads"),
    [
        ({"consents": (1, 9)}, "refused"),
        ({"vendor_consents": Vendors.of([(8, 9)])}, "refused"),
        ({"disclosed_vendors": Vendors.of([(1, 7)])}, "granted"),
        ({"disclosed_vendors": Vendors.of([(1, 6)])}, None),
        ({"purpose_one_treatment": True}, None),
        ({"purpose_one_treatment": True, "consents": (9,)}, "refused"),
        ({"last_updated": TCF_2_3}, None),
        ({"last_updated": TCF_2_3, "consents": ()}, "refused"),
    ],
)
def test_a_grant_needs_all_of_it_and_a_refusal_little(changes: dict[str, Any], ads: str | None) -> None:
    assert said(replace(TC, **changes)).get("personal_ads") == ads


@pytest.mark.parametrize(
    ("changes", "said_of_interest"),
    [
        ({}, None),
        ({"legitimate_interests": (8,)}, "objected"),
        ({"vendor_legitimate_interests": Vendors.of([(8, 9)])}, "objected"),
        ({"disclosed_vendors": Vendors()}, None),
        ({"special_features": ()}, "objected"),
    ],
)
def test_a_legitimate_interest_stands_until_somebody_objects(changes: dict[str, Any], said_of_interest: str | None) -> None:
    rule = TcfRule(
        purpose="measuring", tcf_purposes=(8, 9), special_features=(2,), basis="legitimate_interest", whose="vendor", vendor=7
    )
    tc = replace(TC, **({"vendor_legitimate_interests": Vendors.of([(7, 7)])} | changes))
    assert {one.purpose: one.said for one in propose(tc, SignalMapping(tcf=(rule,))).decisions}.get("measuring") == said_of_interest


@pytest.mark.parametrize(("features", "location"), [((2,), "granted"), ((1,), "refused")])
def test_a_special_feature_is_opted_in_to(features: tuple[int, ...], location: str) -> None:
    rule = TcfRule(purpose="location", tcf_purposes=(1,), special_features=features, whose="anyone")
    assert [one.said for one in propose(TC, SignalMapping(tcf=(rule,))).decisions] == [location]


@pytest.mark.parametrize(
    ("kind", "vendors", "ads"),
    [
        ("not_allowed", Vendors.of([(7, 7)]), None),
        ("legitimate_interest", Vendors.of([(1, 9)]), None),
        ("consent", Vendors.of([(7, 7)]), "granted"),
        ("not_allowed", Vendors.of([(8, 8)]), "granted"),
    ],
)
def test_what_a_publisher_forbids_is_neither_granted_nor_refused(kind: Any, vendors: Vendors, ads: str | None) -> None:
    restriction = Restriction(purpose=3, kind=kind, vendors=vendors)
    assert said(replace(TC, restrictions=(restriction,))).get("personal_ads") == ads


def test_a_string_without_the_publisher_says_nothing_for_it() -> None:
    assert said(TcString.decode(OF_GPP)) == {"personal_ads": "refused"}


def test_canada_has_rules_of_its_own() -> None:
    assert said(CanadianTcString.decode(CANADIAN)) == {"personal_ads": "granted"}


@pytest.mark.parametrize(
    ("text", "decisions"),
    [
        ("DBABLA~BVVVVVVVVWA.YA", {"selling": "opted_out", "personal_ads": "opted_out", "health": "limited"}),
        ("DBABBg~BVqqqqpY.YA", {"selling": "opted_out", "personal_ads": "opted_out"}),
        ("DBABLA~CAAAAAAAAAWA.Q", {}),
        ("DBABVg~BVVVVVVg.YA", {"selling": "opted_out", "personal_ads": "opted_out", "health": "limited"}),
    ],
)
def test_a_state_opts_out_by_its_fields_and_by_gpc(text: str, decisions: dict[str, str]) -> None:
    assert text in STATES
    assert said(GppString.decode(text)) == decisions


def test_an_opt_out_in_one_section_wins_over_a_grant_in_another() -> None:
    gpp = GppString.decode(f"DBACNYA~{WITH_PUBLISHER}~1YYN")
    both = replace(gpp, sections=(TC, *gpp.sections[1:]))
    assert said(both) | {"newsletter": "granted"} == said(both)
    assert said(both)["selling"] == "opted_out"
    (state,) = GppString.decode("DBABLA~BVVVVVVVVWA.YA").sections
    assert said(replace(gpp, sections=(TC, state)))["personal_ads"] == "opted_out"


def test_what_was_not_read_is_said() -> None:
    assert propose(GppString.decode(f"DBABjw~{OF_GPP}~1YNN"), MAPPING).unread == ("tcfca: SIGNAL_VERSION_UNKNOWN",)
    assert propose(SmsReply.decode("please stop this"), MAPPING).unread == ("sms: UNCLEAR",)


@pytest.mark.parametrize(
    ("signal", "decisions"),
    [
        (UspString.decode("1YYN"), {"selling": "opted_out"}),
        (UspString.decode("1YNN"), {}),
        (GpcHeader.decode("1"), {"selling": "opted_out", "personal_ads": "opted_out"}),
        (GpcHeader.decode("0"), {}),
        (SmsReply.decode("STOP"), {"sms_offers": "withdrawn"}),
        (SmsReply.decode("start"), {"sms_offers": "opted_in"}),
        (SmsReply.decode("HELP"), {}),
        (
            CategoryPreferences.decode({"Advertising": True, "Analytics": False, "Other": True}),
            {"personal_ads": "granted", "analytics": "refused"},
        ),
    ],
    ids=["usp-out", "usp", "gpc", "no-gpc", "stop", "start", "help", "categories"],
)
def test_what_other_signals_decide(signal: AnySignal, decisions: dict[str, str]) -> None:
    assert said(signal) == decisions


RULE: dict[str, Any] = {"purpose": "ads", "tcf_purposes": (1,), "whose": "anyone"}


@pytest.mark.parametrize(
    "changes",
    [
        {"tcf_purposes": ()},
        {"tcf_purposes": (0,)},
        {"tcf_purposes": (25,)},
        {"special_features": (13,)},
        {"whose": "vendor"},
        {"whose": "vendor", "vendor": 65_536},
        {"vendor": 3},
        {"basis": "legitimate_interest"},
        {"basis": "legitimate_interest", "tcf_purposes": (2, 4)},
    ],
)
def test_a_rule_that_can_never_hold_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refused:
        TcfRule(**(RULE | changes))
    assert refused.value.reason == "SIGNAL_MAPPING_INVALID"


@pytest.mark.parametrize(
    "fields", [{"gpc": ("Personal Ads",)}, {"stop": ("ads",) * (MOST_RULES + 1)}, {"categories": {"x": ("",)}}]
)
def test_a_mapping_is_bounded_and_names_purposes(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refused:
        SignalMapping(**fields)
    assert refused.value.reason == "SIGNAL_MAPPING_INVALID"


def test_nothing_of_a_proposal_is_printed() -> None:
    proposals = propose(TC, MAPPING)
    assert (repr(proposals), repr(proposals.evidence)) == ("<Proposals sealed>", "<Evidence sealed>")
    assert repr(proposals.decisions[0]) == "<ProposedDecision sealed>"
