"""Who is in which segments, and what has to change of what was written of it. Pure."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

import msgspec

from services.profile.domain.computed.aggregates import values
from services.profile.domain.computed.occurrences import Kept
from services.profile.domain.computed.take import join
from services.profile.domain.expressions.tree import EVERY_FIELD
from services.profile.domain.golden import COMPUTED, GoldenRecord, GoldenTrait, VerifiedValue, surviving
from services.profile.domain.rules import Rules
from services.profile.domain.segments import Condition, Known, Segments, members, next_change, only, used
from services.profile.domain.state import State

NOWHERE: Final[frozenset[str]] = frozenset()


class Standing(msgspec.Struct, frozen=True):
    """The segments that a customer is in, and the next instant at which time alone may change that; None when it never does."""

    segments: frozenset[str] = NOWHERE
    due_at: int | None = None


class Move(msgspec.Struct, frozen=True, order=True):
    customer: bytes
    segment: str
    entered: bool  # or left


def standing(states: Iterable[State], record: GoldenRecord, rules: Rules, at: int) -> Standing:
    """Of the customer that these states are, whose golden record this is at that instant."""
    if rules.segments is None:
        return Standing()
    return _standing(states, record.traits, rules.segments, at)


def standing_by(
    states: dict[bytes, State], rules: Rules, segments: Segments, verified: Collection[VerifiedValue], at: int
) -> Standing:
    """As `standing`, of `segments` of these rules; of the golden record no more is made than they look at."""
    return _standing(states.values(), looked_at_of(states, rules, segments, verified), segments, at)


def looked_at_of(
    states: dict[bytes, State], rules: Rules, segments: Segments, verified: Collection[VerifiedValue]
) -> dict[str, GoldenTrait]:
    """What these segments look at of the golden record, but for computed traits: the same at every instant."""
    names = frozenset[str]().union(*(one.sent for one in segments.conditions.values()))
    return surviving(states, rules, verified, None if EVERY_FIELD in names else names)


def standing_in(segment: str, states: Iterable[State], record: GoldenRecord, rules: Rules, at: int) -> Standing:
    """As `standing`, of one segment; of one that these rules don't define nobody is a member."""
    if rules.segments is None or segment not in rules.segments.conditions:
        return Standing()
    return _standing(states, record.traits, only(rules.segments, [segment]), at)


def _standing(states: Iterable[State], record: Mapping[str, GoldenTrait], segments: Segments, at: int) -> Standing:
    kept = join(state.computed for state in states)
    known = known_at(sent_values(record, segments), kept, segments, at)
    return Standing(members(segments, known), next_change(segments, known, kept))


def sent_values(record: Mapping[str, GoldenTrait], segments: Segments) -> dict[str, Any]:
    """Of the traits that aren't computed."""
    return {name: trait.value for name, trait in record.items() if name not in segments.definitions.all}


def known_at(sent: Mapping[str, Any], kept: Mapping[str, Kept], segments: Segments, at: int) -> Known:
    return Known(sent, values(kept, segments.definitions, at, used(segments)), at)


def moves(
    written: Mapping[bytes, Collection[str]], cluster: Collection[bytes], canonical: bytes, now: Collection[str]
) -> list[Move]:
    """What makes of what is `written`, {customer: segments}, that the canonical one is in those of `now` and no other in any."""
    was, wanted = set(written.get(canonical, ())), set(now)
    found = [Move(canonical, segment, True) for segment in wanted - was]
    found += [Move(canonical, segment, False) for segment in was - wanted]
    found += [Move(other, segment, False) for other in cluster if other != canonical for segment in written.get(other, ())]
    return sorted(found)


def differing(old: Rules, new: Rules) -> frozenset[str]:
    """Names of segments, of either, in which somebody may be by one of the rules and not by the other."""
    conditions = [one.segments.conditions if one.segments is not None else {} for one in (old, new)]
    both = conditions[0].keys() & conditions[1].keys()
    same = {name for name in both if _says_the_same(conditions[0][name], conditions[1][name], old, new)}
    return frozenset((conditions[0].keys() | conditions[1].keys()) - same)


