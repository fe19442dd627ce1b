"""Laws of whom one may ask again: nobody too early, nobody who may never be asked, and nobody who has answered."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.consent.domain.askable import asking
from services.consent.domain.asking import asked_too_early
from shared.consent_rule import DENIALS, Case, judge_point
from shared.events.consent import EVERY_PURPOSE, DecisionRecorded, KnownAge, LegalBasis, NoticeShown, Outcome, PurposeDefined
from shared.instants import DAY, years_after
from tests.properties.test_consent_merging import ALL, ANOTHER, ME, MINE, SCOPES, certainly, decided, h, likely, purpose_of
from tests.properties.test_restriction import lifted, more, restricted

BASES: st.SearchStrategy[LegalBasis] = st.sampled_from(["consent", "legitimate_interest", "contract"])
NOTICE = NoticeShown(name="terms", version=1, locale="en", sha256=b"")
DENIED_FOR_A_WHILE: list[Outcome] = ["refused", "withdrawn", "opted_out", "limited"]
PERIOD = 3  # days
POINTS = st.integers(0, 5)


def on_days(decision: DecisionRecorded) -> DecisionRecorded:
    return msgspec.structs.replace(decision, decided_at=decision.decided_at * DAY)


def a_child(by: int, grown_on_day: int, number: int = 800) -> DecisionRecorded:
    """Known to be 15, and 16 on that day at the latest."""
    age = KnownAge(under=16, at_least=15, by="desk", reason="ticket 7")
    at = years_after(grown_on_day * DAY, -1)
    known = decided("granted", at, by, number)
    return msgspec.structs.replace(known, purpose=EVERY_PURPOSE, purpose_version=0, outcome="age_known", age=age)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Anything decided on some days, of a purpose with any conditions, by whoever may be a child."""
    drawn = draw(st.lists(st.tuples(st.sampled_from(ALL), st.integers(0, 9), st.integers(0, 5), st.booleans()), max_size=8))
    decisions = [on_days(decided(what, at, by, 10 + number)) for number, (what, at, by, _) in enumerate(drawn)]
    decisions = [
        msgspec.structs.replace(one, confirmed=confirmed, confirm_by=one.decided_at + DAY, notice=NOTICE if confirmed else None)
        for one, (_, _, _, confirmed) in zip(decisions, drawn, strict=True)
    ]
    conditions = {
        "double_opt_in": draw(st.booleans()),
        "notice": draw(st.sampled_from(["", "terms"])),
        "expires_after_days": draw(st.sampled_from([0, 2])),
        "ask_again_after_days": draw(st.sampled_from([0, PERIOD])),
        "minimum_age": draw(st.sampled_from([0, 0, 0, 16])),
    }
    basis = draw(BASES)
    conditions["minors_under"] = draw(st.sampled_from([0, 16])) if basis != "contract" else 0
    purpose = msgspec.structs.replace(purpose_of(draw(st.sampled_from(SCOPES)), basis), **conditions)
    grown = draw(st.lists(st.tuples(POINTS, st.integers(0, 15)), max_size=2))
    ages = [a_child(by, day, 800 + number) for number, (by, day) in enumerate(grown)]
    joined = draw(st.sampled_from([certainly, likely]))(*decisions, *ages)
    return msgspec.structs.replace(joined, purpose=purpose, now=draw(st.integers(0, 15)) * DAY)


def at(case: Case, now: int) -> Case:
    known = [one for one in case.decisions if one.decided_at <= now]
    return msgspec.structs.replace(case, now=now, decisions=known)


def test_an_objection_by_what_is_no_contact_point_is_not_lifted_by_one_that_grants() -> None:
    """So what it denies of an account stays denied, and nobody asks there again."""
    case = certainly(*map(on_days, (decided("objected", 0, 0), decided("granted", 1, 1))), scope="contact_point")
    purpose = msgspec.structs.replace(case.purpose, ask_again_after_days=PERIOD)
    case = msgspec.structs.replace(case, purpose=purpose, now=9 * DAY)
    assert judge_point(case, h(0)).reason == "OBJECTED"
    assert asking(case, h(0)).since is None


@given(cases(), POINTS)
def test_nobody_is_asked_who_permits_it_or_whose_no_is_still_to_be_left_alone(case: Case, by: int) -> None:
    case = at(case, case.now)
    found, verdict = asking(case, h(by)), judge_point(case, h(by))
    if found.may(case.now):
        assert not verdict.permitted
        assert verdict.reason not in ("OBJECTED", "AGE_NOT_ATTESTED", "RESTRICTED", "MINOR")
        assert verdict.ask_again_at <= case.now
    if verdict.reason in DENIALS.values() and not case.purpose.ask_again_after_days:
        assert found.since is None, "nothing says when they may be asked again"


