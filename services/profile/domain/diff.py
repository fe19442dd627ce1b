"""What differs between two answers about one customer, and which event made each difference."""

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from typing import Any

import msgspec

from services.profile.domain.golden import GoldenTrait
from services.profile.domain.said import Rank, assertions
from services.profile.domain.state import LinkedIdentifier, State
from shared.events import customer as events
from shared.events.catalogue import Entry


class Side(msgspec.Struct, frozen=True):
    """One of the two answers, and the states of those who were one by then, which may be so before anything had happened."""

    told: bool = False
    traits: Mapping[str, GoldenTrait] = {}
    verified: Set[str] = frozenset()  # traits, by name
    identifiers: Mapping[bytes, LinkedIdentifier] = {}
    states: Mapping[bytes, State] = {}

    @property
    def members(self) -> Set[bytes]:
        return self.states.keys() if self.told else set()

    def __repr__(self) -> str:
        return f"<Side of {len(self.states)} members sealed>"


class Cause(msgspec.Struct, frozen=True):
    """An event that counts at one of the two points only; `undone`: at the first one."""

    entry: Entry
    public: Any
    recorded_at: int
    partition: int
    pos: int
    undone: bool


class TraitChange(msgspec.Struct, frozen=True):
    name: str
    old: GoldenTrait | None
    new: GoldenTrait | None
    cause: Cause | None
    old_verified: bool = False
    new_verified: bool = False

    def __repr__(self) -> str:
        return f"<TraitChange of {self.name} sealed>"


class IdentifierChange(msgspec.Struct, frozen=True):
    """By the hash of its value. Old and new differ in more than being there only where one can't be read."""

    value_hash: bytes
    old: LinkedIdentifier | None
    new: LinkedIdentifier | None
    cause: Cause | None

    @property
    def linked(self) -> LinkedIdentifier:
        """As it is named, where it is there."""
        one = self.new or self.old
        assert one is not None, "it is there in one of them"
        return one

    def __repr__(self) -> str:
        return "<IdentifierChange sealed>"


class MemberChange(msgspec.Struct, frozen=True):
    customer: bytes
    joined: bool  # else it left
    cause: Cause | None


Change = TraitChange | IdentifierChange | MemberChange


class Difference(msgspec.Struct, frozen=True):
    """Each in an order of its own: traits by name, identifiers by namespace, members by id.

    Without a cause is what no single event of the customer made: other rules, a limit, or an address that was confirmed.
    """

    traits: list[TraitChange]
    identifiers: list[IdentifierChange]
    members: list[MemberChange]

    def __repr__(self) -> str:
        return f"<Difference of {len(self.traits)} traits sealed>"


def difference(customer: bytes, old: Side, new: Side, happened: Iterable[Cause]) -> Difference:
    """`happened` are the events of all members, and of the customer, that count at one of the two instants only."""
    causes = _Causes(customer, old, new, happened)
    return Difference(
        traits=[
            TraitChange(
                name, was, now, None if was == now else causes.of_trait(name, was, now), name in old.verified, name in new.verified
            )
            for name in sorted(old.traits.keys() | new.traits.keys())
            if (was := old.traits.get(name)) != (now := new.traits.get(name)) or (name in old.verified) != (name in new.verified)
        ],
        identifiers=sorted(_identifiers(old, new, causes), key=lambda change: (change.linked.namespace, change.value_hash)),
        members=[
            MemberChange(member, member in new.members, causes.of_member(member)) for member in sorted(old.members ^ new.members)
        ],
    )


def _identifiers(old: Side, new: Side, causes: "_Causes") -> Iterator[IdentifierChange]:
    for value_hash in old.identifiers.keys() | new.identifiers.keys():
        if (was := old.identifiers.get(value_hash)) != (now := new.identifiers.get(value_hash)):
            yield IdentifierChange(value_hash, was, now, causes.of_identifier(value_hash))


class _Causes:
    """Finds the event behind a difference.

    What a member that joined or left had said long before is due to the merge or split; all else to the event that says it.
    """

    def __init__(self, customer: bytes, old: Side, new: Side, happened: Iterable[Cause]) -> None:
        self._old, self._new = old, new
        self._stayed = (old.states.keys() & new.states.keys()) | {customer}
        by_place = sorted(happened, key=lambda cause: (cause.recorded_at, cause.partition, cause.pos))
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

    def of_member(self, member: bytes) -> Cause | None:
        if member in self._stayed:  # and one of the answers has nothing to tell
            return self._first()
        joined = member in self._new.states
        return self._edges.get((self._exits[joined][member], joined))

    def _first(self) -> Cause | None:
        """What made anything to tell of."""
        if self._founded is not None:
            return self._founded
        side = self._new if self._new.told else self._old
        counting = (c for c in self._happened.values() if c.undone == (side is self._old) and c.entry.stream in side.states)
        told = [c for c in counting if c.entry.type_id not in events.TIMELESS_IDS]
        first = min(told, key=_when, default=None)
        return first or next(iter(self._edges.values()), None)

    def of_trait(self, name: str, old: GoldenTrait | None, new: GoldenTrait | None) -> Cause | None:
        for side, trait in ((self._new, new), (self._old, old)):
            said = sorted(_said(side.states, name), reverse=True)
            if trait is not None and (cause := self._happened.get(trait.event_id)) and cause.undone == (side is self._old):
                return cause
            chosen = [one for one in said if trait is not None and one[1] == trait.event_id]
            for _, event_id, member in [*chosen, *said]:  # the value itself; else what outdid it, or took it away
                if cause := self._of_said(event_id, member, side):
                    return cause
            for _, _, member in chosen:
                if cause := self._erasures.get(member):
                    return cause
        return None

    def of_identifier(self, value_hash: bytes) -> Cause | None:
        for side in (self._new, self._old):
            for member, state in sorted(side.states.items()):
                for link_id, linked in sorted(state.identifiers.items(), reverse=True):
                    if linked.value_hash == value_hash and (cause := self._of_link(link_id, member, side)):
                        return cause
        return None

    def _of_link(self, link_id: bytes, member: bytes, side: Side) -> Cause | None:
        return self._of_said(link_id, member, side) or self._taken_back.get(link_id) or self._erasures.get(member)

    def _of_said(self, event_id: bytes, member: bytes, side: Side) -> Cause | None:
        cause = self._happened.get(event_id)
        if cause is not None and cause.undone == (side is self._old):
            return cause
        return None if member in self._stayed else self.of_member(member)


def _said(states: Mapping[bytes, State], name: str) -> Iterator[tuple[Rank, bytes, bytes]]:
    """What the members' states keep of a trait: (rank, event, member)."""
    for member, state in states.items():
        latest = [one.rank for one in state.traits.get(name, {}).values()]
        latest += [one.rank for one in assertions(state.assertions.get(name, {}))]
        latest += [removal] if (removal := state.removals.get(name)) else []
        yield from ((rank, rank[2], member) for rank in latest)


def _when(cause: Cause) -> tuple[int, int, int]:
    return cause.entry.occurred_at, cause.recorded_at, cause.pos


def _joins(cause: Cause) -> bool:
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
