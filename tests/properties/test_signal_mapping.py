"""Laws of what a signal proposes: who says no anywhere is never said to have granted."""

from typing import Any, Literal, get_args

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from services.consent.domain.signals.bits import Vendors
from services.consent.domain.signals.gpp import GppString
from services.consent.domain.signals.mapping import DENIALS, Said, SignalMapping, TcfRule, UsField
from services.consent.domain.signals.plain import CategoryPreferences, GpcHeader, SmsReply, UspString
from services.consent.domain.signals.proposing import SAID_BY_YES, AnySignal, propose
from services.consent.domain.signals.tcf import TcString
from services.consent.domain.signals.tcf_policy import TCF_2_3, defects
from services.consent.domain.signals.us_sections import UsSection
from tests.properties.tc_strings import written

PURPOSES = st.sampled_from(["ads", "analytics", "newsletter"])
SOME = st.lists(PURPOSES, max_size=2).map(tuple)
FIELDS: list[UsField] = list(get_args(UsField))
GRANTS: set[Said] = {"granted", "opted_in"}


@st.composite
def rules(draw: st.DrawFn) -> TcfRule:
    basis: Literal["consent", "legitimate_interest"] = draw(st.sampled_from(["consent", "legitimate_interest"]))
    whose: Literal["publisher", "vendor", "anyone"] = draw(st.sampled_from(["publisher", "vendor", "anyone"]))
    asked = [1, 2, 3] if basis == "consent" else [2, 7]
    return TcfRule(
        purpose=draw(PURPOSES),
        tcf_purposes=draw(st.lists(st.sampled_from(asked), min_size=1, max_size=2, unique=True).map(tuple)),
        special_features=draw(st.sampled_from([(), (1,)])),
        basis=basis,
        whose=whose,
        vendor=draw(st.integers(1, 5)) if whose == "vendor" else 0,
    )


MAPPINGS = st.builds(
    SignalMapping,
    tcf=st.lists(rules(), max_size=4).map(tuple),
    us=st.dictionaries(st.sampled_from(FIELDS), SOME),
    gpc=SOME,
    stop=SOME,
    start=SOME,
    categories=st.dictionaries(st.sampled_from(["Advertising", "Analytics"]), SOME),
)
VENDORS = st.sets(st.integers(1, 5)).map(lambda ids: Vendors.of((one, one) for one in ids))
IDS = st.sets(st.integers(1, 8)).map(sorted).map(tuple)
TWO_BITS = st.integers(0, 2)


@st.composite
def tc_strings(draw: st.DrawFn) -> TcString:
    """Of today and as the policies want them, with choices near those that the rules ask for."""
    tc = TcString.decode(draw(written())[0])
    return replace(
        tc,
        created=TCF_2_3,
        last_updated=TCF_2_3,
        policy_version=5,
        service_specific=draw(st.booleans() | st.just(True)),
        special_features=draw(st.sampled_from([(), (1,)])),
        consents=draw(IDS),
        legitimate_interests=draw(IDS),
        vendor_consents=draw(VENDORS),
        vendor_legitimate_interests=draw(VENDORS),
        disclosed_vendors=draw(VENDORS | st.just(Vendors.of([(1, 5)]))),
    )


SECTIONS = st.builds(
    lambda gpc, fields: UsSection(raw="", id=7, name="usnat", version=1, gpc=gpc, **fields),
    st.none() | st.booleans(),
    st.fixed_dictionaries(
        {field: st.tuples(TWO_BITS, TWO_BITS) if field in FIELDS[3:5] else st.none() | TWO_BITS for field in FIELDS}
    ),
)
SIGNALS: st.SearchStrategy[AnySignal] = st.one_of(
    tc_strings(),
    SECTIONS,
    st.builds(lambda tc, state: GppString(raw="", ids=(2, 7), sections=(tc, state)), tc_strings(), SECTIONS),
    st.sampled_from(["1YYN", "1YNN", "1---"]).map(UspString.decode),
    st.sampled_from(["1", "0"]).map(GpcHeader.decode),
    st.sampled_from(["stop", "start", "help", "stop it"]).map(SmsReply.decode),
    st.dictionaries(st.sampled_from(["Advertising", "Analytics", "Other"]), st.booleans()).map(CategoryPreferences.decode),
)