@given(cases(), POINTS, POINTS, st.booleans())
def test_nobody_is_asked_while_anything_of_whoever_they_may_be_is_restricted(case: Case, by: int, asked: int, ends: bool) -> None:
    whole = more(case, restricted(900, 0, by), *([lifted(900, 0, by)] if ends else []))
    found = asking(whole, h(asked))
    assert found == asking(case, h(asked)) if ends else (found.reason, found.since) == ("RESTRICTED", None)


@given(cases(), POINTS, POINTS)
def test_who_objected_last_is_never_asked_and_neither_is_who_may_be_the_same(case: Case, by: int, asked: int) -> None:
    objection = msgspec.structs.replace(decided("objected", 0, by, 901), decided_at=99 * DAY)
    found = asking(more(case, objection), h(asked))
    assert found.since is None
    if case.purpose.legal_basis != "contract":
        assert found.reason == "OBJECTED"


@given(cases(), POINTS)
def test_who_may_be_asked_may_be_until_they_decide_something(case: Case, by: int) -> None:
    case = at(case, case.now)
    found = asking(case, h(by))
    if found.since is not None:
        first = max(found.since, case.now)
        for later in (first, first + DAY, first + 99 * DAY):
            again = asking(msgspec.structs.replace(case, now=later), h(by))
            assert again.may(later), again
    if found.since is not None and found.since > case.now:
        assert not asking(msgspec.structs.replace(case, now=found.since - 1), h(by)).may(found.since - 1)


@given(cases(), POINTS, st.booleans())
def test_who_answers_once_they_may_be_asked_was_not_asked_too_early(case: Case, by: int, shown: bool) -> None:
    """Where each identifier is decided about by itself: what another of the same person said doesn't stand in between."""
    case = at(case, case.now)
    if case.purpose.scope == "person":
        own = [one for one in case.decisions if one.identifier_hash == h(by)]
        case = msgspec.structs.replace(case, decisions=own)
    found = asking(case, h(by))
    if found.may(case.now):
        answer = msgspec.structs.replace(decided("refused", 0, by, 902), decided_at=case.now, notice=NOTICE if shown else None)
        theirs = [one for one in case.decisions if one.identifier_hash == h(by)]
        early = asked_too_early([*theirs, answer], {case.purpose.version: case.purpose.ask_again_after_days})
        assert answer.decision_id not in early


@given(cases(), POINTS, st.data())
def test_neither_order_nor_repetition_matters(case: Case, by: int, data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(list(case.decisions)))
    again = data.draw(st.lists(st.sampled_from(shuffled), max_size=4)) if shuffled else []
    assert asking(msgspec.structs.replace(case, decisions=[*shuffled, *again]), h(by)) == asking(case, h(by))


# Each reason.


def a_case(*decisions: DecisionRecorded, now: int = 9, **conditions: object) -> Case:
    purpose = msgspec.structs.replace(purpose_of(), **conditions)
    return msgspec.structs.replace(certainly(*map(on_days, decisions)), purpose=purpose, now=now * DAY)


def test_who_never_said_anything_may_always_be_asked() -> None:
    assert (asking(a_case(), h(ME)).reason, asking(a_case(), h(ME)).since) == ("CONSENT_MISSING", 0)
    nobody_is: PurposeDefined = purpose_of(basis="legitimate_interest")
    assert asking(msgspec.structs.replace(a_case(), purpose=nobody_is), h(ME)).since is None


@pytest.mark.parametrize("outcome", DENIED_FOR_A_WHILE)
def test_who_denied_may_be_asked_once_the_purposes_period_is_over(outcome: Outcome) -> None:
    denied = decided(outcome, 2)
    found = asking(a_case(denied, ask_again_after_days=PERIOD), h(ME))
    assert (found.reason, found.since) == (DENIALS[outcome], 5 * DAY)
    assert asking(a_case(denied), h(ME)).since is None
    last = asking(a_case(decided("objected", 1, MINE), denied, ask_again_after_days=PERIOD), h(ME))
    assert (last.reason, last.since) == ("OBJECTED", None), "that they said another no since takes nothing back"


