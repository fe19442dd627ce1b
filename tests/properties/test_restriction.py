"""Laws of the restriction of processing (GDPR Art. 18): of whoever it may be about, until it is lifted, and whatever was decided besides."""

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from services.consent.domain.restricting import Lift, Restrict, lift, restrict, says_the_same
from shared.consent_overlays import restricting
from shared.consent_rule import Bond, Case, Verdict, judge, judge_point, outlives_erasure, outlives_parting
from shared.errors import InvalidInput, NotFound, WrongState
from shared.events.consent import EVERY_PURPOSE, DecisionRecorded, LegalBasis, Restriction, RestrictionException
from shared.instants import DAY
from tests.properties.test_consent_merging import ASKED, LIKELY, SCOPES, certainly, decided, h, histories, likely, purpose_of

BASES: st.SearchStrategy[LegalBasis] = st.sampled_from(["consent", "legitimate_interest", "contract", "legal_obligation"])
GOING_ON: list[RestrictionException] = ["legal_claims", "rights_of_others", "public_interest"]
BY, WHY = "desk", "ticket 7"
IDENTIFIERS, INSTANTS = st.integers(0, 5), st.integers(0, 9)


def restricted(number: int, at: int = 0, by: int = 1) -> DecisionRecorded:
    made = decided("granted", at, by, 100 + number)
    said = Restriction(grounds=("accuracy_contested",), by=BY, reason=WHY)
    return msgspec.structs.replace(made, purpose=EVERY_PURPOSE, outcome="restricted", restriction=said)


