"""Laws of those who are known to be children: of whoever it may be, until they can't be one any more, and whatever they granted themselves."""

from datetime import date

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.consent_conditions import GRANTS
from shared.consent_overlays import known_ages, valid_from
from shared.consent_rule import Bond, Case, judge, judge_point, outlives_erasure, outlives_parting
from shared.events.consent import (
    EVERY_PURPOSE,
    DecisionRecorded,
    KnownAge,
    LegalBasis,
    Outcome,
    ParentalAuthorisation,
    PurposeDefined,
)
from shared.instants import DAY, EPOCH, years_after
from tests.properties.test_consent_merging import (
    ALL,
    ANOTHER,
    ASKED,
    LIKELY,
    ME,
    MINE,
    SCOPES,
    certainly,
    decided,
    h,
    likely,
    purpose_of,
)
from tests.properties.test_restriction import all_verdicts, more, restricted

BASES: st.SearchStrategy[LegalBasis] = st.sampled_from(["consent", "legitimate_interest"])
BY, WHY = "desk", "ticket 7"
IDENTIFIERS, AGES, YEARS = st.integers(0, 5), st.integers(1, 20), st.integers(0, 40)


def authorised(guardian: int) -> ParentalAuthorisation:
    return ParentalAuthorisation(guardian_hash=h(guardian), verified_by="signed form")


PARENT = authorised(77)  # nobody who is judged


def year(number: int) -> int:
    return years_after(0, number)


def known(number: int, at: int, under: int, at_least: int = 0, by: int = ME, corrects: int | None = None) -> DecisionRecorded:
    """In years since 1970. Younger than none: what it corrects is taken back."""
    made = decided("granted", year(at), by, 300 + number)
    said = KnownAge(under=under, at_least=at_least, corrects=b"" if corrects is None else h(300 + corrects), by=BY, reason=WHY)
    outcome: Outcome = "age_known" if under else "age_taken_back"
    return msgspec.structs.replace(made, purpose=EVERY_PURPOSE, purpose_version=0, outcome=outcome, age=said)


def taken_back(wrong: bytes) -> KnownAge:
    return KnownAge(corrects=wrong, by=BY, reason=WHY)


def choice(
    outcome: Outcome, at: int, by: int = ME, number: int = 900, *, parent: ParentalAuthorisation | None = None, attested: int = 0
) -> DecisionRecorded:
    made = decided(outcome, year(at), by, number)
    grants = outcome in GRANTS
    return msgspec.structs.replace(made, authorised=parent if grants else None, attested_age=attested if grants else 0)


@st.composite
def histories(draw: st.DrawFn, parents: bool = True) -> list[DecisionRecorded]:
    guardians = st.sampled_from([None, 77, 77, ME, ANOTHER]) if parents else st.none()
    drawn = draw(st.lists(st.tuples(st.sampled_from(ALL), YEARS, IDENTIFIERS, guardians, st.integers(0, 20)), max_size=7))
    return [
        choice(outcome, at, by, number, parent=authorised(parent) if parent else None, attested=attested)
        for number, (outcome, at, by, parent, attested) in enumerate(drawn, 1)
    ]


@st.composite
def facts(draw: st.DrawFn, most: int = 3) -> list[DecisionRecorded]:
    """What was said of ages, also what corrects what was said before."""
    found = list[DecisionRecorded]()
    for number in range(draw(st.integers(0, most))):
        under = draw(AGES)
        corrects = draw(st.none() | st.integers(0, number - 1)) if number else None
        under = draw(st.sampled_from([under, 0])) if corrects is not None else under
        at_least = draw(st.integers(0, under - 1)) if under else 0
        found.append(known(number, draw(YEARS), under, at_least, draw(IDENTIFIERS), corrects))
    return found


@st.composite
def cases(draw: st.DrawFn, parents: bool = True, now: int = 40) -> Case:
    """Anything decided by anybody, with identifiers that are theirs, may be theirs, or turned out to be shared."""
    joined = draw(st.sampled_from([certainly, likely]))
    case = joined(*draw(histories(parents)), scope=draw(st.sampled_from(SCOPES)), basis=draw(BASES))
    bonds = {**case.bonds, **{h(by): Bond(theirs=False, core=ASKED) for by in draw(st.sets(IDENTIFIERS, max_size=2))}}
    return msgspec.structs.replace(case, purpose=asking(case.purpose, draw(AGES)), now=year(now), bonds=bonds)


