"""What differs between two answers about one customer. What made each difference is told by its causes (`domain.causes`)."""

from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from typing import Any, Protocol

import msgspec

from services.profile.domain.clocks import NOW, Instant
from services.profile.domain.decided import KnownDecision
from services.profile.domain.expressions.tree import EVERY_FIELD
from services.profile.domain.golden import NO_EVENT, GoldenTrait, VerifiedValue, computed_names
from services.profile.domain.membership import NOWHERE, looks_at
from services.profile.domain.rules import Rules
from services.profile.domain.rules_document import SHIPPED_RULES
from services.profile.domain.state import LinkedIdentifier, State
from services.profile.domain.values import same
from shared.events.catalogue import Entry


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two answers, and the states of those who were one by then, which may be so before anything had happened.

    `next_at` is the next instant, of the clock that is walked along, at which the passing of time and decisions alone may give
    another answer, None when they never do. `redacted`: it is without what was computed and without segments, as events
    that may count for them are gone.
    """

    told: bool = False
    traits: Mapping[str, GoldenTrait] = {}
    verified: Set[str] = frozenset()  # traits, by name
    identifiers: Mapping[bytes, LinkedIdentifier] = {}
    segments: Set[str] = NOWHERE
    decided: Mapping[str, KnownDecision] = {}  # by purpose: the decision that holds
    confirmed: Mapping[VerifiedValue, Sequence[KnownDecision]] = {}  # what confirmed a value, the first first, whenever that was
    states: Mapping[bytes, State] = {}
    rules: Rules = SHIPPED_RULES
    instant: Instant = NOW
    next_at: int | None = None
    redacted: bool = False
    not_all_kept: bool = False  # of names of traits, identifiers and large values; what of the rest differs isn't seen

    @property
    def at(self) -> int:
        """Of what counts by the passing of time."""
        return self.instant.earlier

    @property
    def members(self) -> Set[bytes]:
        return self.states.keys() if self.told else set()

    def __repr__(self) -> str:
        return f"<Side of {len(self.states)} members sealed>"


class ByEvent(msgspec.Struct, frozen=True):
    """An event that counts at one of the two points only; `undone`: at the first one, as in all causes."""

    entry: Entry
    public: Any
    recorded_at: int
    partition: int
    pos: int
    undone: bool


class ByDecision(msgspec.Struct, frozen=True):
    """What the person decided, or confirmed from the very address that is the value."""

    decision: KnownDecision
    undone: bool


class ByTime(msgspec.Struct, frozen=True):
    """Nothing but time passed: a window ran out, or a clock is read."""

    undone: bool


class ByRules(msgspec.Struct, frozen=True):
    """Another version of the rules is gone by: this one, of the two the newer."""

    version: int
    undone: bool


Cause = ByEvent | ByDecision | ByTime | ByRules


class TraitChange(msgspec.Struct, frozen=True):
    """`counted`: of a computed trait, the events that count for it at one of the points only, latest first, as far as they are kept.

    `redacted`, here and of a segment: at one of the points it can't be told.
    """

    name: str
    old: GoldenTrait | None
    new: GoldenTrait | None
    cause: Cause | None
    old_verified: bool = False
    new_verified: bool = False
    counted: tuple[bytes, ...] = ()
    redacted: bool = False

    @property
    def said_again(self) -> bool:
        """Its value is what it was, and as verified: another event, or another source, says it now."""
        if self.old is None or self.new is None or self.old_verified != self.new_verified:
            return False
        return same(self.old.value) == same(self.new.value)

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


class SegmentChange(msgspec.Struct, frozen=True):
    """`looks_at`: the traits that it tells something of, by the rules of either answer."""

    name: str
    entered: bool  # or left
    looks_at: Set[str]
    cause: Cause | None
    redacted: bool = False

    def __repr__(self) -> str:
        return f"<SegmentChange of {self.name} sealed>"


class ConsentChange(msgspec.Struct, frozen=True):
    """Of all that was decided about a purpose, the decision that holds."""

    purpose: str
    old: KnownDecision | None
    new: KnownDecision | None
    cause: Cause | None

    def __repr__(self) -> str:
        return f"<ConsentChange of {self.purpose} sealed>"


Change = TraitChange | IdentifierChange | MemberChange | SegmentChange | ConsentChange


class Difference(msgspec.Struct, frozen=True):
    """Each in an order of its own: traits, segments and purposes by name, identifiers by namespace, members as they came.

    Without a cause is what no single event of the customer made: what is beyond a limit.
    """

    traits: list[TraitChange]
    identifiers: list[IdentifierChange]
    members: list[MemberChange]
    segments: list[SegmentChange] = []
    decided: list[ConsentChange] = []

    @property
    def all(self) -> list[Change]:
        """Who is one first, since much follows from it."""
        return [*self.members, *self.identifiers, *self.traits, *self.segments, *self.decided]

    def __repr__(self) -> str:
        return f"<Difference of {len(self.traits)} traits sealed>"


class Wanted(msgspec.Struct, frozen=True):
    """Which changes are asked for: of these traits alone, where any are named; and of traits also what was only said again."""

    traits: frozenset[str] = frozenset()
    said_again: bool = False

    def names(self, change: Change) -> bool:
        return not self.traits or (isinstance(change, TraitChange) and change.name in self.traits)

    def has(self, change: Change) -> bool:
        return self.names(change) and self.has_kind(change)

    def has_kind(self, change: Change) -> bool:
        return self.said_again or not (isinstance(change, TraitChange) and change.said_again)


class Causes(Protocol):
    """What made each difference between two answers."""

    def of_trait(self, name: str) -> Cause | None: ...
    def counted(self, name: str) -> tuple[bytes, ...]: ...
    def of_identifier(self, value_hash: bytes) -> Cause | None: ...
    def of_member(self, member: bytes) -> Cause | None: ...
    def of_segment(self, name: str) -> Cause | None: ...
    def of_decided(self, purpose: str) -> Cause | None: ...


def compare(old: Side, new: Side, causes: Causes) -> Difference:
    redacted = old.redacted or new.redacted
    return Difference(
        traits=list(_traits(old, new, causes)),
        identifiers=sorted(_identifiers(old, new, causes), key=lambda change: (change.linked.namespace, change.value_hash)),
        members=sorted(_members(old, new, causes), key=_came),
        segments=[
            SegmentChange(name, name in new.segments, told_by_segment(name, old, new), causes.of_segment(name), redacted)
            for name in sorted(old.segments ^ new.segments)
        ],
        decided=[
            ConsentChange(purpose, held, holds, causes.of_decided(purpose))
            for purpose in sorted(old.decided.keys() | new.decided.keys())
            if (held := old.decided.get(purpose)) != (holds := new.decided.get(purpose))
        ],
    )


def _traits(old: Side, new: Side, causes: Causes) -> Iterator[TraitChange]:
    computed = computed_names(old.rules) | computed_names(new.rules) if old.redacted or new.redacted else frozenset[str]()
    for name in sorted(old.traits.keys() | new.traits.keys()):
        was, now, verified = old.traits.get(name), new.traits.get(name), (name in old.verified, name in new.verified)
        if _differs(was, now) or verified[0] != verified[1]:
            yield TraitChange(name, was, now, causes.of_trait(name), *verified, causes.counted(name), name in computed)


def _differs(was: GoldenTrait | None, now: GoldenTrait | None) -> bool:
    """A computed trait that no event counts for holds since the customer was founded, which another member changes: no news of the trait."""
    if was is None or now is None or was.event_id != NO_EVENT or now.event_id != NO_EVENT:
        return was != now
    return same(was.value) != same(now.value)


def _members(old: Side, new: Side, causes: Causes) -> Iterator[MemberChange]:
    for member in old.members ^ new.members:
        yield MemberChange(member, member in new.members, causes.of_member(member))


def _came(change: MemberChange) -> tuple[int, int, int, bytes]:
    """One founded and joined at one instant was founded before."""
    cause = change.cause
    return (*((cause.recorded_at, cause.partition, cause.pos) if isinstance(cause, ByEvent) else (0, 0, 0)), change.customer)


def _identifiers(old: Side, new: Side, causes: Causes) -> Iterator[IdentifierChange]:
    for value_hash in old.identifiers.keys() | new.identifiers.keys():
        if (was := old.identifiers.get(value_hash)) != (now := new.identifiers.get(value_hash)):
            yield IdentifierChange(value_hash, was, now, causes.of_identifier(value_hash))


def told_by_segment(name: str, *sides: Side) -> frozenset[str]:
    """Names of the traits that being in it tells something of, by the rules of any of these."""
    defined = [side.rules.segments.conditions.get(name) for side in sides if side.rules.segments is not None]
    return frozenset[str]().union(*(looks_at(one) for one in defined if one is not None))


def changed_traits(old: Side, new: Side, among: Collection[str]) -> set[str]:
    """Names of golden traits that differ, of those, or of all where EVERY_FIELD is among them."""
    names = {name for name in old.traits.keys() | new.traits.keys() if _differs(old.traits.get(name), new.traits.get(name))}
    return names if EVERY_FIELD in among else names & set(among)
