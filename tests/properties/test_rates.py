"""Laws of token buckets: what gets through in any span is bounded, and who keeps to the rate is never refused."""

from hypothesis import given
from hypothesis import strategies as st

from shared.rates import Bucket

STEPS = st.lists(st.tuples(st.floats(0, 5), st.integers(1, 20)), min_size=1, max_size=60)
RATES = st.integers(1, 50)


@given(STEPS, RATES, RATES)
def test_of_any_span_no_more_gets_through_than_the_burst_the_rate_and_one_amount(
    steps: list[tuple[float, int]], per_s: int, most: int
) -> None:
    bucket, now, taken = Bucket(per_s, most, 0.0), 0.0, list[tuple[float, int]]()
    for pause, amount in steps:
        now += pause
        if bucket.take(amount, now) == 0:
            taken.append((now, amount))
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            span = taken[last][0] - taken[first][0]
            through = sum(amount for _, amount in taken[first:last])
            assert through <= most + span * per_s + max(amount for _, amount in taken) + 1e-6


@given(st.integers(1, 200), RATES, RATES)
def test_who_keeps_to_the_rate_is_never_refused(calls: int, per_s: int, most: int) -> None:
    bucket = Bucket(per_s, most, 0.0)
    assert all(bucket.take(1, (number + 1) / per_s * 1.0001) == 0 for number in range(calls))


@given(STEPS, RATES, RATES)
def test_who_waits_as_long_as_is_said_gets_through(steps: list[tuple[float, int]], per_s: int, most: int) -> None:
    bucket, now = Bucket(per_s, most, 0.0), 0.0
    for pause, amount in steps:
        now += pause
        if wait := bucket.take(amount, now):
            now += wait * 1.0001
            assert bucket.take(amount, now) == 0