def asking(purpose: PurposeDefined, under: int, opt_in_from: int = 0) -> PurposeDefined:
    return msgspec.structs.replace(purpose, minors_under=under, minors_opt_in_from=opt_in_from)


def at_year(case: Case, number: int) -> Case:
    """By what had been decided by then."""
    return msgspec.structs.replace(case, now=year(number), decisions=[d for d in case.decisions if d.decided_at <= year(number)])


@given(cases(parents=False), IDENTIFIERS, YEARS, st.data())
def test_of_a_child_nothing_is_permitted_by_whichever_identifier_and_however_that_is_theirs(
    case: Case, by: int, at: int, data: st.DataObject
) -> None:
    """Until time alone makes them old enough, which every verdict tells."""
    years = case.purpose.minors_under
    under = data.draw(st.integers(1, years))
    at_least = data.draw(st.integers(0, under - 1))
    fact, grown = known(0, at, under, at_least, by), at + years - at_least
    for verdict in all_verdicts(at_year(more(case, fact), data.draw(st.integers(at, grown - 1)))):
        assert (verdict.permitted, verdict.reason, verdict.state) == (False, "MINOR", "MINOR")
        assert (verdict.decision_id, verdict.until) == (fact.decision_id, year(grown))
    assert "MINOR" not in {one.reason for one in all_verdicts(at_year(more(case, fact), grown))}


@given(cases(), facts())
def test_what_is_known_of_an_age_permits_nothing(case: Case, ages: list[DecisionRecorded]) -> None:
    for verdict, without in zip(all_verdicts(more(case, *ages)), all_verdicts(case), strict=True):
        assert without.permitted or not verdict.permitted


@given(cases(), facts(), st.data())
def test_neither_the_order_nor_repetition_matters(case: Case, ages: list[DecisionRecorded], data: st.DataObject) -> None:
    case = more(case, *ages)
    shuffled = data.draw(st.permutations(list(case.decisions)))
    again = data.draw(st.lists(st.sampled_from(shuffled), max_size=5)) if shuffled else []
    assert all_verdicts(msgspec.structs.replace(case, decisions=[*shuffled, *again])) == all_verdicts(case)


@given(cases(), facts(), st.data())
def test_what_was_taken_back_might_as_well_not_have_been_said(
    case: Case, ages: list[DecisionRecorded], data: st.DataObject
) -> None:
    """What it had corrected stays so: it is taken back too."""
    standing = known_ages(ages)
    if not standing:
        return
    wrong = data.draw(st.sampled_from(standing))
    left = [one for one in ages if one is not wrong]
    if wrong.age and wrong.age.corrects:
        left.append(msgspec.structs.replace(wrong, outcome="age_taken_back", age=taken_back(wrong.age.corrects)))
    ended = msgspec.structs.replace(known(9, 40, 1), outcome="age_taken_back", age=taken_back(wrong.decision_id))
    assert all_verdicts(more(case, *ages, ended)) == all_verdicts(more(case, *left))


@given(cases(), AGES, AGES, YEARS, YEARS, YEARS)
def test_what_corrects_an_age_was_so_ever_since_that_was_said_to_be(
    case: Case, wrong: int, right: int, said: int, corrected: int, at: int
) -> None:
    first, then = known(0, said, wrong, wrong - 1), known(1, corrected, right, right - 1, corrects=0)
    assert then.age
    then = msgspec.structs.replace(then, age=msgspec.structs.replace(then.age, holds_from=valid_from(first)))
    known_by_then = [one for one in (first, then) if valid_from(one) <= year(at)]
    alone = [then] if min(said, corrected) <= at else []
    assert all_verdicts(more(at_year(case, at), *known_by_then)) == all_verdicts(more(at_year(case, at), *alone))


@given(cases(), facts(), AGES, YEARS)
def test_of_two_that_differ_both_hold(case: Case, ages: list[DecisionRecorded], under: int, at: int) -> None:
    """Whoever is said to be a child isn't made older by what is said besides, but only by what corrects it."""
    case = more(case, known(20, at, under, under - 1))
    beside = [one for one in ages if one.age and not one.age.corrects]
    for verdict, without in zip(all_verdicts(more(case, *beside)), all_verdicts(case), strict=True):
        assert without.permitted or not verdict.permitted


