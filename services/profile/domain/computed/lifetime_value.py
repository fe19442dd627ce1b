"""Predicted customer lifetime value: how often somebody who bought before will buy again, and for how much. Closed forms only.

BG/NBD: while alive, one buys at random with a rate of one's own, and after each purchase one may leave for good (Fader, Hardie and Lee,
"Counting Your Customers" the Easy Way, Marketing Science 24(2), 2005). Gamma-Gamma: what one spends varies around a mean of one's own
(Fader and Hardie, The Gamma-Gamma Model of Monetary Value, 2013). Time is in days; parameters are fitted offline (decision 45).
Whatever somebody bought, and whatever model is taken, the answers are finite.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Final

import msgspec

from services.profile.domain.computed.occurrences import Occurrence
from services.profile.domain.computed.steady import expected_events
from shared.instants import DAY

FORMAT: Final = 1
MAX_HORIZON_US: Final = 1_095 * DAY  # three years; predictions beyond what was observed are no predictions
# What parameters can be, far beyond what any fit finds; the currency may be of any size.
SHAPES: Final = (1e-6, 1e6)
TAKEN: Final = dict.fromkeys(("r", "a", "b", "p", "q"), SHAPES) | {"alpha": (1e-6, 1e9), "gamma": (1e-9, 1e24)}
_STEP: Final = 0.1  # a silence is reckoned in steps that grow with it
_LONGEST_SILENCE_DAYS: Final = 3_660
_LEAST_SPENT: Final = 1e-6  # of a day; what was given back whole leaves a rounding of the doubles that amounts are


class LifetimeModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of both models, as `c360 profile lifetime fit` writes them. `trained_on` says of what, to people."""

    format: int = FORMAT
    r: float
    alpha: float  # days
    a: float
    b: float
    p: float
    q: float
    gamma: float  # in the currency of the values
    customers: int = 0
    trained_on: str = ""

    @property
    def objection(self) -> str:
        """Why it isn't taken; empty when it is."""
        if self.format != FORMAT:
            return f"its format is {self.format}, and this release reads {FORMAT}"
        for name, (least, most) in TAKEN.items():
            if not least <= getattr(self, name) <= most:
                return f"{name} has to be between {least:g} and {most:g}, and is {getattr(self, name):g}"
        return "" if self.q > 1 else f"q has to be above 1, and is {self.q:g}: else the amounts have no mean to come back to"


class Purchases(msgspec.Struct, frozen=True):
    """What the models look at: days on which something was bought again, from the first such day to the last, and to now."""

    repeats: int
    recency_days: float
    age_days: float
    mean_value: float  # of the days of repeats


def silence_steps() -> list[int]:
    """Days after the last purchase at which a prediction is made anew: each further by a tenth, and by a day at least."""
    steps = [0]
    while steps[-1] < _LONGEST_SILENCE_DAYS:
        steps.append(max(steps[-1] + 1, round(steps[-1] * (1 + _STEP))))
    return steps


SILENCE_STEPS: Final = silence_steps()


def bought(days: Mapping[int, Iterable[float]]) -> dict[int, float]:
    """What was spent on each day on which more was bought than given back; the others are no purchases. Sums are exactly rounded."""
    spent = {day: math.fsum(amounts) for day, amounts in days.items()}
    return {day: amount for day, amount in spent.items() if amount >= _LEAST_SPENT}


def last_bought(held: Sequence[Occurrence]) -> int | None:
    """When silence began: at the last of the events of the last day that was a purchase. It is asked for at each step of a silence, so
    no day before that one is looked at."""
    for _, group in groupby(reversed(held), _day_of):
        day = list(group)
        if bought(_by_day(day)):
            return day[0][0]
    return None


def next_step(silent_from: int, at: int) -> int | None:
    """The next instant at which a prediction is made anew."""
    place = bisect_right(SILENCE_STEPS, (at - silent_from) // DAY)
    return silent_from + SILENCE_STEPS[place] * DAY if place < len(SILENCE_STEPS) else None


def purchases_of(held: Sequence[Occurrence], at: int) -> Purchases | None:
    """Of occurrences with amounts, in the order of their instants. A day is one of UTC; purchases of one day are one. None without any."""
    days = bought(_by_day(held))
    if not days:
        return None
    first, *repeats = days
    last = repeats[-1] if repeats else first
    last_at = next(instant for instant, _, _ in reversed(held) if instant // DAY == last)
    silence = SILENCE_STEPS[bisect_right(SILENCE_STEPS, max(at - last_at, 0) // DAY) - 1]
    mean = sum(days[day] for day in repeats) / len(repeats) if repeats else 0.0
    return Purchases(len(repeats), last - first, last - first + silence, mean)


def _day_of(occurrence: Occurrence) -> int:
    return occurrence[0] // DAY


def _by_day(held: Sequence[Occurrence]) -> dict[int, list[float]]:
    days: dict[int, list[float]] = {}
    for instant, _, value in held:
        assert isinstance(value, int | float), "only numbers count"
        days.setdefault(instant // DAY, []).append(value)
    return days


def probability_alive(model: LifetimeModel, known: Purchases) -> float:
    """Whether one will ever buy again; one who bought only once hasn't had the chance to leave."""
    if known.repeats == 0:
        return 1.0
    silence = math.log((model.alpha + known.age_days) / (model.alpha + known.recency_days))
    odds_gone = math.log(model.a / (model.b + known.repeats - 1)) + (model.r + known.repeats) * silence  # their logarithm
    return 1 / (1 + math.exp(odds_gone)) if odds_gone < 0 else math.exp(-odds_gone) / (1 + math.exp(-odds_gone))


def expected_purchases(model: LifetimeModel, known: Purchases, horizon_days: float) -> float:
    """Days with a purchase within the horizon from now on (equation 10 of the paper)."""
    ahead = horizon_days / (model.alpha + known.age_days)
    return probability_alive(model, known) * expected_events(model.r + known.repeats, ahead, model.a, model.b + known.repeats)


def expected_value(model: LifetimeModel, known: Purchases) -> float:
    """Of a purchase: between one's own mean and everybody's, the nearer to one's own the more there is of it."""
    weight = model.p * known.repeats
    return model.p * (model.gamma + known.mean_value * known.repeats) / (weight + model.q - 1)
