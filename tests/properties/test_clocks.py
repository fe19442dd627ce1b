"""Laws of an event's four clocks: a wrong clock doesn't change when something happened, and doubt is flagged, never silent."""

from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.ingest.domain.call import Call, Delivery
from services.ingest.domain.clocks import FAR_FUTURE, FAR_PAST, TOLERANCE_US, Times, read
from services.ingest.domain.settings import KnownSource, Settings
from shared.errors import InvalidInput
from shared.instants import DAY, EPOCH, SECOND, from_iso

NOW = from_iso("2026-03-03T12:00:00Z")
YEAR = 365 * DAY
skews = st.integers(-20 * YEAR, 20 * YEAR)
ages = st.integers(-5 * YEAR, 30 * YEAR)  # of an event at its receipt; negative: in the future


def times(original_at: int, sent_at: int | None, received_at: int = NOW, **limits: Any) -> Times:
    call = Call(type="track", original_timestamp=EPOCH + timedelta(microseconds=original_at))
    source = KnownSource(name="shop", settings=Settings(**limits))
    return read(call, Delivery(source=source, received_at=received_at, sent_at=sent_at))


@given(ages, skews)
def test_a_clock_that_is_wrong_says_the_same_as_one_that_is_right(age: int, skew: int) -> None:
    right, wrong = times(NOW - age, NOW), times(NOW - age + skew, NOW + skew)
    if abs(skew) > TOLERANCE_US:
        assert (wrong.occurred_at, wrong.flags) == (right.occurred_at, right.flags)
    else:
        assert abs(wrong.occurred_at - right.occurred_at) <= TOLERANCE_US


@given(ages, st.none() | st.integers(0, 2 * NOW))
def test_what_the_client_said_is_kept_and_nothing_happened_after_its_receipt(age: int, sent_at: int | None) -> None:
    try:
        found = times(NOW - age, sent_at)
    except InvalidInput:  # the correction leads to before 1970
        return
    assert (found.original_at, found.sent_at) == (NOW - age, sent_at)
    assert 0 <= found.occurred_at <= NOW


@given(ages, st.integers(0, 40 * 365 * 24 * 3600), st.integers(0, 10 * 365 * 24 * 3600))
def test_an_event_is_flagged_exactly_when_it_is_beyond_its_sources_limits(age: int, past_s: int, future_s: int) -> None:
    flags = times(NOW - age, NOW, far_past_s=past_s, far_future_s=future_s).flags
    assert (FAR_PAST in flags) == (age > past_s * SECOND)
    assert (FAR_FUTURE in flags) == (-age > future_s * SECOND)


def test_the_limits_of_a_source_that_says_nothing_are_ten_years_and_a_day() -> None:
    assert times(NOW - 10 * YEAR, None).flags == times(NOW + DAY, None).flags == []
    assert times(NOW - 10 * YEAR - 1, None).flags == [FAR_PAST]
    assert times(NOW + DAY + 1, None).flags == [FAR_FUTURE]
    assert read(Call(type="track"), Delivery(source=KnownSource(name="shop"), received_at=NOW)).flags == []
