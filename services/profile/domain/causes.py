"""What made what differs between two answers: other rules, the passing of time and what the person decided, or events."""

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from services.profile.domain.diff import ByDecision, ByEvent, ByRules, ByTime, Cause, Difference, Side, told_by_segment
from services.profile.domain.expressions.tree import EVERY_FIELD
from services.profile.domain.golden import GoldenTrait
from services.profile.domain.said import Rank, assertions
from services.profile.domain.state import State
from shared.events import customer as events

COUNTED_AT_MOST: Final = 100  # events of one computed trait that are told of one difference


class OtherRules:
    """Between two answers that differ in nothing but the rules."""

    def __init__(self, old: Side, new: Side) -> None:
        versions = old.rules.version, new.rules.version
        self._cause = ByRules(max(versions), undone=versions[0] > versions[1])

    def of_trait(self, name: str) -> Cause:
        return self._cause

    def counted(self, name: str) -> tuple[bytes, ...]:
        return ()

    def of_identifier(self, value_hash: bytes) -> Cause:
        return self._cause

    def of_member(self, member: bytes) -> Cause:
        return self._cause

    def of_segment(self, name: str) -> Cause:
        return self._cause

    def of_decided(self, purpose: str) -> Cause:
        return self._cause


class Passing:
    """Between two answers from the same states by the same rules, at two instants: time passed, and decisions came."""

    def __init__(self, old: Side, new: Side) -> None:
        self._old, self._new = old, new
        self._undone = new.at < old.at
        self._first, self._last = min(old.at, new.at), max(old.at, new.at)

    def of_trait(self, name: str) -> Cause:
        """The confirmation of the value itself, if it came; else the latest one of another value; else it was time."""
        known = {**self._new.confirmed, **self._old.confirmed}
        came = {one: first for one, first in known.items() if one[0] == name and self._first < first.decided_at <= self._last}
        for side in (self._old, self._new) if self._undone else (self._new, self._old):
            trait = side.traits.get(name)
            if trait is not None and isinstance(trait.value, str) and (found := came.get((name, trait.value))):
                return ByDecision(found, self._undone)
        latest = max(came.values(), key=lambda one: (one.decided_at, one.decision_id), default=None)
        return ByTime(self._undone) if latest is None else ByDecision(latest, self._undone)

    def counted(self, name: str) -> tuple[bytes, ...]:
        return ()

    def of_identifier(self, value_hash: bytes) -> Cause | None:
        return None  # they don't change

    def of_member(self, member: bytes) -> Cause | None:
        return None

    def of_segment(self, name: str) -> Cause:
        """The confirmation that changed a trait that it looks at, if there is one."""
        for trait in sorted(_changed(self._old, self._new, told_by_segment(name, self._old, self._new))):
            if isinstance(cause := self.of_trait(trait), ByDecision):
                return cause
        return ByTime(self._undone)

    def of_decided(self, purpose: str) -> Cause | None:
        later = self._old if self._undone else self._new
        holds = later.decided.get(purpose)
        came = holds is not None and self._first < holds.decided_at <= self._last
        return ByDecision(holds, self._undone) if holds is not None and came else None


