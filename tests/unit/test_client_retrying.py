"""When a channel backend's client makes a call again, and when it tells the caller."""

import grpc
import pytest
from customer360_client.errors import ClientError, LimitExceeded, Unavailable, make_error
from customer360_client.retrying import Attempts, Retries, is_passing
from hypothesis import given
from hypothesis import strategies as st

AGAIN = Retries(first_pause_s=0.05, longest_pause_s=2.0)
CHANCES = st.floats(0, 1, exclude_max=True)
CODE = grpc.StatusCode


def away() -> ClientError:
    return make_error(CODE.UNAVAILABLE, "nobody listens")


@given(st.integers(1, 10_000), CHANCES)
def test_a_pause_lies_between_nothing_and_what_it_has_grown_to(attempt: int, chance: float) -> None:
    pause = AGAIN.pause_s(attempt, away(), 1e9, chance)
    assert pause is not None
    assert 0 <= pause <= min(2.0, 0.05 * 2 ** min(attempt - 1, 10))


def test_pauses_differ_by_chance_alone() -> None:
    assert [AGAIN.pause_s(3, away(), 9, chance) for chance in (0.0, 0.5, 1.0)] == pytest.approx([0, 0.1, 0.2])


@given(st.integers(1, 100), CHANCES, st.floats(0, 10))
def test_what_a_service_asks_for_is_waited_for(attempt: int, chance: float, asked_s: float) -> None:
    error = make_error(CODE.RESOURCE_EXHAUSTED, "too many", "RATE_LIMITED", retry_after_s=asked_s)
    pause = AGAIN.pause_s(attempt, error, 1e9, chance)
    assert pause is not None
    assert asked_s <= pause <= asked_s + 2.0


@given(st.integers(1, 100), CHANCES, st.floats(0, 3))
def test_no_pause_outlasts_the_call(attempt: int, chance: float, left_s: float) -> None:
    pause = AGAIN.pause_s(attempt, away(), left_s, chance)
    assert pause is None or pause < left_s


@pytest.mark.parametrize(
    ("code", "reason", "facts", "passing"),
    [
        (CODE.UNAVAILABLE, "NOT_FRESH_ENOUGH", {}, True),
        (CODE.CANCELLED, "", {}, True),
        (CODE.RESOURCE_EXHAUSTED, "RATE_LIMITED", {"retry_after_ms": "250"}, True),
        (CODE.RESOURCE_EXHAUSTED, "OVERLOADED", {}, True),
        (CODE.RESOURCE_EXHAUSTED, "BATCH_TOO_LARGE", {}, False),
        (CODE.DEADLINE_EXCEEDED, "NOT_YET_ENFORCED", {}, True),
        (CODE.DEADLINE_EXCEEDED, "", {}, False),
        (CODE.PERMISSION_DENIED, "CONSENT_WITHDRAWN", {}, False),
        (CODE.INTERNAL, "", {}, False),
        (CODE.ABORTED, "", {}, False),
    ],
)
def test_only_what_passes_by_itself_is_tried_again(code: CODE, reason: str, facts: dict[str, str], passing: bool) -> None:
    assert is_passing(make_error(code, "no", reason, facts)) is passing


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def refused_for_ever(attempts: Attempts, clock: Clock, each_takes_s: float) -> None:
    while True:
        clock.now += min(each_takes_s, attempts.left_s())  # as long as gRPC lets it
        clock.now += attempts.after(away(), lambda: False)


@given(st.lists(CHANCES, min_size=1), st.floats(0.01, 0.5))
def test_attempts_end_within_the_whole_time(chances: list[float], each_takes_s: float) -> None:
    clock, drawn = Clock(), iter(chances * 1_000)
    attempts = Attempts(AGAIN, 5.0, clock, lambda: next(drawn))
    with pytest.raises(Unavailable) as told:
        refused_for_ever(attempts, clock, each_takes_s)
    assert told.value.attempts > 1
    assert clock.now <= 105.0 + 0.01


def test_a_credential_is_renewed_once() -> None:
    attempts = Attempts(AGAIN, 5.0, Clock(), lambda: 0.5)
    refused = make_error(CODE.UNAUTHENTICATED, "expired")
    assert attempts.after(refused, lambda: True) == 0.0
    with pytest.raises(ClientError, match="UNAUTHENTICATED"):
        attempts.after(refused, lambda: True)


def test_when_to_come_again_is_in_the_error() -> None:
    error = make_error(CODE.RESOURCE_EXHAUSTED, "too many", "RATE_LIMITED", {"retry_after_ms": "250"})
    assert isinstance(error, LimitExceeded)
    assert (error.reason, error.retry_after_s) == ("RATE_LIMITED", 0.25)
