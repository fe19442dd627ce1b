"""Laws of explanations: each decision has one role, those of the verdict decide, and the others are no reason for a denial."""

from collections.abc import Callable

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.consent.checking import Brief, ByIdentifier, decided_by_itself
from services.consent.conflicts import is_told_by
from services.consent.domain.explaining import AGAINST, DECIDES, OLDER, Change, Told, belonging, changes, role
from shared.consent_rule import Case, judge
from shared.events.consent import DecisionRecorded, Outcome, Scope
from shared.instants import years_after
from tests.properties.test_consent_merging import ALL, ASKED, SCOPES, certainly, decided, likely
from tests.properties.test_minors import known
from tests.properties.test_restriction import lifted, restricted

OUTCOMES: st.SearchStrategy[Outcome] = st.sampled_from(ALL)
HISTORIES = st.lists(st.tuples(OUTCOMES, st.integers(0, 9), st.integers(0, 5)), max_size=8).map(
    lambda drawn: [decided(what, at, by, number + 1) for number, (what, at, by) in enumerate(drawn)]
)
# By when and whom processing was restricted, and whether that was lifted since.
RESTRICTIONS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5), st.booleans()), max_size=2).map(
    lambda drawn: [
        *(restricted(number, at, by) for number, (at, by, _) in enumerate(drawn)),
        *(lifted(number, 9, by) for number, (_, by, ends) in enumerate(drawn) if ends),
    ]
)
# A child of 15 at most, or of 16 by now and still one when the history was made; and whether that was taken back since.
AGES = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5), st.sampled_from([0, 15]), st.booleans()), max_size=1).map(
    lambda drawn: [
        said for at, by, least, ends in drawn for said in [age(at, by, least), *([age(at, by, under=0)] if ends else [])]
    ]
)
CASES = st.builds(
    lambda joined, history, about_all, ages, scope, young: of_minors(joined(*history, *about_all, *ages, scope=scope), young),
    st.sampled_from([certainly, likely]),
    HISTORIES,
    RESTRICTIONS,
    AGES,
    st.sampled_from(SCOPES),
    st.sampled_from([0, 99, years_after(9, 1)]),
)


def age(at: int, by: int, at_least: int = 0, under: int = 16) -> DecisionRecorded:
    made = known(0, 0, under, at_least, by) if under else known(1, 0, 0, by=by, corrects=0)
    return msgspec.structs.replace(made, decided_at=at)


def of_minors(case: Case, now: int) -> Case:
    """Of a purpose that minors can't grant, at an instant; 0: of one that they can."""
    purpose = msgspec.structs.replace(case.purpose, minors_under=16 if now else 0)
    return msgspec.structs.replace(case, purpose=purpose, now=now or case.now)


def roles(case: Case) -> dict[bytes, str]:
    verdict = judge(case, ASKED)
    return {decision.decision_id: role(case, verdict, decision, erased=False) for decision in case.decisions}


@given(CASES)
def test_what_the_verdict_names_decides_and_nothing_else_does(case: Case) -> None:
    verdict, found = judge(case, ASKED), roles(case)
    assert {one for one, role in found.items() if role in (DECIDES, AGAINST)} == {verdict.decision_id, verdict.against} - {b""}
    winner = next((one for one in case.decisions if one.decision_id == verdict.decision_id), None)
    assert all(
        winner is not None and one.decided_at <= winner.decided_at for one in case.decisions if found[one.decision_id] == OLDER
    )


@given(CASES, st.data())
def test_what_was_denied_stays_denied_whatever_is_missing_of_what_did_not_decide(case: Case, data: st.DataObject) -> None:
    found = roles(case)
    deciding = [one for one in case.decisions if found[one.decision_id] in (DECIDES, AGAINST)]
    others = [one for one in case.decisions if found[one.decision_id] not in (DECIDES, AGAINST)]
    some: list[DecisionRecorded] = data.draw(st.lists(st.sampled_from(others), unique_by=id)) if others else []
    if deciding and not judge(case, ASKED).permitted:
        assert not judge(Case(case.purpose, deciding + some, case.now, case.bonds), ASKED).permitted


