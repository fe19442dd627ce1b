"""Laws of terms: never on a day that the law excludes, never earlier for who came later, and as the laws' own examples have it."""

from collections.abc import Callable
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.consent.domain.terms import business_days_after, days_off, months_after, terms_of
from shared.errors import InvalidInput
from shared.events.rights import Law, Right

DAYS = st.dates(date(2018, 5, 25), date(2060, 12, 31))
PLACES = st.sampled_from(["", "DE", "DE-BE", "FR", "AT", "IE", "GB", "GB-SCT", "US", "US-CA", "IL"])
LAWS = st.sampled_from(["gdpr", "uk_gdpr", "ccpa"])
RIGHTS = st.sampled_from(["access", "portability", "rectification", "erasure", "restriction", "objection"])


def shop_holidays(off: set[date]) -> Callable[[date], bool]:
    return lambda day: day.weekday() >= 5 or day in off


@given(DAYS, LAWS, RIGHTS, PLACES)
def test_what_law_or_term_it_is_they_follow_each_other(day: date, law: Law, right: Right, place: str) -> None:
    terms = terms_of(law, right, day, days_off(place))
    assert day < terms.due_on <= terms.longest_on
    assert terms.acknowledge_by is None or day < terms.acknowledge_by <= terms.due_on


@given(DAYS, st.sampled_from(["gdpr", "uk_gdpr"]), RIGHTS, PLACES, st.sets(st.integers(25, 110), max_size=40))
def test_a_term_of_months_never_ends_on_a_day_off(day: date, law: Law, right: Right, place: str, more: set[int]) -> None:
    public, own = days_off(place), shop_holidays({day + timedelta(days) for days in more})
    terms = terms_of(law, right, day, lambda one: public(one) or own(one))
    for end in (terms.due_on, terms.longest_on):
        assert not public(end)
        assert not own(end)
    assert terms.due_on >= months_after(day, 1)
    between = (months_after(day, 1) + timedelta(days) for days in range((terms.due_on - months_after(day, 1)).days))
    assert all(public(one) or own(one) for one in between), "no working day is skipped"


@given(DAYS, st.sampled_from(["objection", "restriction", "access"]), PLACES)
def test_business_days_are_counted_one_by_one(day: date, right: Right, place: str) -> None:
    is_off, terms = days_off(place), terms_of("ccpa", right, day, days_off(place))
    end, wanted = (terms.acknowledge_by, 10) if terms.acknowledge_by else (terms.due_on, 15)
    passed = [day + timedelta(days) for days in range(1, (end - day).days + 1)]
    assert sum(not is_off(one) for one in passed) == wanted
    assert not is_off(end)


@given(DAYS, DAYS, LAWS, RIGHTS, PLACES)
def test_who_came_later_is_never_due_earlier(one: date, other: date, law: Law, right: Right, place: str) -> None:
    first, second = (terms_of(law, right, day, days_off(place)) for day in sorted((one, other)))
    assert (first.due_on, first.longest_on) <= (second.due_on, second.longest_on)


@given(DAYS, LAWS, RIGHTS, PLACES)
def test_where_no_place_is_named_nothing_is_due_later(day: date, law: Law, right: Right, place: str) -> None:
    unnamed, named = (terms_of(law, right, day, days_off(where)) for where in ("", place))
    assert unnamed.due_on <= named.due_on


@pytest.mark.parametrize(
    ("received", "due"),
    [
        ("2026-03-05", "2026-04-07"),  # 5 April is Easter Sunday, Monday is off too
        ("2023-08-31", "2023-10-02"),  # 30 September is the month's last, and a Saturday
        ("2022-01-31", "2022-02-28"),
        ("2026-11-24", "2026-12-24"),
        ("2026-11-25", "2026-12-28"),  # Christmas, its second day, a Sunday
    ],
)
def test_a_month_ends_as_the_regulation_says(received: str, due: str) -> None:
    assert terms_of("gdpr", "access", date.fromisoformat(received), days_off("DE")).due_on == date.fromisoformat(due)


def test_california_counts_days_and_business_days() -> None:
    terms = terms_of("ccpa", "access", date(2026, 12, 18), days_off("US-CA"))
    assert (terms.due_on, terms.longest_on) == (date(2027, 2, 1), date(2027, 3, 18))
    assert terms.acknowledge_by == date(2027, 1, 5), "Christmas and New Year are no business days"


def test_a_friday_is_a_business_day_ahead_of_a_weekend() -> None:
    assert business_days_after(date(2026, 3, 5), 2, days_off("")) == date(2026, 3, 9)


@pytest.mark.parametrize("place", ["XX", "DE-ZZ", "Germany", "de", "EU"])
def test_what_no_holidays_are_known_of_is_refused(place: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        days_off(place)
    assert refused.value.reason == "CALENDAR_UNKNOWN"
