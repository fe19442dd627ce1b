"""Computed traits as one would write them down: over the list of all events, for one instant, with nothing kept."""

from collections import Counter
from datetime import timedelta
from fractions import Fraction
from typing import Any

from services.profile.domain.computed.lifetime_value import (
    LifetimeModel,
    Purchases,
    expected_purchases,
    expected_value,
    probability_alive,
)
from shared.events import customer as events
from shared.events.catalogue import Entry
from shared.instants import DAY, EPOCH, SECOND
from tests.properties.histories import KEY
from tests.properties.purchases import MINUTE, MODEL, SCORES

PARAMETERS = LifetimeModel(**MODEL)

UNITS = {"m": MINUTE, "h": 60 * MINUTE, "d": DAY}


def length(text: str) -> int:
    return int(text[:-1]) * UNITS[text[-1]]


def counted(history: list[Entry], trait: dict[str, Any]) -> list[tuple[int, bytes, Any]]:
    """Instant, event id and value of each event that counts, in the order of their instants."""
    found = {}
    for entry in history:
        public: events.Activity = entry.public()
        personal: Any = entry.personal(KEY)
        is_order = personal.name == "Order Completed"
        if not is_order and not ("page" in trait["of"] and isinstance(personal, events.Viewed)):
            continue
        takes, value = _value(trait, personal.properties)
        if takes:
            found[entry.event_id] = (min(entry.occurred_at, public.received_at), entry.event_id, value)
    return sorted(found.values(), key=lambda one: one[:2])


def _value(trait: dict[str, Any], properties: dict[str, Any]) -> tuple[bool, Any]:
    if "value" not in trait:
        return True, None
    if "total" in trait["value"]:
        try:
            total = properties["total"]
            return not isinstance(total, bool), float(total)
        except (KeyError, TypeError, ValueError):
            return False, None
    value = properties.get("sku")
    return isinstance(value, str | int | float) and len(str(value)) <= 256, value


def in_window(held: list[tuple[int, bytes, Any]], window: Any, at: int) -> list[tuple[int, bytes, Any]]:
    if isinstance(window, str):
        return [one for one in held if at - length(window) < one[0] <= at]
    if window is None or not held:
        return held
    gap, session = length(window["session"]), []  # type: int, list[tuple[int, bytes, Any]]
    if at - held[-1][0] >= gap:
        return []
    for one in reversed(held):
        if session and (session[-1][0] - one[0] >= gap or held[-1][0] - one[0] >= DAY):
            break
        session.append(one)
    return session[::-1]


def told_apart(value: Any) -> Any:
    return (isinstance(value, bool), value)


def naive(history: list[Entry], trait: dict[str, Any], at: int) -> Any:  # noqa: PLR0911 - a case for each aggregate
    held = in_window(counted(history, trait), trait.get("window"), at)
    aggregate, found = trait["aggregate"], [one[2] for one in held]
    if aggregate == "count":
        return len(found)
    if aggregate == "unique_count":
        return len({told_apart(value) for value in found})
    if aggregate == "sum":
        return float(sum(map(Fraction, found)))
    if not found:
        return None
    if aggregate == "average":
        return float(sum(map(Fraction, found))) / len(found)
    if aggregate == "unique_list":
        return list({told_apart(value): value for value in reversed(found)}.values())
    if aggregate == "most_frequent":
        times = Counter(map(told_apart, found))
        return max(enumerate(found), key=lambda one: (times[told_apart(one[1])], one[0]))[1]
    if aggregate == "time_since":
        return (at - held[-1][0]) // SECOND
    if aggregate == "rfm":
        return _rfm(held, at)
    if aggregate == "lifetime_value":
        return _lifetime_value(held, at)
    chosen: dict[str, Any] = {"min": min, "max": max, "first": lambda of: of[0], "last": lambda of: of[-1]}
    return chosen[aggregate](found)


def _lifetime_value(held: list[tuple[int, bytes, Any]], at: int) -> dict[str, Any] | None:
    """As decision 45 says: of the days of UTC with a sum above nothing, the others don't belong to the model."""
    by_day = {day: sum(Fraction(one[2]) for one in held if one[0] // DAY == day) for day in {one[0] // DAY for one in held}}
    days = sorted(day for day, sum_of_day in by_day.items() if sum_of_day > Fraction(1, 1_000_000))
    if not days:
        return None
    again = [float(by_day[day]) for day in days[1:]]
    last_at = max(one[0] for one in held if one[0] // DAY == days[-1])
    step = 0  # the silence as it was when the prediction was last made anew
    while (further := max(step + 1, round(step * 1.1))) * DAY <= at - last_at:
        step = further
    known = Purchases(len(again), days[-1] - days[0], days[-1] - days[0] + step, sum(again) / len(again) if again else 0.0)
    expected = expected_purchases(PARAMETERS, known, 365.0)
    return {
        "value": round(expected * expected_value(PARAMETERS, known), 2),
        "purchases": round(expected, 4),
        "alive": round(probability_alive(PARAMETERS, known), 4),
    }


def _rfm(held: list[tuple[int, bytes, Any]], at: int) -> dict[str, Any]:
    total, scores = float(sum(Fraction(one[2]) for one in held)), SCORES
    return {
        "recency": (EPOCH + timedelta(microseconds=held[-1][0])).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "frequency": len(held),
        "monetary": total,
        "recency_score": 5 - len([bound for bound in scores["recency"] if at - held[-1][0] >= length(str(bound))]),
        "frequency_score": 1 + len([bound for bound in scores["frequency"] if len(held) >= float(bound)]),
        "monetary_score": 1 + len([bound for bound in scores["monetary"] if total >= float(bound)]),
    }
