"""Laws of who authorises for a child: somebody else, by who is one with whom at that moment, and no child, by what is known of them by then."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.consent.domain.askable import asking as may_be_asked
from services.consent.domain.explaining import role
from services.consent.domain.guardians import Ward, told_of_guardian, wards
from shared.consent_conditions import GRANTS
from shared.consent_overlays import is_younger, known_ages
from shared.consent_rule import Bond, Case, judge
from shared.events.consent import DecisionRecorded
from tests.properties.test_consent_merging import ASKED, ME, certainly, h, purpose_of
from tests.properties.test_minors import IDENTIFIERS, PARENT, YEARS, asking, authorised, cases, choice, facts, known, year
from tests.properties.test_restriction import all_verdicts, more


@given(cases(), facts(), st.booleans())
def test_nobody_is_responsible_for_themselves_nor_for_who_may_be_they(
    case: Case, ages: list[DecisionRecorded], attested: bool
) -> None:
    """Also where the identifier turned out to be shared: whoever has it may be the child."""
    if attested:
        case = msgspec.structs.replace(case, purpose=msgspec.structs.replace(case.purpose, minimum_age=case.purpose.minors_under))
    case = more(case, *ages)
    alone = [one if one.authorised in (None, PARENT) else msgspec.structs.replace(one, authorised=None) for one in case.decisions]
    assert all_verdicts(case) == all_verdicts(msgspec.structs.replace(case, decisions=alone))


def one_with(start: int, joins: set[tuple[int, int]]) -> set[int]:
    """A model: whom a chain of joins leads to."""
    found = {start}
    for _ in range(6):
        found |= {end for pair in joins if found & {*pair} for end in pair}
    return found


@given(st.sets(st.tuples(IDENTIFIERS, IDENTIFIERS), max_size=8), st.data(), IDENTIFIERS, st.sampled_from([16, 0]), st.booleans())
def test_whose_authorisation_counts_is_told_by_who_is_one_now_whatever_was_joined_or_parted_before(
    joined: set[tuple[int, int]], data: st.DataObject, guardian: int, minimum: int, aged: bool
) -> None:
    """Counts it exactly while nothing joins guardian and child; a merge ends that and its split gives it back."""
    purpose = msgspec.structs.replace(asking(purpose_of(), 16), minimum_age=minimum)
    granted = choice("granted", 21, ME, parent=authorised(guardian))
    said = [known(0, 20, 13, 12)] if aged else []
    parted = data.draw(st.sets(st.sampled_from(sorted(joined)))) if joined else set()
    for joins in (joined - parted, joined, joined - parted):
        theirs = one_with(ME, joins)
        decisions = data.draw(st.permutations([granted, *said]))
        verdict = judge(Case(purpose, decisions, year(22), {h(one): Bond() for one in theirs}))
        assert verdict.permitted == (guardian not in theirs or not (aged or minimum))
        if not verdict.permitted:
            assert verdict.reason == ("MINOR" if aged else "AGE_NOT_ATTESTED")


def test_it_is_explained_as_a_grant_of_the_childs_own_and_they_are_asked_once_grown() -> None:
    for guardian, reason, told in ((77, "CONSENT_GRANTED", "DECIDES"), (ME, "MINOR", "GRANTED_BY_MINOR")):
        granted = choice("granted", 21, parent=authorised(guardian))
        case = certainly(granted, known(0, 20, 13, 12))
        case = msgspec.structs.replace(case, purpose=asking(purpose_of(), 16), now=year(22))
        verdict = judge(case, ASKED)
        assert (verdict.reason, role(case, verdict, granted, erased=False)) == (reason, told)
        assert may_be_asked(case, h(ME)).since == (None if guardian == 77 else year(24))


def told(decisions: list[DecisionRecorded], ages: list[DecisionRecorded]) -> list[DecisionRecorded]:
    """What these ages of a guardian say of everybody for whom somebody authorised something."""
    return [told_of_guardian(age, ward) for ward in sorted(wards(decisions)) for age in ages]


@given(cases(), facts(), facts(), st.data())
def test_what_a_child_authorised_is_as_if_nobody_had_however_late_and_in_whatever_order_it_is_learnt(
    case: Case, ages: list[DecisionRecorded], of_guardian: list[DecisionRecorded], data: st.DataObject
) -> None:
    """By the very ages that nobody corrected, whoever is asked about, and whatever is known of their own age."""
    years = case.purpose.minors_under
    case = more(case, *ages)
    standing = known_ages(of_guardian)
    alone = [
        msgspec.structs.replace(one, authorised=None)
        if one.authorised and standing and is_younger(standing, years, one.decided_at)
        else one
        for one in case.decisions
    ]
    learnt = told(list(case.decisions), of_guardian)
    again = data.draw(st.lists(st.sampled_from(learnt), max_size=3)) if learnt else []
    shuffled = data.draw(st.permutations([*case.decisions, *learnt, *again]))
    expected = all_verdicts(msgspec.structs.replace(case, decisions=alone))
    assert all_verdicts(msgspec.structs.replace(case, decisions=shuffled)) == expected


@given(cases(), facts())
def test_how_old_a_guardian_is_says_nothing_of_the_child_and_permits_nothing(
    case: Case, of_guardian: list[DecisionRecorded]
) -> None:
    learnt = told([one for one in case.decisions if one.outcome in GRANTS], of_guardian)
    for verdict, without in zip(all_verdicts(more(case, *learnt)), all_verdicts(case), strict=True):
        assert without.permitted or not verdict.permitted
    own = msgspec.structs.replace(case, decisions=[msgspec.structs.replace(one, authorised=None) for one in case.decisions])
    assert all_verdicts(more(own, *learnt)) == all_verdicts(own)


@given(YEARS, st.integers(1, 20), st.booleans())
def test_who_said_how_old_a_guardian_is_and_why_stays_with_them_and_what_corrects_it_follows(
    at: int, under: int, again: bool
) -> None:
    ward = Ward(h(ME), "email", h(77))
    wrong, right = known(0, at, under), known(1, at, 0, corrects=0)
    first, second = told_of_guardian(wrong, ward), told_of_guardian(right, ward)
    assert again is False or told_of_guardian(wrong, ward) == first, "told twice it is recorded once"
    assert known_ages([first]) == [], "it isn't the child's"
    assert second.age
    assert second.age.corrects == first.decision_id
    for one, said in ((first, wrong), (second, right)):
        assert one.age
        assert said.age
        assert (one.age.under, one.age.follows, one.age.guardian_hash) == (said.age.under, said.decision_id, h(77))
        assert (one.identifier_hash, one.decided_at, one.method) == (h(ME), said.decided_at, "")
        assert not {one.age.by, one.age.reason} & {said.age.by, said.age.reason}


def test_it_is_explained_as_granted_by_a_child() -> None:
    granted = choice("granted", 21, parent=authorised(77))
    case = certainly(granted, known(0, 20, 13, 12))
    case = msgspec.structs.replace(case, purpose=asking(purpose_of(), 16), now=year(22))
    assert judge(case, ASKED).reason == "CONSENT_GRANTED"
    case = more(case, *told([granted], [known(5, 20, 16)]))
    verdict = judge(case, ASKED)
    assert (verdict.reason, role(case, verdict, granted, erased=False)) == ("MINOR", "GRANTED_BY_MINOR")