@given(st.data(), BASES, st.dates(date(1990, 1, 1), date(2020, 12, 31)))
def test_whoever_was_born_when_nothing_is_permitted_while_they_are_too_young_and_no_grant_of_then_ever_counts(
    data: st.DataObject, basis: LegalBasis, born: date
) -> None:
    """Against a calendar: ages are counted by birthdays, those of 29 February on 1 March."""
    birth = (born - EPOCH.date()).days * DAY
    years = data.draw(st.integers(1, 18))
    at = data.draw(st.integers(birth, years_after(birth, years) - 1))
    age = max(age for age in range(years) if years_after(birth, age) <= at)
    said = KnownAge(under=data.draw(st.integers(age + 1, years)), at_least=data.draw(st.integers(0, age)), by=BY, reason=WHY)
    fact = msgspec.structs.replace(known(0, 0, 1), decided_at=at, age=said)
    granted_at = data.draw(st.integers(birth, years_after(birth, 2 * years)))
    grant = msgspec.structs.replace(choice("granted" if basis == "consent" else "opted_in", 0), decided_at=granted_at)
    now = data.draw(st.integers(max(at, granted_at), years_after(birth, 3 * years)))
    verdict = judge(Case(asking(purpose_of(basis=basis), years), [fact, grant], now))
    if now < years_after(birth, years):
        assert verdict.reason == "MINOR"
    if granted_at < years_after(birth, years):
        assert verdict.decision_id != grant.decision_id


def test_who_grows_up_has_to_be_asked_anew_where_consent_is_asked_for() -> None:
    """By time alone: 12 in 1990, so 16 in 1994 at the latest."""
    case = msgspec.structs.replace(certainly(choice("granted", 19), known(0, 20, 13, 12)), purpose=asking(purpose_of(), 16))
    first = judge(at_year(case, 23), ASKED)
    assert (first.reason, first.until) == ("MINOR", year(24))
    grown = judge(at_year(case, 24), ASKED)
    assert (grown.permitted, grown.reason, grown.state) == (False, "GRANTED_BY_MINOR", "INVALIDATED")
    assert grown.decision_id == h(300)
    assert judge(at_year(more(case, choice("granted", 24, number=901)), 24), ASKED).state == "GRANTED"


def test_what_needs_no_consent_is_permitted_by_default_once_they_are_grown_up() -> None:
    purpose = asking(purpose_of(basis="legitimate_interest"), 16)
    case = msgspec.structs.replace(certainly(known(0, 20, 13, 12)), purpose=purpose)
    assert [judge(at_year(case, number), ASKED).reason for number in (23, 24)] == ["MINOR", "LEGITIMATE_INTEREST"]
    objected = more(case, choice("opted_out", 21))
    assert [judge(at_year(objected, number), ASKED).reason for number in (23, 24)] == ["MINOR", "OPTED_OUT"]


@given(BASES, st.sampled_from(SCOPES), st.sampled_from([ME, MINE]), st.booleans())
def test_what_a_parent_authorised_counts_before_and_after_and_is_taken_back_like_any_other(
    basis: LegalBasis, scope: str, by: int, grown: bool
) -> None:
    grants: Outcome = "granted" if basis == "consent" else "opted_in"
    purpose = asking(purpose_of(scope, basis), 16)  # type: ignore[arg-type]
    case = msgspec.structs.replace(certainly(known(0, 20, 13, 12), choice(grants, 21, by, parent=PARENT)), purpose=purpose)
    case = at_year(case, 30 if grown else 22)
    assert judge_point(case, h(by)).reason == GRANTS[grants]
    withdrawn = judge_point(more(case, choice("withdrawn", 22, by, 901)), h(by))
    assert not withdrawn.permitted
    assert (withdrawn.reason, withdrawn.against) == (("CONSENT_WITHDRAWN", b"") if grown else ("MINOR", h(901)))


