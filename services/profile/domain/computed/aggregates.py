"""What kept occurrences amount to at an instant. Sums are exactly rounded (`math.fsum`), so no order of addition shows."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from services.profile.domain.computed.definitions import Definition, Definitions
from services.profile.domain.computed.lifetime_value import (
    SILENCE_STEPS,
    expected_purchases,
    expected_value,
    probability_alive,
    purchases_of,
)
from services.profile.domain.computed.occurrences import Kept, Occurrence
from services.profile.domain.computed.windows import is_cut, next_leaving, within
from shared.instants import DAY, SECOND

Value = Any  # JSON: a number, a text, a list of them, or an object


class ComputedValue(msgspec.Struct, frozen=True):
    """`value` is None when there is nothing to aggregate. `counted` occurrences made it; of more than are kept it is `cut`."""

    value: Value
    counted: int
    cut: bool
    newest: Occurrence | None  # that ever counted

    def __repr__(self) -> str:
        return f"<ComputedValue of {self.counted} occurrences sealed>"


def values(kept: Mapping[str, Kept], definitions: Definitions, at: int) -> dict[str, ComputedValue]:
    """Of each definition, at an instant that is not before any event that was taken."""
    return {name: computed(kept.get(name), definition, at) for name, definition in definitions.all.items()}


def computed(kept: Kept | None, definition: Definition, at: int) -> ComputedValue:
    kept = kept or definition.nothing_kept()
    held = within(kept, definition.span, at)
    cut = kept.most > 1 and is_cut(kept, definition.span, at)
    return ComputedValue(aggregate(definition, held, at), len(held), cut, kept.occurrences[-1] if kept.occurrences else None)


def aggregate(definition: Definition, held: Sequence[Occurrence], at: int) -> Value:
    """Of occurrences in the order of their instants."""
    if not held:
        return _OF_NOTHING.get(definition.aggregate)
    if definition.aggregate == "time_since":
        return max(at - held[-1][0], 0) // SECOND
    if definition.aggregate == "rfm":
        return _rfm(definition, held, at)
    if definition.aggregate == "lifetime_value":
        return _lifetime_value(definition, held, at)
    return _AGGREGATES[definition.aggregate](held)


def next_change(kept: Mapping[str, Kept], definitions: Definitions, at: int) -> int | None:
    """The next instant after `at` at which a value may be another with no event; None when there is none.

    Between the two nothing changes, but what is a reading of the clock: time_since.
    """
    return min((soonest for name, held in kept.items() if (soonest := next_of(held, definitions.all[name], at))), default=None)


def next_of(kept: Kept, definition: Definition, at: int) -> int | None:
    """As `next_change`, of one definition."""
    if not kept.occurrences:
        return None
    leaving = next_leaving(kept, definition.span, at)
    candidates = [] if leaving is None else [leaving]
    if definition.aggregate == "rfm" and within(kept, definition.span, at):
        candidates += [kept.occurrences[-1][0] + bound for bound in definition.recency_us]
    if definition.aggregate == "lifetime_value":
        candidates += [kept.occurrences[-1][0] + days * DAY for days in SILENCE_STEPS]
    return min((instant for instant in candidates if instant > at), default=None)


def _rfm(definition: Definition, held: Sequence[Occurrence], at: int) -> dict[str, Value]:
    assert definition.scores is not None, "checked when it was compiled"
    total, since = _sum(held), at - held[-1][0]
    return {
        "frequency": len(held),
        "monetary": total,
        "recency_score": 5 - sum(since >= bound for bound in definition.recency_us),
        "frequency_score": 1 + sum(len(held) >= bound for bound in definition.scores.frequency),
        "monetary_score": 1 + sum(total >= bound for bound in definition.scores.monetary),
    }


def _lifetime_value(definition: Definition, held: Sequence[Occurrence], at: int) -> dict[str, Value]:
    assert definition.model is not None, "checked when it was compiled"
    known = purchases_of(held, at)
    expected = expected_purchases(definition.model, known, definition.horizon_us / DAY)
    return {
        "value": round(expected * expected_value(definition.model, known), 2),
        "purchases": round(expected, 4),
        "alive": round(probability_alive(definition.model, known), 4),
    }


def _sum(held: Sequence[Occurrence]) -> float:
    return math.fsum(value for _, _, value in held)  # type: ignore[misc]  # of numbers only: what else there was didn't count


def _most_frequent(held: Sequence[Occurrence]) -> Value:
    """Of those that are equally frequent the one that came last."""
    found: dict[bytes, tuple[int, int, Value]] = {}
    for place, (_, _, value) in enumerate(held):
        key = msgspec.msgpack.encode(value)
        found[key] = (found.get(key, (0,))[0] + 1, place, value)
    return max(found.values(), key=lambda one: one[:2])[2]


def _distinct(held: Sequence[Occurrence]) -> list[Value]:
    """The newest first."""
    return list({msgspec.msgpack.encode(value): value for _, _, value in reversed(held)}.values())


def _numbers(held: Sequence[Occurrence]) -> list[Any]:
    return [value for _, _, value in held]


_OF_NOTHING: Final[Mapping[str, Value]] = {"count": 0, "sum": 0.0, "unique_count": 0}
_AGGREGATES: Final[Mapping[str, Callable[[Sequence[Occurrence]], Value]]] = {
    "count": len,
    "sum": _sum,
    "min": lambda held: min(_numbers(held)),
    "max": lambda held: max(_numbers(held)),
    "average": lambda held: _sum(held) / len(held),
    "first": lambda held: held[0][2],
    "last": lambda held: held[-1][2],
    "most_frequent": _most_frequent,
    "unique_list": _distinct,
    "unique_count": lambda held: len(_distinct(held)),
}
