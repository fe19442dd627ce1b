"""What other rules change: two golden records of each customer and the segments it is in, compared and counted. Pure."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Final

import msgspec

from services.profile.domain.golden import GoldenRecord, GoldenTrait
from services.profile.domain.membership import Move
from services.profile.domain.values import same
from shared.events.profile_rules import ProfileRulesDiffer, SegmentDiffers

MAX_NAMED_TRAITS: Final = 1_000  # counted by name; a sender that invents names makes no report that nobody can read
OTHERS: Final = "*"


class Change(msgspec.Struct, frozen=True):
    """A trait of a customer that has another value; None is no value."""

    customer: bytes
    trait: str
    before: GoldenTrait | None
    after: GoldenTrait | None


class Difference(msgspec.Struct):
    """Of so many customers, how many have any other value, how many another value of each trait, how many one that is cut then, and how
    many enter and leave each segment and are in it then. Grows by `add`."""

    customers: int = 0
    changed_customers: int = 0
    withheld_customers: int = 0
    traits: Counter[str] = msgspec.field(default_factory=Counter)
    cut_traits: Counter[str] = msgspec.field(default_factory=Counter)
    entered: Counter[str] = msgspec.field(default_factory=Counter)
    left: Counter[str] = msgspec.field(default_factory=Counter)
    members: Counter[str] = msgspec.field(default_factory=Counter)
    judged_by_less: Counter[str] = msgspec.field(default_factory=Counter)

    def add(
        self,
        found: Collection[Change],
        moved: Collection[Move] = (),
        segments: Collection[str] = (),
        judged_by_less: Collection[str] = (),
        cut: Collection[str] = (),
    ) -> None:
        """What was found of one more customer; `segments` are those that it is in by the other rules, `judged_by_less` those of which
        that can't be told by all, `cut` the traits of which the value can't."""
        self.customers += 1
        self.changed_customers += bool(found)
        for change in found:
            _count(self.traits, change.trait)
        for name in cut:
            _count(self.cut_traits, name)
        self.entered.update(move.segment for move in moved if move.entered)
        self.left.update(move.segment for move in moved if not move.entered)
        self.members.update(segments)
        self.judged_by_less.update(judged_by_less)

    def told(self, segments: Collection[str]) -> ProfileRulesDiffer:
        """Of these segments, also where there is nothing to tell."""
        return ProfileRulesDiffer(
            customers=self.customers,
            changed_customers=self.changed_customers,
            withheld_customers=self.withheld_customers,
            traits=dict(self.traits),
            cut_traits=dict(self.cut_traits),
            segments={
                name: SegmentDiffers(
                    entered=self.entered[name],
                    left=self.left[name],
                    members=self.members[name],
                    judged_by_less=self.judged_by_less[name],
                )
                for name in sorted(segments)
            },
        )


def naming(found: ProfileRulesDiffer, names: Collection[str]) -> ProfileRulesDiffer:
    """By name only these traits."""
    traits, cut = _naming(found.traits, names), _naming(found.cut_traits, names)
    return msgspec.structs.replace(found, traits=traits, cut_traits=cut)


def changes(before: GoldenRecord, after: GoldenRecord) -> Iterator[Change]:
    """In the order of the names. What is the same value of another source is no change."""
    for name in sorted(before.traits.keys() | after.traits.keys()):
        old, new = before.traits.get(name), after.traits.get(name)
        if old is None or new is None or same(old.value) != same(new.value):
            yield Change(before.members[0], name, old, new)


def _count(counts: Counter[str], name: str) -> None:
    counts[name if name in counts or len(counts) < MAX_NAMED_TRAITS else OTHERS] += 1


def _naming(found: Mapping[str, int], names: Collection[str]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for name, count in found.items():
        counts[name if name in names else OTHERS] += count
    return dict(counts)
