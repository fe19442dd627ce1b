"""What a model would have been worth: fitted to the time before, compared with what then happened."""

from typing import NamedTuple

from services.profile.domain.computed.lifetime_value import Purchases, expected_purchases, expected_value
from services.profile.lifetime.fit import NotFitted, fit
from services.profile.lifetime.reading import Spent, table_of


class Checked(NamedTuple):
    """Days with a purchase, and what was spent on them, of the customers who had bought before; expected and as they were."""

    days: int
    expected_purchases: float
    purchases: int
    expected_value: float
    value: float

    def __str__(self) -> str:
        return (
            f"checked on the last {self.days} days, of which it knew nothing: {self.expected_purchases:,.0f} purchase days expected and"
            f" {self.purchases:,} made; {self.expected_value:,.0f} expected and {self.value:,.0f} spent"
        )


def check(spent: Spent, days: int = 0) -> Checked | str:
    """Of the last `days`; 0 is a third of what was observed."""
    bought = [day for by_day in spent.values() for day in by_day]
    days = days or (max(bought) - min(bought)) // 3
    end = max(bought) + 1 - days
    try:
        model = fit(table_of(spent, end)).model
    except NotFitted as failure:
        return f"not checked: before the last {days} days, {failure}"
    known = [Purchases(*row) for row in zip(*table_of(spent, end), strict=True)]
    predicted = [(expected_purchases(model, one, days), expected_value(model, one)) for one in known]
    later = [by_day[day] for by_day in spent.values() if min(by_day) < end for day in by_day if day >= end]
    return Checked(
        days=days,
        expected_purchases=sum(expected for expected, _ in predicted),
        purchases=len(later),
        expected_value=sum(expected * each for expected, each in predicted),
        value=sum(later),
    )
