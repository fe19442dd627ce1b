"""Which of the values that were said of a trait survives, by a rule; and of every other why it doesn't.

All rules choose the best by a measure, and of equally good ones the latest. What was said before a removal is out, whoever said
it; what is of another type than the rule's is out; with verified_first what the person has confirmed comes before all else.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from services.profile.domain.rules import TraitRule
from services.profile.domain.said import Assertion, Rank
from services.profile.domain.values import is_of, measure, same

MAX_UNION_ITEMS: Final = 1_000  # of a list that sources fill together; the earliest stay

Reason = Literal[
    "REMOVAL",  # it is the removal of the trait, and no value
    "REMOVED",  # said before a removal
    "TYPE_MISMATCH",
    "UNVERIFIED",  # and another one is verified
    "OLDER",  # no worse, and a later one is there
    "LOWER_PRIORITY",
    "LESS_FREQUENT",
    "LATER",
    "LARGER",
    "SMALLER",
    "SHORTER",
    "REPEATED",  # brings no item that isn't there already
    "NO_FIELD",  # of an object that is chosen field by field: each of its fields is chosen from another
    "CUT",  # beyond what is kept
    "TOO_LARGE",
    "COMPUTED",  # the trait is computed from events, and what sources say under its name isn't served
]


class Chosen(NamedTuple):
    """A value, and whose it is: the latest first where several contributed. `cut`: something had to be left out of it."""

    value: Any
    by: Sequence[Assertion]
    cut: bool = False

    def __repr__(self) -> str:
        return "<Chosen sealed>"


Fields = dict[bytes, dict[str, Reason | None]]  # by event id, then by the field's name


class Verdicts(msgspec.Struct):
    """What survives, if anything does, and by event id why each of the others doesn't.

    `fields`: of what took part in an object that is chosen field by field, why each of its fields doesn't survive; None: it does.
    """

    chosen: Chosen | None
    lost: dict[bytes, Reason]
    fields: Fields = {}

    def __repr__(self) -> str:
        return f"<Verdicts of {len(self.lost)} sealed>"


class _Measure(NamedTuple):
    of: Callable[[Assertion], Any]
    best: Callable[[Iterable[Any]], Any]
    worse: Reason


def judge(said: Collection[Assertion], removed: Rank | None, rule: TraitRule, verified: Collection[Any]) -> Verdicts:
    """`removed` is the rank of the latest removal, if there was one; `verified` are values that the person has confirmed."""
    lost: dict[bytes, Reason] = {}
    left = list(said)
    sieves: list[tuple[Reason, Callable[[Assertion], bool]]] = [
        ("REMOVAL", lambda one: one.value is not None),
        ("REMOVED", lambda one: removed is None or one.rank > removed),
        ("TYPE_MISMATCH", lambda one: _fits(one.value, rule)),
    ]
    if rule.verified_first:
        sieves.append(("UNVERIFIED", lambda one: isinstance(one.value, str) and one.value in verified))
    for reason, passes in sieves:
        passed = [one for one in left if passes(one)]
        if reason == "UNVERIFIED" and not passed:
            continue
        lost |= {one.event_id: reason for one in left if not passes(one)}
        left = passed
    if not left:
        return Verdicts(None, lost)
    found = _choose(left, rule)
    return Verdicts(found.chosen, lost | found.lost, found.fields)


def _choose(left: list[Assertion], rule: TraitRule) -> Verdicts:
    if rule.by_field:
        return _by_field(left, rule)
    if rule.rule == "union":
        return _union(left)
    by = _measure(left, rule)
    measured = [(by.of(one), one) for one in left]
    best = by.best(found for found, _ in measured)
    winner = max((one for found, one in measured if found == best), key=lambda one: one.rank)
    lost: dict[bytes, Reason] = {
        one.event_id: "OLDER" if found == best else by.worse for found, one in measured if one is not winner
    }
    return Verdicts(Chosen(winner.value, [winner]), lost)


def _measure(left: list[Assertion], rule: TraitRule) -> _Measure:
    match rule.rule:
        case "source_priority":
            places = {source: place for place, source in enumerate(rule.sources)}
            return _Measure(lambda one: places.get(one.source, len(places)), min, "LOWER_PRIORITY")
        case "most_frequent":
            counts = Counter(same(one.value) for one in left)
            return _Measure(lambda one: counts[same(one.value)], max, "LESS_FREQUENT")
        case "first":
            return _Measure(lambda one: one.rank, min, "LATER")
        case "min" | "max":
            kind = rule.type or "text"
            best, worse = (min, "LARGER") if rule.rule == "min" else (max, "SMALLER")
            return _Measure(lambda one: measure(one.value, kind), best, worse)  # type: ignore[arg-type]
        case "longest":
            return _Measure(lambda one: len(one.value), max, "SHORTER")
        case _:
            return _Measure(lambda one: one.rank, max, "OLDER")


def _union(left: list[Assertion]) -> Verdicts:
    """The items in the order in which they were first said."""
    items: dict[bytes, Any] = {}
    by: list[Assertion] = []
    lost: dict[bytes, Reason] = {}
    for one in sorted(left, key=lambda one: one.rank):
        said = one.value if isinstance(one.value, list) else [one.value]
        new: dict[bytes, Any] = {}
        for item in said:
            if (key := same(item)) not in items:
                new.setdefault(key, item)
        room = dict(list(new.items())[: MAX_UNION_ITEMS - len(items)])
        items |= room
        if room or not by:  # an empty list is a value too
            by.append(one)
        else:
            lost[one.event_id] = "CUT" if new else "REPEATED"
    cut = len(items) == MAX_UNION_ITEMS and any(same(item) not in items for one in left for item in _listed(one.value))
    return Verdicts(Chosen(list(items.values()), by[::-1], cut), lost)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _by_field(left: list[Assertion], rule: TraitRule) -> Verdicts:
    """Each field by its own candidates; null removes what was said before of that field."""
    plain = msgspec.structs.replace(rule, by_field=False, type=None, verified_first=False)
    whole: dict[str, Any] = {}
    by: dict[bytes, Assertion] = {}
    own = {one.event_id: one for one in left}
    fields: Fields = {event_id: {} for event_id in own}
    for name in sorted({name for one in left for name in one.value}):
        said = [msgspec.structs.replace(one, value=one.value[name]) for one in left if name in one.value]
        verdicts = judge(said, latest_removal(said), plain, ())
        for one in said:
            fields[one.event_id][name] = verdicts.lost.get(one.event_id)
        if verdicts.chosen is not None:
            whole[name] = verdicts.chosen.value
            by |= {one.event_id: own[one.event_id] for one in verdicts.chosen.by}
    if not by:  # nothing but empty objects and removed fields
        latest = max(left, key=lambda one: one.rank)
        by = {latest.event_id: latest}
    lost: dict[bytes, Reason] = {one.event_id: "NO_FIELD" for one in left if one.event_id not in by}
    return Verdicts(Chosen(whole, sorted(by.values(), key=lambda one: one.rank, reverse=True)), lost, fields)


def misses(too_large: Rank | None, removed: Rank | None, chosen: Rank | None, rule: TraitRule) -> bool:
    """Whether a value that is larger than a profile carries might have been chosen instead; `chosen` is the rank of what was."""
    if too_large is None or (removed is not None and removed >= too_large):
        return False
    return chosen is None or rule.rule != "most_recent" or rule.needs_all or too_large > chosen


def latest_removal(said: Iterable[Assertion]) -> Rank | None:
    return max((one.rank for one in said if one.value is None), default=None)


def _fits(value: Any, rule: TraitRule) -> bool:
    if rule.by_field:
        return isinstance(value, dict)
    return rule.type is None or is_of(value, rule.type)
