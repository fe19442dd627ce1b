"""What kept occurrences and totals amount to at an instant. Sums are exactly rounded, so no order of addition shows."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import msgspec

from services.profile.domain.computed.definitions import Definition, Definitions, text_of
from services.profile.domain.computed.lifetime_value import (
    expected_purchases,
    expected_value,
    last_bought,
    next_step,
    probability_alive,
    purchases_of,
)
from services.profile.domain.computed.occurrences import Kept, Occurrence, total_of
from services.profile.domain.computed.totals import Total
from services.profile.domain.computed.windows import is_cut, next_leaving, within
from services.profile.domain.expressions.language import instant_of
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


def values(
    kept: Mapping[str, Kept], definitions: Definitions, at: int, names: Collection[str] | None = None
) -> dict[str, ComputedValue]:
    """Of each definition, or of these, at an instant that is not before any event that was taken."""
    wanted = definitions.all if names is None else names
    return {name: computed(kept.get(name), definitions.all[name], at) for name in wanted}


def computed(kept: Kept | None, definition: Definition, at: int) -> ComputedValue:
    kept = kept or definition.nothing_kept()
    held = within(kept, definition.span, at)
    total = total_of(kept) if kept.how == "all" else None
    counted = len(held) if total is None else total.count
    cut = total is None and kept.most > 1 and is_cut(kept, definition.span, at)
    newest = kept.occurrences[-1] if kept.occurrences else None
    return ComputedValue(aggregate(definition, held, total, at), counted, cut, newest)


FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "rfm": frozenset({"recency", "frequency", "monetary", "recency_score", "frequency_score", "monetary_score"}),
    "lifetime_value": frozenset({"value", "purchases", "alive"}),
}


def aggregate(definition: Definition, held: Sequence[Occurrence], total: Total | None, at: int) -> Value:
    """Of occurrences in the order of their instants; and of more than these where there is a total of all."""
    if not held:
        return _OF_NOTHING.get(definition.aggregate)
    if definition.aggregate == "time_since":
        return max(at - held[-1][0], 0) // SECOND
    if definition.aggregate == "lifetime_value":
        return _lifetime_value(definition, held, at)
    if definition.aggregate in _OF_VALUES:
        return _OF_VALUES[definition.aggregate](held)
    total = total or _total(held)
    return _rfm(definition, total, held[-1][0], at) if definition.aggregate == "rfm" else _OF_TOTALS[definition.aggregate](total)


def next_change(kept: Mapping[str, Kept], definitions: Definitions, at: int) -> int | None:
    """The next instant after `at` at which a value, or whether it is cut, may be another with no event; None when there is none.

    Between the two nothing changes, but what is a reading of the clock: time_since.
    """
    return min((soonest for name, held in kept.items() if (soonest := next_of(held, definitions.all[name], at))), default=None)


def next_of(kept: Kept, definition: Definition, at: int) -> int | None:
    """As `next_change`, of one definition."""
    if not kept.occurrences:
        return None
    leaving = next_leaving(kept, definition.span, at)
    candidates = [] if leaving is None else [leaving]
    if kept.cut_at and kept.most > 1 and definition.span.sliding_us is not None:
        candidates.append(kept.cut_at + definition.span.sliding_us)  # from then on none is missing
    if definition.aggregate == "rfm" and within(kept, definition.span, at):
        candidates += [kept.occurrences[-1][0] + bound for bound in definition.recency_us]
    if definition.aggregate == "lifetime_value" and (silent_from := last_bought(within(kept, definition.span, at))) is not None:
        candidates += [step] if (step := next_step(silent_from, at)) is not None else []
    return min((instant for instant in candidates if instant > at), default=None)


def _rfm(definition: Definition, total: Total, last: int, at: int) -> dict[str, Value]:
    """Recency as an instant: a number of days would be another value with every day."""
    assert definition.scores is not None, "checked when it was compiled"
    return {
        "recency": text_of(instant_of(last)),
        "frequency": total.count,
        "monetary": total.sum,
        "recency_score": 5 - sum(at - last >= bound for bound in definition.recency_us),
        "frequency_score": 1 + sum(total.count >= bound for bound in definition.scores.frequency),
        "monetary_score": 1 + sum(total.sum >= bound for bound in definition.scores.monetary),
    }


def _lifetime_value(definition: Definition, held: Sequence[Occurrence], at: int) -> dict[str, Value] | None:
    """None of whom nothing was bought by, all told."""
    assert definition.model is not None, "checked when it was compiled"
    if (known := purchases_of(held, at)) is None:
        return None
    expected = expected_purchases(definition.model, known, definition.horizon_us / DAY)
    return {
        "value": round(expected * expected_value(definition.model, known), 2),
        "purchases": round(expected, 4),
        "alive": round(probability_alive(definition.model, known), 4),
    }


def _total(held: Sequence[Occurrence]) -> Total:
    """Of a window, whose sum is needed correctly rounded alone. What counts without a value has none to add."""
    summed = held[0][2] is not None
    return Total(len(held), (math.fsum(value for _, _, value in held),) if summed else ())  # type: ignore[misc]  # of numbers only


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
_OF_TOTALS: Final[Mapping[str, Callable[[Total], Value]]] = {
    "count": lambda total: total.count,
    "sum": lambda total: total.sum,
    "average": lambda total: total.sum / total.count,
}
_OF_VALUES: Final[Mapping[str, Callable[[Sequence[Occurrence]], Value]]] = {
    "min": lambda held: min(_numbers(held)),
    "max": lambda held: max(_numbers(held)),
    "first": lambda held: held[0][2],
    "last": lambda held: held[-1][2],
    "most_frequent": _most_frequent,
    "unique_list": _distinct,
    "unique_count": lambda held: len(_distinct(held)),
}
