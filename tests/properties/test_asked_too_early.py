"""Laws of asking again: it is told of exactly those questions that came before the purpose allows them."""

import random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.consent.domain.asking import answers_a_question, asked_too_early
from shared.consent_conditions import GRANTS
from shared.consent_rule import DENIALS, Case, judge
from shared.events.consent import DecisionRecorded, NoticeShown, Outcome, PurposeDefined
from shared.instants import DAY

NOW = 1_750_000_000_000_000
DAYS = 5
OUTCOMES: list[Outcome] = [*GRANTS, *DENIALS]
SHOWN = NoticeShown(name="n", version=1, locale="en", sha256=b"h" * 32)


def decided(
    outcome: Outcome, day: int, notice: NoticeShown | None = None, signal_id: bytes = b"", number: int = 0
) -> DecisionRecorded:
    return DecisionRecorded(
        request_id="r",
        decision_id=bytes([number]) * 16,
        identifier_hash=b"h" * 16,
        namespace="email",
        purpose="ads",
        purpose_version=1,
        outcome=outcome,
        decided_at=NOW + day * DAY,
        notice=notice,
        signal_id=signal_id,
    )


def is_early(one: DecisionRecorded, all_of_them: list[DecisionRecorded], days: int) -> bool:
    return one.decision_id in asked_too_early(all_of_them, {1: days})


DECISIONS = st.builds(
    decided, st.sampled_from(OUTCOMES), st.integers(0, 12), st.sampled_from([None, SHOWN]), st.sampled_from([b"", b"s" * 16])
)


@given(st.lists(DECISIONS, max_size=6), DECISIONS, st.integers(0, 8), st.randoms())
def test_whoever_may_be_asked_by_the_verdict_of_then_was_not_asked_too_early(
    others: list[DecisionRecorded], one: DecisionRecorded, days: int, chance: random.Random
) -> None:
    one = msgspec.structs.replace(one, decision_id=b"o" * 16)
    early = is_early(one, [*others, one], days)
    shuffled = sorted([*others, *others, one], key=lambda _: chance.random())
    assert is_early(one, shuffled, days) == early, "in any order, and however often it is told"
    purpose = PurposeDefined(
        request_id="p",
        name="ads",
        version=1,
        description="",
        legal_basis="legitimate_interest",
        traits=(),
        ask_again_after_days=days,
    )
    verdict = judge(Case(purpose, [other for other in others if other.decided_at < one.decided_at], one.decided_at))
    assert early == (answers_a_question(one) and verdict.ask_again_at > one.decided_at)


@given(st.lists(DECISIONS, max_size=6), DECISIONS)
def test_without_a_rule_nobody_is_asked_too_early(others: list[DecisionRecorded], one: DecisionRecorded) -> None:
    assert not asked_too_early([*others, one], {1: 0})
    assert not asked_too_early([*others, one], {})


def test_only_answers_are_told_of() -> None:
    refused = decided("refused", 0)
    for given_then, early in (
        (decided("refused", 4), True),
        (decided("granted", 4, SHOWN), True),
        (decided("granted", 5, SHOWN), False),
        (decided("granted", 4), False),  # nobody showed anything: the person came by themselves
        (decided("withdrawn", 4), False),
        (decided("refused", 4, signal_id=b"s" * 16), False),
    ):
        later = msgspec.structs.replace(given_then, decision_id=b"o" * 16)
        assert is_early(later, [refused, later], DAYS) == early
