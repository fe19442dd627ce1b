"""Definitions of computed traits, checked and compiled."""

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import msgspec

from services.profile.domain.computed.document import (
    MAX_COMPUTED,
    MAX_TITLE_CHARACTERS,
    OF_NUMBERS,
    OF_TIME,
    TOTALLED,
    UNIQUE,
    WITHOUT_VALUE,
    Aggregate,
    ComputedTrait,
    Scores,
)
from services.profile.domain.computed.events import EVENT
from services.profile.domain.computed.lifetime_value import MAX_HORIZON_US, SILENCE_STEPS, LifetimeModel
from services.profile.domain.computed.names import event_names
from services.profile.domain.computed.occurrences import MAX_OCCURRENCES, How, Kept, Scalar
from services.profile.domain.computed.windows import MAX_WINDOW_US, Span, duration, span_of
from services.profile.domain.expressions.language import Expression, Kind, Language, Values, invalid
from services.profile.domain.expressions.tree import taken_of
from shared.instants import DAY

MAX_VALUE_CHARACTERS = 256  # a longer text doesn't count: a value is kept for each event
MAX_LISTED = 200  # values of a unique_list
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_EXACT_INT = 2**53
MAX_NUMBER = 1e15  # a larger one doesn't count: sums stay finite


@dataclass(frozen=True, slots=True)
class Definition:
    """`names` are those that an event must have to count, None when any."""

    name: str
    aggregate: Aggregate
    span: Span
    of: Expression
    value: Expression | None
    names: frozenset[str] | None
    recency_us: tuple[int, ...] = ()  # of scores
    scores: Scores | None = None
    model: LifetimeModel | None = None
    horizon_us: int = 0

    @property
    def traits(self) -> frozenset[str]:
        """Names of the traits in events that it tells something of; EVERY_FIELD where that can't be read."""
        return frozenset[str]().union(*(taken_of(one.tree.root, "event.traits") for one in (self.of, self.value) if one))

    @property
    def depends_on_time(self) -> bool:
        """Whether its value may become another with no event."""
        return not self.span.is_open or self.aggregate in OF_TIME

    @property
    def delays_us(self) -> frozenset[int]:
        """How long after an event that counts the value may become another with no other event."""
        windows = {length for length in (self.span.sliding_us, self.span.gap_us) if length is not None}
        steps = {days * DAY for days in SILENCE_STEPS if days} if self.aggregate == "lifetime_value" else set[int]()
        return frozenset(windows | steps | set(self.recency_us))

    @property
    def meaning(self) -> tuple[object, ...]:
        """All that its value follows from: of two that are equal in it the values are, too."""
        of, value = self.of.text, self.value and self.value.text
        return of, value, self.aggregate, self.span, self.recency_us, self.scores, self.model, self.horizon_us

    def nothing_kept(self) -> Kept:
        most = 1 if self.aggregate in ("last", "time_since") else MAX_LISTED if self.aggregate == "unique_list" else MAX_OCCURRENCES
        return Kept(_how(self.aggregate, self.span), self.span.horizon_us, most)

    @property
    def counts_at_most(self) -> int | None:
        """Of a number of events or values, where not all are kept."""
        kept = self.nothing_kept()
        return kept.most if self.aggregate in ("count", "unique_count") and kept.how != "all" else None


@dataclass(frozen=True, slots=True, eq=False)
class Alike:
    """Definitions for which the same events count by the same values: looked at once for all of them."""

    of: Expression
    value: Expression | None
    of_numbers: bool
    definitions: tuple[Definition, ...]

    def counts(self, values: Values) -> tuple[bool, Scalar]:
        """Whether an event counts, and its value."""
        if self.of.evaluate(values) is not True:
            return False, None
        if self.value is None:
            return True, None
        value = _scalar(self.value.evaluate(values))
        if value is None or (self.of_numbers and not _is_number(value)):
            return False, None
        return True, value


@dataclass(frozen=True, eq=False)
class Definitions:
    """By name, and by the names of the events that they need, so that most events cost nothing.

    Equal are those by which the same is kept of events; what is made of that may differ.
    """

    all: Mapping[str, Definition] = field(default_factory=dict)
    language: Language = field(default_factory=lambda: Language(EVENT))
    by_event: Mapping[str, tuple[Alike, ...]] = field(default_factory=dict)
    of_any: tuple[Alike, ...] = ()

    @cached_property
    def digest(self) -> bytes:
        """Of all that decides what is kept."""
        content = [(d.name, d.of.text, d.value and d.value.text, d.aggregate, d.nothing_kept()) for d in self.all.values()]
        return hashlib.sha256(msgspec.msgpack.encode(content)).digest()

    @cached_property
    def used(self) -> frozenset[str]:
        """Variables of an event that any of them looks at."""
        expressions = [one for d in self.all.values() for one in (d.of, d.value) if one is not None]
        return frozenset(name for one in expressions for name in one.variables) & EVENT.keys()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Definitions) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def wanting(self, event_name: str) -> tuple[Alike, ...]:
        """Those that an event of this name may count for."""
        return self.by_event.get(event_name, ()) + self.of_any