@given(CASES)
def test_a_conflict_is_told_once_by_each_who_has_one(case: Case) -> None:
    """By one identifier of a core, or by each that is decided about by itself."""
    decided = {ByIdentifier(one.namespace, one.identifier_hash) for one in case.decisions}
    briefs = {one: Brief(one, ASKED, case, []) for one in decided}
    torn = {one for one, brief in briefs.items() if brief.verdict().state == "CONFLICT"}
    telling = {one for one in torn if is_told_by(briefs[one], one)}
    alone = {one for one in torn if decided_by_itself(case.purpose, one.namespace)}
    assert alone <= telling
    cores = [case.bond(one.value_hash).core for one in telling - alone]
    assert sorted(cores) == sorted({case.bond(one.value_hash).core for one in torn - alone})


def told(case: Case, version: int = 1) -> Told:
    return Told(version, judge(case, ASKED).reason, roles(case), belonging(ASKED, case.bonds))


@given(CASES, HISTORIES, st.integers(1, 2), st.sampled_from([certainly, likely]))
def test_there_is_a_change_exactly_where_something_differs(
    case: Case, more: list[DecisionRecorded], version: int, joined: Callable[..., Case]
) -> None:
    later = Case(case.purpose, [*case.decisions, *more[len(case.decisions) :]], case.now, joined().bonds)
    before, after = told(case), told(later, version)
    found = changes(before, after)
    assert bool(found) == (before != after)
    assert all(one.before != one.after for one in found)
    differing = {one.identifier_hash for one in found if one.what == "identifier"}
    assert differing == {one for one in case.bonds if before.belonging[one] != after.belonging[one]}
    assert changes(Told(1, "CONSENT_GRANTED", {}), Told(1, "CONSENT_EXPIRED", {})) == [
        Change("time", before="CONSENT_GRANTED", after="CONSENT_EXPIRED")
    ]


def test_of_the_identifiers_of_one_person_each_decision_says_why_it_does_not_count() -> None:
    scope: Scope = "contact_point"
    case = certainly(decided("granted", 5, 1, 1), decided("granted", 3, 1, 2), decided("withdrawn", 7, 2, 3), scope=scope)
    assert [roles(case)[one.to_bytes(16)] for one in (1, 2, 3)] == [DECIDES, OLDER, "OTHER_IDENTIFIER"]


def test_a_restriction_decides_and_what_it_stands_over_says_so() -> None:
    case = certainly(decided("granted", 1, 1, 1), restricted(0, 2), restricted(1, 3), lifted(1, 4), restricted(2, 5))
    assert list(roles(case).values()) == ["RESTRICTED", OLDER, "LIFTED", "LIFTS", DECIDES]
    ended = certainly(decided("granted", 1, 1, 1), restricted(0, 2), lifted(0, 4))
    assert list(roles(ended).values()) == [DECIDES, "LIFTED", "LIFTS"]
    goes_on = msgspec.structs.replace(case, purpose=msgspec.structs.replace(case.purpose, despite_restriction=("legal_claims",)))
    assert list(roles(goes_on).values()) == [DECIDES, "DESPITE_RESTRICTION", "LIFTED", "LIFTS", "DESPITE_RESTRICTION"]


def test_of_a_child_each_decision_says_why_it_does_not_count() -> None:
    case = of_minors(certainly(decided("granted", 1, 1, 1), age(2, 1), age(3, 1, under=0)), 99)
    assert list(roles(case).values()) == [DECIDES, "CORRECTED", "CORRECTS"]
    child = of_minors(certainly(decided("granted", 1, 1, 1), age(2, 1)), 99)
    assert list(roles(child).values()) == ["GRANTED_BY_MINOR", DECIDES]
    anyone = of_minors(child, 0)
    assert list(roles(anyone).values()) == [DECIDES, "DECIDES_NOTHING"]
