"""Until when a rights request has to be answered: terms of the laws, by days. Pure.

GDPR Art. 12(3) and the UK's: one month, two more with notice. A month ends on the same date as the day of receipt, which isn't counted
itself, or on the month's last; a term that ends on a Saturday, a Sunday or a public holiday ends with the next working day (Regulation
1182/71 Art. 3; the UK's regulator counts alike). CCPA (11 CCR 7021, 7026, 7027): 45 calendar days, 45 more with notice, confirmed within 10
business days; whoever objects or limits is heeded within 15 business days. Where a law may be read in two ways, here is the earlier day.
"""

import calendar
from collections.abc import Callable
from datetime import date, timedelta
from functools import lru_cache
from typing import Final

import holidays
import msgspec

from services.consent.domain.form import JURISDICTION
from shared.errors import InvalidInput
from shared.events.rights import Law, Right

MONTHS: Final = 1
MOST_MONTHS: Final = 3  # Art. 12(3): "extended by two further months"
CALIFORNIAN_DAYS: Final = 45
MOST_CALIFORNIAN_DAYS: Final = 90
CONFIRM_BUSINESS_DAYS: Final = 10
OPT_OUT_BUSINESS_DAYS: Final = 15
OPT_OUTS: Final = frozenset[Right]({"objection", "restriction"})
CALENDARS_KEPT: Final = 256  # more than any controller has places
SATURDAY: Final = 5

IsOff = Callable[[date], bool]


class Terms(msgspec.Struct, frozen=True):
    """`longest_on` is the same as `due_on` where nothing may be extended."""

    due_on: date
    longest_on: date
    acknowledge_by: date | None = None


def terms_of(law: Law, right: Right, received_on: date, is_off: IsOff) -> Terms:
    match law:
        case "gdpr" | "uk_gdpr":
            ends = [working_day_from(months_after(received_on, months), is_off) for months in (MONTHS, MOST_MONTHS)]
            return Terms(*ends)
        case "ccpa" if right in OPT_OUTS:
            heeded = business_days_after(received_on, OPT_OUT_BUSINESS_DAYS, is_off)
            return Terms(heeded, heeded)
        case "ccpa":
            due, longest = (received_on + timedelta(days) for days in (CALIFORNIAN_DAYS, MOST_CALIFORNIAN_DAYS))
            return Terms(due, longest, business_days_after(received_on, CONFIRM_BUSINESS_DAYS, is_off))


def months_after(day: date, months: int) -> date:
    """The same date in a later month, or that month's last."""
    years, month = divmod(day.month - 1 + months, 12)
    year, month = day.year + years, month + 1
    return date(year, month, min(day.day, calendar.monthrange(year, month)[1]))


def working_day_from(day: date, is_off: IsOff) -> date:
    while is_off(day):
        day += timedelta(1)
    return day


def business_days_after(day: date, days: int, is_off: IsOff) -> date:
    for _ in range(days):
        day = working_day_from(day + timedelta(1), is_off)
    return day


@lru_cache(maxsize=CALENDARS_KEPT)
def days_off(place: str) -> IsOff:
    """Saturdays, Sundays and the public holidays of a country, or of a part of it. Raises InvalidInput (CALENDAR_UNKNOWN)."""
    if not place:
        return _weekend
    if not JURISDICTION.fullmatch(place):
        raise _unknown()
    country, _, part = place.partition("-")
    try:
        known = holidays.country_holidays(country, subdiv=part or None)
    except NotImplementedError:
        raise _unknown() from None
    return lambda day: _weekend(day) or day in known


def _weekend(day: date) -> bool:
    return day.weekday() >= SATURDAY


def _unknown() -> InvalidInput:
    return InvalidInput(
        "no public holidays are known of this place: name it as DE, US-CA, or not at all", reason="CALENDAR_UNKNOWN"
    )