class Happening:
    """Between two answers at one instant by the same rules, of which events make all the difference.

    What a member that joined or left had said long before is due to the merge or split; all else to the event that says it.
    `happened` are the events of all members, and of the customer, that count at one of the two points only.
    """

    def __init__(self, customer: bytes, old: Side, new: Side, happened: Iterable[ByEvent]) -> None:
        self._old, self._new = old, new
        self._stayed = (old.states.keys() & new.states.keys()) | {customer}
        by_place = sorted(happened, key=_place)
        self._happened = {cause.entry.event_id: cause for cause in by_place}
        self._taken_back = {
            cause.public.link_id: cause for cause in by_place if isinstance(cause.public, events.IdentifierUnlinked)
        }
        self._erasures = {cause.entry.stream: cause for cause in by_place if isinstance(cause.public, events.CustomerErased)}
        self._edges = {
            (cause.public.merge_id, _joins(cause)): cause
            for cause in by_place  # told to both ends, of which one stayed
            if isinstance(cause.public, events.CustomersMerged | events.CustomersSplit) and cause.entry.stream in self._stayed
        }
        self._founded = next(
            (c for c in by_place if isinstance(c.public, events.CustomerFounded) and c.entry.stream == customer), None
        )
        self._exits = {True: _exits(self._stayed, new.states), False: _exits(self._stayed, old.states)}

    def of_member(self, member: bytes) -> ByEvent | None:
        if member in self._stayed:  # and one of the answers has nothing to tell
            return self._first()
        joined = member in self._new.states
        return self._edges.get((self._exits[joined][member], joined))

    def _first(self) -> ByEvent | None:
        """What made anything to tell of."""
        if self._founded is not None:
            return self._founded
        told = [c for c in self._counting(self._new if self._new.told else self._old) if c.entry.type_id not in events.TIMELESS_IDS]
        first = min(told, key=_when, default=None)
        return first or next(iter(self._edges.values()), None)

    def _counting(self, side: Side) -> list[ByEvent]:
        """What counts there and not at the other."""
        return [c for c in self._happened.values() if c.undone == (side is self._old) and c.entry.stream in side.states]

    def of_trait(self, name: str) -> ByEvent | None:
        if self._new.rules.computed is not None and name in self._new.rules.computed.all:
            return self._of_computed(name)
        return self._of_sent(name)

    def _of_sent(self, name: str) -> ByEvent | None:
        for side in (self._new, self._old):
            trait = side.traits.get(name)
            said = sorted(_said(side.states, name), reverse=True)
            if cause := self._of_winner(trait, side):
                return cause
            chosen = [one for one in said if trait is not None and one[1] == trait.event_id]
            for _, event_id, member in [*chosen, *said]:  # the value itself; else what outdid it, or took it away
                if cause := self._of_said(event_id, member, side):
                    return cause
            for _, _, member in chosen:
                if cause := self._erasures.get(member):
                    return cause
        return None

    def counted(self, name: str) -> tuple[bytes, ...]:
        counting = self._counted(name) if self._new.rules.computed is not None and name in self._new.rules.computed.all else []
        return tuple(cause.entry.event_id for cause in counting[:COUNTED_AT_MOST])

    def _of_computed(self, name: str) -> ByEvent | None:
        """The latest that counts for it, which needn't be the latest that ever did; else what it came or went with."""
        if counted := self._counted(name):
            return counted[0]
        for side in (self._new, self._old):
            if cause := self._of_winner(side.traits.get(name), side):
                return cause
        for side in (self._new, self._old):
            for member, state in sorted(side.states.items()):
                if name in state.computed and (cause := self._of_presence(member)):
                    return cause
        activities = [c for side in (self._new, self._old) for c in self._counting(side) if isinstance(c.public, events.Activity)]
        return activities[0] if len(activities) == 1 else self._first()

    def _of_presence(self, member: bytes) -> ByEvent | None:
        """What made a member's own history count, or not any more."""
        return self._erasures.get(member) if member in self._stayed else self.of_member(member)

    def _counted(self, name: str) -> list[ByEvent]:
        """Of what is kept for a computed trait, the events that count at one of the two only, latest first."""
        kept = [
            (side, state.computed[name])
            for side in (self._new, self._old)
            for state in side.states.values()
            if name in state.computed
        ]
        found = {
            occurrence[1]: cause
            for side, one in kept
            for occurrence in one.occurrences
            if (cause := self._happened.get(occurrence[1])) and cause.undone == (side is self._old)
        }
        return sorted(found.values(), key=_when, reverse=True)

    def of_identifier(self, value_hash: bytes) -> ByEvent | None:
        for side in (self._new, self._old):
            for member, state in sorted(side.states.items()):
                for link_id, linked in sorted(state.identifiers.items(), reverse=True):
                    if linked.value_hash == value_hash and (cause := self._of_link(link_id, member, side)):
                        return cause
        return self._of_naming(value_hash)

    def _of_naming(self, value_hash: bytes) -> ByEvent | None:
        """What is linked at both points is there from the first event on that names it."""
        for side in (self._new, self._old):
            naming = [c for c in self._counting(side) if isinstance(c.public, events.Activity) and c.public.names(value_hash)]
            if naming:
                return min(naming, key=_when)
            for member, state in sorted(side.states.items()):
                if value_hash in state.named and member not in self._stayed and (cause := self.of_member(member)):
                    return cause
        return None

    def of_segment(self, name: str) -> ByEvent | None:
        """The latest of what changed the traits that it looks at; where that can't be read, of all that came or went."""
        changed = _changed(self._old, self._new, told_by_segment(name, self._old, self._new))
        causes = [cause for trait in changed if (cause := self.of_trait(trait))]
        causes = causes or self._counting(self._new) or self._counting(self._old)
        return max(causes, key=_place, default=None)

    def of_decided(self, purpose: str) -> ByEvent | None:
        """Who decided came or went: what is decided is bound to an identifier."""
        for side, other in ((self._new, self._old), (self._old, self._new)):
            held = side.decided.get(purpose)
            if held is not None and held.identifier_hash not in other.identifiers:
                return self.of_identifier(held.identifier_hash)
        return None

    def _of_link(self, link_id: bytes, member: bytes, side: Side) -> ByEvent | None:
        return self._of_said(link_id, member, side) or self._taken_back.get(link_id) or self._erasures.get(member)

    def _of_winner(self, trait: GoldenTrait | None, side: Side) -> ByEvent | None:
        cause = None if trait is None else self._happened.get(trait.event_id)
        return cause if cause is not None and cause.undone == (side is self._old) else None

    def _of_said(self, event_id: bytes, member: bytes, side: Side) -> ByEvent | None:
        cause = self._happened.get(event_id)
        if cause is not None and cause.undone == (side is self._old):
            return cause
        return None if member in self._stayed else self.of_member(member)