@pytest.mark.parametrize(
    ("under", "at_least", "attested", "permitted"),
    [
        (16, 13, 13, True),  # by themselves (CCPA: 13 to 15)
        (16, 13, 0, False),  # nobody attested that they are 13
        (13, 0, 13, False),  # whoever attests it is wrong
        (16, 0, 13, True),
    ],
)
def test_from_an_age_on_a_minor_may_opt_in_alone(under: int, at_least: int, attested: int, permitted: bool) -> None:
    purpose = asking(purpose_of(basis="legitimate_interest"), 16, 13)
    opted_in = choice("opted_in", 21, attested=attested)
    case = msgspec.structs.replace(certainly(known(0, 20, under, at_least), opted_in), purpose=purpose)
    assert judge(at_year(case, 22), ASKED).permitted == permitted


@given(cases(), facts())
def test_a_purpose_that_asks_for_no_age_is_judged_as_if_nothing_were_known_of_it(case: Case, ages: list[DecisionRecorded]) -> None:
    case = msgspec.structs.replace(case, purpose=asking(case.purpose, 0))
    assert all_verdicts(more(case, *ages)) == all_verdicts(case)


@given(cases(), facts(), YEARS)
def test_who_has_to_be_attested_an_age_is_a_minor_below_it(case: Case, ages: list[DecisionRecorded], now: int) -> None:
    years = case.purpose.minors_under
    attested = [d for d in case.decisions if d.outcome not in GRANTS or d.authorised == PARENT or d.attested_age >= years]
    case = at_year(msgspec.structs.replace(case, decisions=[*attested, *ages]), now)
    purpose = msgspec.structs.replace(case.purpose, minors_under=0, minimum_age=years)
    assert all_verdicts(msgspec.structs.replace(case, purpose=purpose)) == all_verdicts(case)


@given(cases(), facts(), YEARS, st.integers(0, 9))
def test_until_a_verdict_says_time_changes_nothing(case: Case, ages: list[DecisionRecorded], now: int, later: int) -> None:
    case = at_year(more(case, *ages), now)
    after = all_verdicts(at_year(case, now + later))
    for before, then in zip(all_verdicts(case), after, strict=True):
        assert before == then or year(now + later) >= before.until


@given(cases(), st.sets(IDENTIFIERS), IDENTIFIERS)
def test_after_a_split_only_the_side_that_has_the_identifier_is_a_childs(case: Case, side: set[int], by: int) -> None:
    """Each side as it would be had they never been one."""
    whole = at_year(more(case, known(0, 39, 1, by=by)), 39)
    bonds = {h(one): case.bonds[h(one)] for one in side}
    theirs = [one for one in whole.decisions if one.identifier_hash in bonds]
    alone = [one for one in theirs if not one.age]
    found = judge(msgspec.structs.replace(whole, bonds=bonds, decisions=theirs), ASKED)
    if by not in side:
        assert found == judge(msgspec.structs.replace(whole, bonds=bonds, decisions=alone), ASKED)
    else:
        assert found.permitted or found.reason == "MINOR"


def test_it_crosses_a_match_either_way_and_an_identifier_that_was_shared() -> None:
    for by in (ME, ANOTHER):
        case = msgspec.structs.replace(likely(known(0, 0, 16, by=by), choice("granted", 0)), purpose=asking(purpose_of(), 16))
        assert [judge(case, core).reason for core in (ASKED, LIKELY)] == ["MINOR"] * 2
        shared = msgspec.structs.replace(case, bonds={**case.bonds, h(by): Bond(theirs=False, core=case.bonds[h(by)].core)})
        assert judge(shared, ASKED).reason == "MINOR"


def test_it_and_its_correction_outlive_an_erasure_and_a_parting() -> None:
    for one in (known(0, 1, 16), known(1, 1, 0, corrects=0)):
        assert outlives_erasure(one, year(40))
        assert outlives_parting(one)


def test_a_correction_is_corrected_by_another() -> None:
    log = [known(0, 1, 16), known(1, 2, 13, 12, corrects=0), known(2, 3, 0, corrects=1)]
    assert [one.decision_id for one in known_ages(log[:2])] == [h(301)]
    assert known_ages(log) == []


def test_a_restriction_is_told_first() -> None:
    case = msgspec.structs.replace(certainly(known(0, 0, 16), restricted(0)), purpose=asking(purpose_of(), 16))
    assert judge(case, ASKED).reason == "RESTRICTED"