def denied_by(signal: Any, mapping: SignalMapping) -> set[str]:
    """The purposes that the signal says no to, told without the code that is tested; TCF's own are in another law."""
    told: list[tuple[str, ...]] = []
    match signal:
        case GppString():
            told = [tuple(denied_by(section, mapping)) for section in signal.sections]
        case UsSection():
            values = {field: getattr(signal, field) for field in FIELDS}
            told = [
                mapping.us.get(field, ()) for field, value in values.items() if value in {1, (1, 0), (1, 1), (1, 2), (0, 1), (2, 1)}
            ]
            told += [mapping.gpc] if signal.gpc else []
        case UspString(sale_opt_out="Y"):
            told = [mapping.us.get("sale_opt_out", ())]
        case GpcHeader(opted_out=True):
            told = [mapping.gpc]
        case SmsReply(word="stop"):
            told = [mapping.stop]
        case CategoryPreferences():
            told = [mapping.categories.get(category.name, ()) for category in signal.categories if not category.consented]
    return {purpose for purposes in told for purpose in purposes}


@given(SIGNALS, MAPPINGS)
def test_who_says_no_anywhere_has_not_granted(signal: AnySignal, mapping: SignalMapping) -> None:
    denials = {decision.purpose for decision in propose(signal, mapping).decisions if decision.said in DENIALS}
    assert denied_by(signal, mapping) <= denials


@given(SIGNALS, MAPPINGS, st.randoms(use_true_random=False))
def test_the_order_of_rules_does_not_matter(signal: AnySignal, mapping: SignalMapping, random: Any) -> None:
    shuffled = replace(
        mapping,
        tcf=tuple(random.sample(mapping.tcf, len(mapping.tcf))),
        us=dict(random.sample(list(mapping.us.items()), len(mapping.us))),
    )
    proposals = propose(signal, mapping)
    assert propose(signal, shuffled) == proposals
    assert [decision.purpose for decision in proposals.decisions] == sorted({decision.purpose for decision in proposals.decisions})
    assert (proposals.evidence.raw, proposals.evidence.decoder) == (signal.raw, signal.decoder)


@given(tc_strings(), MAPPINGS)
def test_what_is_taken_from_a_string_grants_nothing(tc: TcString, mapping: SignalMapping) -> None:
    granted = {one.purpose for one in propose(tc, mapping).decisions if one.said in GRANTS}
    without = replace(tc, consents=tc.consents[1:], vendor_consents=Vendors.of(tc.vendor_consents.ranges[1:]))
    assert {one.purpose for one in propose(without, mapping).decisions if one.said in GRANTS} <= granted


@given(tc_strings(), MAPPINGS)
def test_a_string_that_lacks_something_grants_nothing(tc: TcString, mapping: SignalMapping) -> None:
    broken = replace(tc, disclosed_vendors=None)
    assert "VENDORS_NOT_DISCLOSED" in defects(broken)
    proposals = propose(broken, mapping)
    assert not [one for one in proposals.decisions if one.said in GRANTS]
    assert "tcf: VENDORS_NOT_DISCLOSED" in proposals.unread


@given(tc_strings(), rules())
def test_a_grant_is_written_in_the_string(tc: TcString, rule: TcfRule) -> None:
    """What one rule gives, told by the specification's words."""
    (*decisions,) = propose(tc, SignalMapping(tcf=(rule,))).decisions
    of_publisher = rule.whose == "publisher"
    consents = (tc.publisher.consents if tc.publisher else ()) if of_publisher else tc.consents
    everything = {
        *((purpose in consents) for purpose in rule.tcf_purposes),
        *((feature in tc.special_features) for feature in rule.special_features),
        rule.whose != "vendor" or (rule.vendor in tc.vendor_consents and rule.vendor in (tc.disclosed_vendors or Vendors())),
        rule.basis == "consent",
        tc.service_specific,
    }
    if [one for one in decisions if one.said == "granted"]:
        assert everything == {True}
    elif everything == {True}:
        assert tc.purpose_one_treatment or tc.restrictions


def test_every_field_has_its_meaning() -> None:
    assert list(SAID_BY_YES) == FIELDS
    assert set(SAID_BY_YES.values()) <= set(DENIALS)