def test_what_ran_out_went_stale_or_lapsed_is_asked_for_anew() -> None:
    granted = decided("granted", 2)
    expired = asking(a_case(granted, expires_after_days=3), h(ME))
    assert (expired.reason, expired.since) == ("CONSENT_EXPIRED", 5 * DAY)
    stale = asking(a_case(granted, notice="terms", notice_version=2, in_force_at=4 * DAY), h(ME))
    assert (stale.reason, stale.since) == ("CONSENT_STALE", 4 * DAY)
    waits = msgspec.structs.replace(granted, confirm_by=6 * DAY)
    pending, lapsed = (asking(a_case(waits, now=now, double_opt_in=True), h(ME)) for now in (4, 9))
    assert (pending.reason, pending.may(4 * DAY)) == ("CONSENT_UNCONFIRMED", False)
    assert (lapsed.reason, lapsed.since, pending.since) == ("CONSENT_LAPSED", 6 * DAY + 1, 6 * DAY + 1)
    assert asking(a_case(granted, minimum_age=16), h(ME)).since is None, "they may be a minor"


def test_a_conflict_is_asked_about_when_who_denied_may_be_asked_again_and_never_against_an_objection() -> None:
    account, device = 0, 3
    refused, granted = decided("refused", 1, account), decided("granted", 2, device)
    found = asking(a_case(refused, granted), h(ME))
    assert (found.reason, found.since) == ("CONSENT_CONFLICT", 2 * DAY)
    assert found.decision_ids == {refused.decision_id, granted.decision_id}
    assert asking(a_case(refused, granted, ask_again_after_days=PERIOD), h(ME)).since == 4 * DAY
    objected = asking(a_case(decided("objected", 1, account), granted), h(ME))
    assert (objected.reason, objected.since) == ("OBJECTED", None)


def test_who_is_only_likely_the_same_may_be_so_their_no_is_left_alone_too() -> None:
    case = msgspec.structs.replace(likely(on_days(decided("refused", 8, ANOTHER))), now=9 * DAY)
    purpose = msgspec.structs.replace(case.purpose, ask_again_after_days=PERIOD)
    found = asking(msgspec.structs.replace(case, purpose=purpose), h(ME))
    assert (found.reason, found.since) == ("CONSENT_MISSING", 11 * DAY)
    assert asking(case, h(ME)).since == 0, "they never decided, and nothing says for how long another isn't to be asked"


def test_at_each_address_it_is_asked_by_itself_where_each_is_decided_about_by_itself() -> None:
    case = msgspec.structs.replace(certainly(on_days(decided("withdrawn", 2, ME)), scope="contact_point"), now=3 * DAY)
    assert asking(case, h(ME)).since is None
    assert (asking(case, h(MINE)).reason, asking(case, h(MINE)).since) == ("CONSENT_MISSING", 0)


def test_a_child_is_asked_once_they_are_none_even_if_they_granted_it() -> None:
    child, granted = a_child(MINE, 9), on_days(decided("granted", 2))
    for decisions in ([child], [child, granted]):
        case = msgspec.structs.replace(certainly(*decisions), purpose=msgspec.structs.replace(purpose_of(), minors_under=16))
        young, grown = (asking(at(case, day * DAY), h(ME)) for day in (8, 9))
        assert (young.reason, young.since, young.decision_ids) == ("MINOR", 9 * DAY, frozenset({child.decision_id}))
        assert (grown.may(9 * DAY), grown.reason) == (True, "CONSENT_MISSING" if len(decisions) == 1 else "GRANTED_BY_MINOR")
    attested = msgspec.structs.replace(case, now=9 * DAY, purpose=msgspec.structs.replace(purpose_of(), minimum_age=16))
    assert asking(attested, h(ME)).may(9 * DAY), "that nobody attested it of them as a child is no reason any more"
    wrong = a_child(MINE, 20, 801)
    right = msgspec.structs.replace(child, age=msgspec.structs.replace(child.age, corrects=wrong.decision_id))  # type: ignore[type-var]
    corrected = msgspec.structs.replace(case, now=9 * DAY, decisions=[wrong, right, granted])
    assert asking(corrected, h(ME)).may(9 * DAY)
    denied = more(case, on_days(decided("withdrawn", 3)))
    assert asking(at(denied, 8 * DAY), h(ME)).since is None, "they said no, and nothing says when they may be asked again"
    by_default = msgspec.structs.replace(case.purpose, legal_basis="legitimate_interest")
    assert asking(msgspec.structs.replace(at(case, 8 * DAY), purpose=by_default), h(ME)).since is None, "it is permitted then"


def test_what_a_child_granted_takes_no_objection_back() -> None:
    decisions = [on_days(decided("objected", 1)), on_days(decided("granted", 2, number=902)), a_child(ME, 9)]
    case = msgspec.structs.replace(certainly(*decisions), purpose=msgspec.structs.replace(purpose_of(), minors_under=16))
    for day in (8, 12):
        assert (asking(at(case, day * DAY), h(ME)).reason, asking(at(case, day * DAY), h(ME)).since) == ("OBJECTED", None)
