"""Laws of the one rule that says what decisions permit."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from shared.consent_rule import Case, Verdict, judge
from shared.events.consent import DecisionRecorded, LegalBasis, Outcome, PurposeDefined

OUTCOMES: st.SearchStrategy[Outcome] = st.sampled_from(["granted", "refused", "withdrawn", "objected"])
DENIALS: st.SearchStrategy[Outcome] = st.sampled_from(["refused", "withdrawn", "objected"])
DECIDABLE = st.sampled_from(["consent", "legitimate_interest"])
INSTANTS = st.integers(0, 9)  # few, so that many decisions fall on the same


def a_purpose(legal_basis: LegalBasis) -> PurposeDefined:
    return PurposeDefined(request_id="r", name="newsletter", version=1, description="", legal_basis=legal_basis, traits=("email",))


def a_decision(outcome: Outcome, decided_at: int, number: int, identifier: int = 0) -> DecisionRecorded:
    return DecisionRecorded(
        request_id=str(number),
        decision_id=number.to_bytes(16),
        identifier_hash=identifier.to_bytes(16),
        namespace="email",
        purpose="newsletter",
        purpose_version=1,
        outcome=outcome,
        decided_at=decided_at,
    )


def judged(purpose: PurposeDefined, decisions: Iterable[DecisionRecorded], now: int = 100) -> Verdict:
    """Of one whose identifiers are simply theirs."""
    return judge(Case(purpose, list(decisions), now))


@st.composite
def histories(draw: st.DrawFn, latest: int = 9) -> list[DecisionRecorded]:
    """Decisions with ids of their own, of several identifiers of one person."""
    drawn = draw(st.lists(st.tuples(OUTCOMES, st.integers(0, latest), st.integers(0, 2)), max_size=8))
    numbers = draw(st.permutations(range(len(drawn))))
    return [a_decision(what, at, number, who) for (what, at, who), number in zip(drawn, numbers, strict=True)]


@given(DECIDABLE, histories(), st.data())
def test_order_and_duplication_of_decisions_do_not_matter(
    legal_basis: LegalBasis, history: list[DecisionRecorded], data: st.DataObject
) -> None:
    again = data.draw(st.lists(st.sampled_from(history), max_size=4)) if history else []
    other = data.draw(st.permutations([*history, *again]))
    assert judged(a_purpose(legal_basis), other) == judged(a_purpose(legal_basis), history)


@given(DECIDABLE, histories(), DENIALS, st.integers(10, 20))
def test_a_later_denial_always_wins(
    legal_basis: LegalBasis, history: list[DecisionRecorded], outcome: Outcome, decided_at: int
) -> None:
    denial = a_decision(outcome, decided_at, 99)
    verdict = judged(a_purpose(legal_basis), [*history, denial])
    assert (verdict.permitted, verdict.decision_id) == (False, denial.decision_id)


@given(DECIDABLE, histories(), DENIALS, st.integers(0, 200))
def test_a_denial_at_the_same_instant_wins(
    legal_basis: LegalBasis, history: list[DecisionRecorded], outcome: Outcome, number: int
) -> None:
    latest = max((decision.decided_at for decision in history), default=0)
    denial = a_decision(outcome, latest, 1000 + number)
    assert not judged(a_purpose(legal_basis), [*history, denial]).permitted


@given(DECIDABLE, histories(), st.integers(10, 20))
def test_a_later_grant_lifts_every_earlier_denial(
    legal_basis: LegalBasis, history: list[DecisionRecorded], decided_at: int
) -> None:
    assert judged(a_purpose(legal_basis), [*history, a_decision("granted", decided_at, 99)]).reason == "CONSENT_GRANTED"


@given(DECIDABLE, histories(), INSTANTS, st.data())
def test_what_held_at_an_instant_does_not_depend_on_what_was_decided_later(
    legal_basis: LegalBasis, history: list[DecisionRecorded], instant: int, data: st.DataObject
) -> None:
    def as_of(decisions: list[DecisionRecorded]) -> object:
        return judged(a_purpose(legal_basis), [d for d in decisions if d.decided_at <= instant])

    later = data.draw(st.lists(st.tuples(OUTCOMES, st.integers(instant + 1, 20)), max_size=4))
    future = [a_decision(outcome, at, 100 + number) for number, (outcome, at) in enumerate(later)]
    assert as_of([*history, *future]) == as_of(history)


@given(DECIDABLE, histories())
def test_a_verdict_names_the_decision_that_decided(legal_basis: LegalBasis, history: list[DecisionRecorded]) -> None:
    verdict = judged(a_purpose(legal_basis), history)
    deciding = [decision for decision in history if decision.decision_id == verdict.decision_id]
    assert bool(deciding) == bool(history)
    assert all((decision.outcome == "granted") == verdict.permitted for decision in deciding)


@given(histories())
def test_nothing_decided_takes_away_what_law_or_contract_needs(history: list[DecisionRecorded]) -> None:
    assert judged(a_purpose("contract"), history).reason == "CONTRACT"
    assert judged(a_purpose("legal_obligation"), history).reason == "LEGAL_OBLIGATION"


def test_without_any_decision_consent_is_missing_and_a_legitimate_interest_stands() -> None:
    assert (judged(a_purpose("consent"), []).permitted, judged(a_purpose("consent"), []).reason) == (False, "CONSENT_MISSING")
    assert judged(a_purpose("legitimate_interest"), []).reason == "LEGITIMATE_INTEREST"
