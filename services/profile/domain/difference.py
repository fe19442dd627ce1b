"""What other rules change: two golden records of each customer, compared and counted. Pure."""

from collections import Counter
from collections.abc import Collection, Iterator
from typing import Final

import msgspec

from services.profile.domain.golden import GoldenRecord, GoldenTrait
from services.profile.domain.values import same
from shared.events.profile_rules import ProfileRulesDiffer

MAX_NAMED_TRAITS: Final = 1_000  # counted by name; a sender that invents names makes no report that nobody can read
OTHERS: Final = "*"


class Change(msgspec.Struct, frozen=True):
    """A trait of a customer that has another value; None is no value."""

    customer: bytes
    trait: str
    before: GoldenTrait | None
    after: GoldenTrait | None


class Difference(msgspec.Struct):
    """Of so many customers, how many have any other value, and how many another value of each trait. Grows by `add`."""

    customers: int = 0
    changed_customers: int = 0
    traits: Counter[str] = msgspec.field(default_factory=Counter)

    def add(self, found: Collection[Change]) -> None:
        """What was found of one more customer."""
        self.customers += 1
        self.changed_customers += bool(found)
        for change in found:
            room = change.trait in self.traits or len(self.traits) < MAX_NAMED_TRAITS
            self.traits[change.trait if room else OTHERS] += 1

    def naming(self, names: Collection[str]) -> ProfileRulesDiffer:
        """By name only these traits."""
        counts: Counter[str] = Counter()
        for name, count in self.traits.items():
            counts[name if name in names else OTHERS] += count
        return ProfileRulesDiffer(customers=self.customers, changed_customers=self.changed_customers, traits=dict(counts))


def changes(before: GoldenRecord, after: GoldenRecord) -> Iterator[Change]:
    """In the order of the names. What is the same value of another source is no change."""
    for name in sorted(before.traits.keys() | after.traits.keys()):
        old, new = before.traits.get(name), after.traits.get(name)
        if old is None or new is None or same(old.value) != same(new.value):
            yield Change(before.members[0], name, old, new)
