"""Who is in which segments, and what has to change of what was written of it. Pure."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

import msgspec

from services.profile.domain.computed.aggregates import values
from services.profile.domain.computed.take import join
from services.profile.domain.expressions.tree import EVERY_FIELD, taken_of
from services.profile.domain.golden import COMPUTED, GoldenRecord
from services.profile.domain.rules import Rules
from services.profile.domain.segments import Condition, Known, Segments, alone, members, next_change
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
    return _standing(states, record, rules.segments, at)


def standing_in(segment: str, states: Iterable[State], record: GoldenRecord, rules: Rules, at: int) -> Standing:
    """As `standing`, of one segment; of one that these rules don't define nobody is a member."""
    if rules.segments is None or segment not in rules.segments.conditions:
        return Standing()
    return _standing(states, record, alone(rules.segments, segment), at)


def _standing(states: Iterable[State], record: GoldenRecord, segments: Segments, at: int) -> Standing:
    kept = join(state.computed for state in states)
    traits = {name: trait.value for name, trait in record.traits.items() if name not in segments.definitions.all}
    known = Known(traits, values(kept, segments.definitions, at), at)
    return Standing(members(segments, known), next_change(segments, known, kept))


def moves(
    written: Mapping[bytes, Collection[str]], cluster: Collection[bytes], canonical: bytes, now: Collection[str]
) -> list[Move]:
    """What makes of what is `written`, {customer: segments}, that the canonical one is in those of `now` and no other in any."""
    was, wanted = set(written.get(canonical, ())), set(now)
    found = [Move(canonical, segment, True) for segment in wanted - was]
    found += [Move(canonical, segment, False) for segment in was - wanted]
    found += [Move(other, segment, False) for other in cluster if other != canonical for segment in written.get(other, ())]
    return sorted(found)


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


def rests_on_less(condition: Condition, record: GoldenRecord) -> bool:
    """Whether it looks at a trait of which not all could be considered."""
    names = looks_at(condition)
    return any(
        trait.cut and (name in names or (EVERY_FIELD in names and trait.source != COMPUTED))
        for name, trait in record.traits.items()
    )


def looks_at(condition: Condition) -> frozenset[str]:
    """Names of the traits that being in the segment tells something of; EVERY_FIELD where that can't be read from the expression."""
    return frozenset(condition.uses) | taken_of(condition.when.tree.root, "traits")


def hidden_segments(rules: Rules, may_see: Callable[[str], bool]) -> set[str]:
    """Names of those of which not all may be seen that being in them tells something of."""
    conditions = rules.segments.conditions if rules.segments is not None else {}
    return {name for name, one in conditions.items() if not all(map(may_see, looks_at(one)))}
