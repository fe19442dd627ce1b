"""Which event made what differs between two answers at one instant by the same rules."""

from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Final

from services.profile.domain.diff import ByEvent, Side, changed_traits, told_by_segment
from services.profile.domain.golden import GoldenTrait
from services.profile.domain.said import Rank, assertions
from services.profile.domain.state import State
from shared.events import customer as events

COUNTED_AT_MOST: Final = 100  # events of one computed trait that are told of one difference


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
            told = sorted(said(side.states, name), reverse=True)
            if cause := self._of_winner(trait, side):
                return cause
            chosen = [one for one in told if trait is not None and one[1] == trait.event_id]
            for _, event_id, member in [*chosen, *told]:  # the value itself; else what outdid it, or took it away
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
        for side, links in self._links:
            for member, link_id in links.get(value_hash, ()):
                if cause := self._of_link(link_id, member, side):
                    return cause
        return self._of_naming(value_hash)

    @cached_property
    def _links(self) -> list[tuple[Side, dict[bytes, list[tuple[bytes, bytes]]]]]:
        """By side and value, (member, link): the latest of each member first. A customer may have ten thousand, all of which differ."""
        return [(side, _links_of(side)) for side in (self._new, self._old)]

    def _of_naming(self, value_hash: bytes) -> ByEvent | None:
        """What is linked at both points is there from the first event on that names it."""
        for side, naming in self._naming:
            if value_hash in naming:
                return naming[value_hash]
            for member, state in sorted(side.states.items()):
                if value_hash in state.named and member not in self._stayed and (cause := self.of_member(member)):
                    return cause
        return None

    @cached_property
    def _naming(self) -> list[tuple[Side, dict[bytes, ByEvent]]]:
        """By side and value, the first event that names it of those that count there and not at the other."""
        return [(side, _first_to_name(self._counting(side))) for side in (self._new, self._old)]

    def of_segment(self, name: str) -> ByEvent | None:
        """The latest of what changed the traits that it looks at; where that can't be read, of all that came or went."""
        changed = changed_traits(self._old, self._new, told_by_segment(name, self._old, self._new))
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


def _links_of(side: Side) -> dict[bytes, list[tuple[bytes, bytes]]]:
    found = defaultdict[bytes, list[tuple[bytes, bytes]]](list)
    for member, state in sorted(side.states.items()):
        for link_id, linked in sorted(state.identifiers.items(), reverse=True):
            found[linked.value_hash].append((member, link_id))
    return found


def _first_to_name(causes: Iterable[ByEvent]) -> dict[bytes, ByEvent]:
    found: dict[bytes, ByEvent] = {}
    for cause in sorted(causes, key=_when):
        if isinstance(cause.public, events.Activity):
            for value_hash in (cause.public.resolved_by, *cause.public.also_named):
                found.setdefault(value_hash, cause)
    return found


def said(states: Mapping[bytes, State], name: str) -> Iterator[tuple[Rank, bytes, bytes]]:
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