def is_the_same(segment: str, old: Rules, new: Rules) -> bool:
    """Whether by each of the rules, of which both define it, the same are in it, judged by as much."""
    one, other = (rules.segments.conditions.get(segment) if rules.segments is not None else None for rules in (old, new))
    return one is not None and other is not None and _says_the_same(one, other, old, new)


def _says_the_same(one: Condition, other: Condition, old: Rules, new: Rules) -> bool:
    """Whether it is the same condition, and all that it looks at is made in the same way."""
    if one.when.text != other.when.text:
        return False
    was, now = (rules.computed.all if rules.computed is not None else {} for rules in (old, new))
    if any(was[name].meaning != now[name].meaning for name in one.uses):
        return False
    if old.keeping.first != new.keeping.first and not one.sent <= old.keeping.first & new.keeping.first:
        return False  # of whoever has too many traits others may be left out
    if EVERY_FIELD in one.sent:  # what is sent under the name of a computed trait isn't looked at
        return (old.default, old.traits) == (new.default, new.traits) and was.keys() == now.keys()
    return all(old.of(name) == new.of(name) and (name in was) is (name in now) for name in one.sent)


def seen_by(defining: Iterable[Rules], segment: str, may_see: Callable[[str], bool]) -> dict[int, bool]:
    """{version of the rules that defines the segment: whether somebody with such sight may see what it looks at}."""
    conditions = {rules.version: rules.segments.conditions.get(segment) for rules in defining if rules.segments is not None}
    return {number: all(map(may_see, looks_at(one))) for number, one in conditions.items() if one is not None}


def told_by(defining: Iterable[Rules], segment: str, may_see: Callable[[str], bool]) -> Callable[[int, bool], bool]:
    """Of versions of the rules: whether somebody with such sight may hear of a change by one of them, (version, by other rules).

    A change by other rules, or by ones that don't define the segment, tells also of what the versions before looked at.
    """
    seen = seen_by(defining, segment, may_see)
    hidden = [number for number, sees in seen.items() if not sees]

    def told(version: int, by_others: bool) -> bool:
        if by_others or version not in seen:
            return all(number > version for number in hidden)
        return seen[version]

    return told


def by_events_alone(rules: Rules, segments: Iterable[str]) -> bool:
    """Whether who is in these segments changes by events alone, and with each to the same at whatever instant it is asked."""
    if rules.segments is None or rules.verifying:  # confirming a value is no event
        return False
    definitions, conditions = rules.segments.definitions.all, rules.segments.conditions
    return all(
        not conditions[name].crossings and not any(definitions[used].depends_on_time for used in conditions[name].uses)
        for name in segments
    )


def judged_by_less(record: GoldenRecord, rules: Rules) -> frozenset[str]:
    """Names of the segments of which it can't be told by all that was said and happened."""
    less = record.left_out or record.too_large or any(trait.cut for trait in record.traits.values())
    if not less or rules.segments is None:
        return NOWHERE
    return frozenset(name for name, one in rules.segments.conditions.items() if rests_on_less(one, record, rules))


def rests_on_less(condition: Condition, record: GoldenRecord, rules: Rules) -> bool:
    """Whether it looks at a trait of which not all could be considered, or that may have been left out."""
    names = looks_at(condition)
    if record.left_out and not condition.sent <= rules.keeping.first:
        return True
    if record.too_large and (EVERY_FIELD in names or not record.too_large.isdisjoint(names)):
        return True
    return any(
        trait.cut and (name in names or (EVERY_FIELD in names and trait.source != COMPUTED))
        for name, trait in record.traits.items()
    )


def looks_at(condition: Condition) -> frozenset[str]:
    """Names of the traits that being in the segment tells something of; EVERY_FIELD where that can't be read from the expression."""
    return condition.uses | condition.sent


def hidden_segments(rules: Rules, may_see: Callable[[str], bool]) -> set[str]:
    """Names of those of which not all may be seen that being in them tells something of."""
    conditions = rules.segments.conditions if rules.segments is not None else {}
    return {name for name, one in conditions.items() if not all(map(may_see, looks_at(one)))}
