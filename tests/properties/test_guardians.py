"""Laws of who authorises for a child: somebody else, by who is one with whom at that moment."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.consent.domain.askable import asking as may_be_asked
from services.consent.domain.explaining import role
from shared.consent_rule import Bond, Case, judge
from shared.events.consent import DecisionRecorded
from tests.properties.test_consent_merging import ASKED, ME, certainly, h, purpose_of
from tests.properties.test_minors import IDENTIFIERS, PARENT, asking, authorised, cases, choice, facts, known, year
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