class Chained:
    """Of a difference that came by several steps: the cause of the last one by which a thing changed.

    A step may change what a later one changes back; what differs in the end was changed by one of them at the least. A decision
    that was taken between the two answers is its own cause, also where its identifier was linked between them.
    """

    def __init__(self, old: Side, new: Side, steps: Sequence[Difference]) -> None:
        self._whole = Passing(old, new)
        self._found: dict[tuple[str, Any], Cause | None] = {}
        self._counted: dict[str, tuple[bytes, ...]] = {}
        for step in steps:
            self._found |= _by_what(step)
            self._counted |= {change.name: change.counted for change in step.traits}

    def of_trait(self, name: str) -> Cause | None:
        return self._found["trait", name]

    def counted(self, name: str) -> tuple[bytes, ...]:
        return self._counted[name]

    def of_identifier(self, value_hash: bytes) -> Cause | None:
        return self._found["identifier", value_hash]

    def of_member(self, member: bytes) -> Cause | None:
        return self._found["member", member]

    def of_segment(self, name: str) -> Cause | None:
        return self._found["segment", name]

    def of_decided(self, purpose: str) -> Cause | None:
        return self._whole.of_decided(purpose) or self._found["decided", purpose]


def _by_what(step: Difference) -> Iterable[tuple[tuple[str, Any], Cause | None]]:
    yield from ((("trait", change.name), change.cause) for change in step.traits)
    yield from ((("identifier", change.value_hash), change.cause) for change in step.identifiers)
    yield from ((("member", change.customer), change.cause) for change in step.members)
    yield from ((("segment", change.name), change.cause) for change in step.segments)
    yield from ((("decided", change.purpose), change.cause) for change in step.decided)


def _changed(old: Side, new: Side, among: Collection[str]) -> set[str]:
    names = {name for name in old.traits.keys() | new.traits.keys() if old.traits.get(name) != new.traits.get(name)}
    return names if EVERY_FIELD in among else names & set(among)


def _said(states: Mapping[bytes, State], name: str) -> Iterator[tuple[Rank, bytes, bytes]]:
    """What the members' states keep of a trait: (rank, event, member)."""
    for member, state in states.items():
        latest = [one.rank for one in state.traits.get(name, {}).values()]
        latest += [one.rank for one in assertions(state.assertions.get(name, {}))]
        latest += [removal] if (removal := state.removals.get(name)) else []
        yield from ((rank, rank[2], member) for rank in latest)


def _when(cause: ByEvent) -> tuple[int, int, int]:
    return cause.entry.occurred_at, cause.recorded_at, cause.pos


def _place(cause: ByEvent) -> tuple[int, int, int]:
    return cause.recorded_at, cause.partition, cause.pos


def _joins(cause: ByEvent) -> bool:
    """Whether it made two customers one, between the first answer and the second."""
    return isinstance(cause.public, events.CustomersMerged) != cause.undone


def _exits(stayed: Collection[bytes], states: Mapping[bytes, State]) -> dict[bytes, bytes]:
    """{member that is not among those who stayed: merge by which the way to it leaves them}."""
    exits: dict[bytes, bytes] = {}
    waiting = deque(sorted(stayed))
    while waiting:
        near = waiting.popleft()
        state = states.get(near, State())
        for merge_id, far in sorted(state.edges.items()):
            if merge_id not in state.cut and far in states and far not in stayed and far not in exits:
                exits[far] = exits.get(near, merge_id)
                waiting.append(far)
    return exits
