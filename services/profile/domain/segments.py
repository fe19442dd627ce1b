"""Segments: conditions over a customer's traits, computed traits and the present instant. Pure.

```json
{"us_new": {"when": "traits.country == 'US' && traits.signed_up_at > now - duration('4380h')", "title": "New in the US"},
 "lapsed": {"when": "computed.since_order > duration('2160h') && computed.orders >= 3"}}
```
A condition that can't be evaluated, because a trait is missing or of another type, doesn't hold.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import msgspec

from services.profile.domain.computed.aggregates import ComputedValue, next_of
from services.profile.domain.computed.definitions import Definition, Definitions
from services.profile.domain.computed.occurrences import Kept
from services.profile.domain.expressions.clocks import Crossing, crossings, next_crossing
from services.profile.domain.expressions.language import Expression, Kind, Language, Values, instant_of, invalid
from services.profile.domain.expressions.tree import taken_of

MAX_SEGMENTS: Final = 200  # each is weighed whenever a customer changes
MAX_TITLE_CHARACTERS: Final = 500
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_COMPUTED: Final = "computed."
_DOUBLES: Final = ("sum", "min", "max", "average")
_KINDS: Final = {
    "count": Kind.INT,
    "unique_count": Kind.INT,
    "time_since": Kind.DURATION,
    "unique_list": Kind.List(Kind.DYN),
    "rfm": Kind.Map(Kind.STRING, Kind.DYN),
    "lifetime_value": Kind.Map(Kind.STRING, Kind.DYN),
} | dict.fromkeys(_DOUBLES, Kind.DOUBLE)


class Segment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    when: str
    title: str = ""


Section = dict[str, Segment]


@dataclass(frozen=True, slots=True)
class Condition:
    """A segment's, compiled. `uses` are the computed traits that it looks at, `sent` the others; EVERY_FIELD where that can't be read."""

    name: str
    when: Expression
    crossings: list[Crossing]
    uses: frozenset[str]
    sent: frozenset[str]


@dataclass(frozen=True, slots=True)
class Segments:
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    definitions: Definitions = field(default_factory=Definitions)
    language: Language = field(default_factory=lambda: Language({}))


class Known(msgspec.Struct, frozen=True):
    """What is known of a customer at an instant: the golden traits that were sent, and the computed ones that the conditions look at as
    they are at `now`."""

    traits: Mapping[str, Any]
    computed: Mapping[str, ComputedValue]
    now: int

    def __repr__(self) -> str:
        return "<Known sealed>"


def compile_section(section: Mapping[str, Segment], definitions: Definitions) -> Segments:
    """Raises InvalidInput (RULES_INVALID), whose text names the segment and the place."""
    if len(section) > MAX_SEGMENTS:
        raise invalid("segments", f"there are at most {MAX_SEGMENTS} segments")
    kinds = {f"{_COMPUTED}{name}": _KINDS.get(d.aggregate, Kind.DYN) for name, d in definitions.all.items()}
    language = Language({"traits": Kind.Map(Kind.STRING, Kind.DYN), "now": Kind.TIMESTAMP} | kinds)
    conditions = {name: _compile(name, segment, language, definitions) for name, segment in sorted(section.items())}
    return Segments(conditions, definitions, language)


def members(segments: Segments, known: Known) -> frozenset[str]:
    """Names of the segments that the customer is in."""
    if not segments.conditions:
        return frozenset()
    values = _values(segments, known)
    return frozenset(name for name, condition in segments.conditions.items() if condition.when.evaluate(values) is True)


def only(segments: Segments, names: Collection[str]) -> Segments:
    """As if no others than these were defined."""
    conditions = {name: one for name, one in segments.conditions.items() if name in names}
    return Segments(conditions, segments.definitions, segments.language)


def used(segments: Segments) -> frozenset[str]:
    """Names of the computed traits that the conditions look at."""
    return frozenset[str]().union(*(condition.uses for condition in segments.conditions.values()))


def next_change(segments: Segments, known: Known, kept: Mapping[str, Kept]) -> int | None:
    """The next instant after `now` at which the customer may enter or leave a segment with no event; None when there is none."""
    return min((at for at in next_changes(segments, known, kept).values() if at is not None), default=None)


def next_changes(segments: Segments, known: Known, kept: Mapping[str, Kept]) -> dict[str, int | None]:
    """As `next_change`, of each segment."""
    if not segments.conditions:
        return {}
    of_trait = {name: next_of(kept[name], segments.definitions.all[name], known.now) for name in used(segments) if name in kept}
    values = _values(segments, known) if any(one.crossings for one in segments.conditions.values()) else None
    found = dict[str, int | None]()
    for name, condition in segments.conditions.items():
        instants = [of_trait.get(trait) for trait in condition.uses]
        if condition.crossings and values is not None:
            instants.append(next_crossing(condition.crossings, values, known.now))
        found[name] = min((instant for instant in instants if instant is not None), default=None)
    return found


def _compile(name: str, segment: Segment, language: Language, definitions: Definitions) -> Condition:
    where = f"segments.{name}"
    for why in _objections(name, segment):
        raise invalid(where, why)
    when = language.compile(segment.when, f"{where}.when", Kind.BOOL, Kind.DYN)
    for node in when.tree.root.walk():
        if node.kind == "select" and node.name in definitions.all and node.children[0].name == "traits":
            raise invalid(f"{where}.when", f"{node.name} is computed: write computed.{node.name}")
    clocks = {f"{_COMPUTED}{d.name}" for d in definitions.all.values() if d.aggregate == "time_since"}
    return Condition(
        name=name,
        when=when,
        crossings=crossings(language, when, frozenset({"now", *clocks}), f"{where}.when"),
        uses=frozenset(
            node.name.removeprefix(_COMPUTED)
            for node in when.tree.root.walk()
            if node.kind == "identifier" and _COMPUTED in node.name
        ),
        sent=taken_of(when.tree.root, "traits"),
    )


def _objections(name: str, segment: Segment) -> Iterator[str]:
    if not _NAME.fullmatch(name):
        yield "a name is 1 to 64 letters, digits and _, and begins with no digit"
    if len(segment.title) > MAX_TITLE_CHARACTERS:
        yield f"a title has at most {MAX_TITLE_CHARACTERS} characters"


def _values(segments: Segments, known: Known) -> Values:
    content: dict[str, Any] = {"traits": dict(known.traits), "now": instant_of(known.now)}
    for name, computed in known.computed.items():
        value = _value(segments.definitions.all[name], computed, known.now)
        if value is not None:
            content[f"{_COMPUTED}{name}"] = value
    return segments.language.values(content)


def _value(definition: Definition, computed: ComputedValue, now: int) -> Any:
    """As its type has it: time_since to the microsecond."""
    if definition.aggregate == "time_since":
        return None if computed.newest is None else timedelta(microseconds=now - computed.newest[0])
    if definition.aggregate in _DOUBLES and computed.value is not None:
        return float(computed.value)
    return computed.value