def lifted(number: int, at: int = 9, by: int = 1) -> DecisionRecorded:
    made = decided("granted", at, by, 200 + number)
    said = Restriction(lifts=h(100 + number), told_at=at, by=BY, reason=WHY)
    return msgspec.structs.replace(made, purpose=EVERY_PURPOSE, outcome="restriction_lifted", restriction=said)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Anything decided by anybody, with identifiers that are theirs, may be theirs, or turned out to be shared."""
    joined = draw(st.sampled_from([certainly, likely]))
    case = joined(*draw(histories()), scope=draw(st.sampled_from(SCOPES)))
    bonds = {**case.bonds, **{h(by): Bond(theirs=False, core=ASKED) for by in draw(st.sets(IDENTIFIERS, max_size=2))}}
    purpose = msgspec.structs.replace(case.purpose, legal_basis=draw(BASES))
    return msgspec.structs.replace(case, purpose=purpose, bonds=bonds)


def more(case: Case, *decisions: DecisionRecorded) -> Case:
    return msgspec.structs.replace(case, decisions=[*case.decisions, *decisions])


def all_verdicts(case: Case) -> list[Verdict]:
    return [judge(case, ASKED), judge(case, LIKELY), *(judge_point(case, h(by)) for by in range(6))]


@given(cases(), IDENTIFIERS, INSTANTS)
def test_while_it_holds_nothing_is_permitted_by_whichever_identifier_and_however_that_is_theirs(
    case: Case, by: int, at: int
) -> None:
    told = restricted(0, at, by)
    for verdict in all_verdicts(more(case, told)):
        assert (verdict.permitted, verdict.reason, verdict.decision_id) == (False, "RESTRICTED", told.decision_id)


@given(cases(), st.lists(st.tuples(IDENTIFIERS, INSTANTS), max_size=4), st.data())
def test_it_holds_until_each_is_lifted_and_then_it_is_as_if_it_had_never_been(
    case: Case, made: list[tuple[int, int]], data: st.DataObject
) -> None:
    restrictions = [restricted(number, at, by) for number, (by, at) in enumerate(made)]
    ended = data.draw(st.sets(st.integers(0, len(made) - 1))) if made else set()
    lifts = [lifted(number, 9, made[number][0]) for number in ended]
    found = all_verdicts(more(case, *restrictions, *lifts))
    if len(ended) == len(made):
        assert found == all_verdicts(case)
    else:
        assert {one.reason for one in found} == {"RESTRICTED"}


@given(cases(), st.lists(st.tuples(IDENTIFIERS, INSTANTS, st.booleans()), max_size=4), st.data())
def test_neither_the_order_nor_repetition_matters(case: Case, made: list[tuple[int, int, bool]], data: st.DataObject) -> None:
    about = [restricted(number, at, by) for number, (by, at, _) in enumerate(made)]
    about += [lifted(number, 9, by) for number, (by, _, ends) in enumerate(made) if ends]
    case = more(case, *about)
    shuffled = data.draw(st.permutations(list(case.decisions)))
    again = data.draw(st.lists(st.sampled_from(shuffled), max_size=5)) if shuffled else []
    assert all_verdicts(msgspec.structs.replace(case, decisions=[*shuffled, *again])) == all_verdicts(case)


@given(cases(), IDENTIFIERS, INSTANTS, st.sampled_from(GOING_ON))
def test_a_purpose_that_goes_on_in_spite_of_it_is_judged_as_if_there_were_none(
    case: Case, by: int, at: int, exception: RestrictionException
) -> None:
    purpose = msgspec.structs.replace(case.purpose, despite_restriction=(exception,))
    case = msgspec.structs.replace(case, purpose=purpose)
    assert all_verdicts(more(case, restricted(0, at, by))) == all_verdicts(case)


@given(cases(), IDENTIFIERS, INSTANTS)
def test_by_consent_it_goes_on_only_if_that_was_given_since(case: Case, by: int, at: int) -> None:
    purpose = msgspec.structs.replace(case.purpose, legal_basis="consent", despite_restriction=("consent",))
    case = msgspec.structs.replace(case, purpose=purpose)
    without = all_verdicts(case)
    when = {one.decision_id: one.decided_at for one in case.decisions}
    for verdict, free in zip(all_verdicts(more(case, restricted(0, at, by))), without, strict=True):
        assert free.permitted or not verdict.permitted, "a restriction permits nothing"
        if verdict.permitted:
            assert when[verdict.decision_id] > at
        else:
            assert verdict.reason == "RESTRICTED"
    anew = decided("granted", 99, by, 300)
    assert not judge_point(more(certainly(), restricted(0, at, by)), h(by)).permitted
    granted = msgspec.structs.replace(certainly(anew), purpose=purpose_of(despite_restriction=("consent",)))  # type: ignore[arg-type]
    assert judge_point(more(granted, restricted(0, at, by)), h(by)).permitted


@given(st.sets(IDENTIFIERS), IDENTIFIERS, cases())
def test_after_a_split_only_the_side_that_has_the_identifier_is_restricted(side: set[int], by: int, case: Case) -> None:
    """Each side as it would be had they never been one."""
    whole = more(case, restricted(0, 3, by))
    bonds = {h(one): case.bonds[h(one)] for one in side}
    theirs = [one for one in whole.decisions if one.identifier_hash in bonds]
    found = judge(msgspec.structs.replace(whole, bonds=bonds, decisions=theirs), ASKED)
    assert (found.reason == "RESTRICTED") == (by in side)


@given(INSTANTS, INSTANTS, INSTANTS)
def test_as_of_an_instant_it_holds_from_when_it_was_made_until_it_was_lifted(made: int, ended: int, asked: int) -> None:
    assume(made <= ended)
    log = [restricted(0, made), lifted(0, ended)]
    standing = restricting(one for one in log if one.decided_at <= asked)
    assert (standing is not None) == (made <= asked < ended)


def test_both_it_and_its_end_outlive_an_erasure_and_a_parting() -> None:
    for one in (restricted(0), lifted(0)):
        assert outlives_erasure(one, 99)
        assert outlives_parting(one)


def test_a_verdict_of_it_has_no_end_by_time() -> None:
    case = more(certainly(decided("granted", 1)), restricted(0, 2))
    case = msgspec.structs.replace(case, purpose=purpose_of(expires_after_days=1))
    assert judge(case, ASKED).until > 9_999 * DAY


# What may be recorded.


def ids() -> bytes:
    return h(1)


def asked(**more: object) -> Restrict:
    given = {
        "request_id": "r",
        "identifier_hash": h(1),
        "namespace": "email",
        "grounds": ("legal_claims",),
        "by": BY,
        "reason": WHY,
    }
    return Restrict(**(given | more))  # type: ignore[arg-type]


def ending(**more: object) -> Lift:
    return Lift(**({"request_id": "l", "restriction_id": h(1), "told_at": 60, "by": BY, "reason": WHY} | more))  # type: ignore[arg-type]


@given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 100))
def test_nobody_lifts_one_before_the_person_was_told(made: int, told: int, ended: int) -> None:
    restriction = restrict(asked(restricted_at=made), 100, ids)
    command = ending(told_at=told, lifted_at=ended)
    if made <= told <= ended:
        end = lift(command, restriction, [restriction], 100, ids)
        assert restricting([restriction, end]) is None
        assert says_the_same(command, end)
        with pytest.raises(WrongState, match="before"):
            lift(command, restriction, [restriction, end], 100, ids)
    else:
        with pytest.raises(InvalidInput) as refused:
            lift(command, restriction, [restriction], 100, ids)
        assert refused.value.reason == "NOT_TOLD_BEFORE"


def test_what_is_no_restriction_is_not_lifted() -> None:
    for found in (None, decided("objected")):
        with pytest.raises(NotFound) as refused:
            lift(ending(), found, [], 100, ids)
        assert refused.value.reason == "RESTRICTION_UNKNOWN"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"grounds": ()}, "GROUND_MISSING"),
        ({"grounds": ("legal_claims", "legal_claims")}, "GROUND_MISSING"),
        ({"by": ""}, "NAME_INVALID"),
        ({"reason": ""}, "REASON_INVALID"),
        ({"request_id": ""}, "REQUEST_ID_MISSING"),
    ],
)
def test_one_has_a_ground_somebody_who_made_it_and_a_reason(given: dict[str, object], reason: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        asked(**given)
    assert refused.value.reason == reason


def test_the_same_request_says_the_same_and_nothing_else_does() -> None:
    made = restrict(asked(grounds=("legal_claims", "accuracy_contested")), 100, ids)
    assert says_the_same(asked(grounds=("accuracy_contested", "legal_claims")), made)
    assert not any(
        says_the_same(asked(**other), made) for other in ({"identifier_hash": h(2)}, {"by": "other"}, {"reason": "other"})
    )
    assert not says_the_same(ending(), made)
