"""What made what differs between two answers, where events did not: other rules, the passing of time and what the person decided.
What events made is in `domain.happening`."""

from collections.abc import Iterable, Sequence
from typing import Any

from services.profile.domain.decided import KnownDecision, when_decided
from services.profile.domain.diff import (
    ByDecision,
    ByRules,
    ByTime,
    Cause,
    Difference,
    Side,
    changed_traits,
    told_by_segment,
)


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

    def of_trait(self, name: str) -> Cause:
        """The confirmation of the value itself, if it came; else the latest one of another value; else it was time."""
        known = {**self._new.confirmed, **self._old.confirmed}
        came = {one: cause for one, made in known.items() if one[0] == name and (cause := self._came(made))}
        for side in (self._old, self._new) if self._undone else (self._new, self._old):
            trait = side.traits.get(name)
            if trait is not None and isinstance(trait.value, str) and (found := came.get((name, trait.value))):
                return found
        return max(came.values(), key=lambda cause: when_decided(cause.decision), default=ByTime(self._undone))

    def _came(self, made: Sequence[KnownDecision]) -> ByDecision | None:
        """The first of these that counts, if any does at one of the two and none at the other."""
        then, now = [[one for one in made if one.counts(side.instant)] for side in (self._old, self._new)]
        return ByDecision((then or now)[0], undone=bool(then)) if bool(then) != bool(now) else None

    def counted(self, name: str) -> tuple[bytes, ...]:
        return ()

    def of_identifier(self, value_hash: bytes) -> Cause | None:
        return None  # they don't change

    def of_member(self, member: bytes) -> Cause | None:
        return None

    def of_segment(self, name: str) -> Cause:
        """The confirmation that changed a trait that it looks at, if there is one."""
        for trait in sorted(changed_traits(self._old, self._new, told_by_segment(name, self._old, self._new))):
            if isinstance(cause := self.of_trait(trait), ByDecision):
                return cause
        return ByTime(self._undone)

    def of_decided(self, purpose: str) -> Cause | None:
        for side in (self._old, self._new) if self._undone else (self._new, self._old):
            if (holds := side.decided.get(purpose)) is not None and (cause := self._came([holds])):
                return cause
        return None


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