def compile_section(section: Mapping[str, ComputedTrait]) -> Definitions:
    """Raises InvalidInput (RULES_INVALID), whose text names the definition and the place."""
    if len(section) > MAX_COMPUTED:
        raise invalid("computed", f"there are at most {MAX_COMPUTED} computed traits")
    language = Language(EVENT)
    found = {name: _compile(name, trait, language) for name, trait in sorted(section.items())}
    by_event: dict[str, tuple[Alike, ...]] = {}
    of_any: tuple[Alike, ...] = ()
    for one in _alike(found.values()):
        names = one.definitions[0].names
        if names is None:
            of_any += (one,)
        for event_name in names or ():
            by_event[event_name] = (*by_event.get(event_name, ()), one)
    return Definitions(found, language, by_event, of_any)


def _alike(definitions: Iterable[Definition]) -> Iterator[Alike]:
    found: dict[tuple[Expression, Expression | None, bool], list[Definition]] = {}  # the same text is compiled once
    for one in definitions:
        found.setdefault((one.of, one.value, one.aggregate in OF_NUMBERS), []).append(one)
    for (of, value, of_numbers), several in found.items():
        yield Alike(of, value, of_numbers, tuple(several))


def _compile(name: str, trait: ComputedTrait, language: Language) -> Definition:
    where = f"computed.{name}"
    for why in _objections(name, trait):
        raise invalid(where, why)
    of = language.compile(trait.of, f"{where}.of", Kind.BOOL)
    value = None if trait.value is None else language.compile(trait.value, f"{where}.value")
    return Definition(
        name=name,
        aggregate=trait.aggregate,
        span=span_of(trait.window, f"{where}.window"),
        of=of,
        value=value,
        names=event_names(of.tree.root),
        recency_us=tuple(duration(text, f"{where}.scores.recency", MAX_WINDOW_US) for text in trait.scores.recency)
        if trait.scores
        else (),
        scores=trait.scores,
        model=trait.model,
        horizon_us=duration(trait.horizon, f"{where}.horizon", MAX_HORIZON_US) if trait.horizon else 0,
    )


def _objections(name: str, trait: ComputedTrait) -> Iterator[str]:
    if not _NAME.fullmatch(name):
        yield "a name is 1 to 64 letters, digits and _, and begins with no digit"
    if len(trait.title) > MAX_TITLE_CHARACTERS:
        yield f"a title has at most {MAX_TITLE_CHARACTERS} characters"
    if (trait.value is None) != (trait.aggregate in WITHOUT_VALUE):
        yield (
            f"{trait.aggregate} takes no value"
            if trait.value
            else f"{trait.aggregate} needs a value, such as double(event.properties.total)"
        )
    if trait.aggregate == "time_since" and trait.window is not None:
        yield "time_since has no window"
    if (trait.scores is None) != (trait.aggregate != "rfm"):
        yield "rfm, and only that, needs scores"
    if (trait.model is None or trait.horizon is None) != (trait.aggregate != "lifetime_value"):
        yield "lifetime_value, and only that, needs a model, as `c360 profile lifetime fit` writes it, and a horizon, such as 365d"
    if trait.model is not None and trait.window is not None:
        yield "a lifetime_value has no window"
    if trait.model is not None and (why := trait.model.objection):
        yield f"its model isn't taken: {why}"
    if trait.scores and any(list(bounds) != sorted(set(bounds)) for bounds in (trait.scores.frequency, trait.scores.monetary)):
        yield "the bounds of scores rise"


def _how(aggregate: Aggregate, span: Span) -> How:
    if aggregate in UNIQUE and span.gap_us is None:
        return "distinct"
    if span.is_open:
        only: dict[str, How] = {"first": "earliest", "min": "least", "max": "greatest"}
        return "all" if aggregate in TOTALLED else only.get(aggregate, "newest")
    return "newest"


def _scalar(value: Any) -> Scalar:
    """None for what can't be a value. 5.0 and 5 are one value, as they are in JSON."""
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return int(value) if value.is_integer() and abs(value) <= _EXACT_INT else value
    if isinstance(value, datetime):
        return text_of(value)
    if isinstance(value, str):
        return value if len(value) <= MAX_VALUE_CHARACTERS else None
    return value if isinstance(value, bool | int) else None


def text_of(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _is_number(value: Scalar) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_NUMBER
