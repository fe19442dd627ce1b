"""What many reads amount to, in bounded memory whatever their number. Pure."""

from collections import Counter
from typing import Final

import msgspec

from services.profile.domain.disclosure import OTHER, Disclosure
from shared.instants import END_OF_TIME

NAMES_AT_MOST: Final = 1_000  # of callers, who may name themselves as they like where nobody proves who calls
CUSTOMERS_AT_MOST: Final = 100_000  # are counted; some ten MB
EXAMPLES: Final = 10

Place = tuple[int, int]  # of an event in the log, and of a read in it


class ReadSummary(msgspec.Struct):
    """Counts by name; of too many names "*" for the others. `customers` are ids."""

    reads: int = 0
    purposes: Counter[str] = msgspec.field(default_factory=Counter)
    callers: Counter[str] = msgspec.field(default_factory=Counter)
    reasons: Counter[str] = msgspec.field(default_factory=Counter)
    customers: set[bytes] = msgspec.field(default_factory=set)
    more_customers: bool = False
    first_at: int = END_OF_TIME
    last_at: int = 0
    examples: list[Place] = msgspec.field(default_factory=list)

    def add(self, place: Place, disclosure: Disclosure, reason: str) -> None:
        """One is about the customer that is named first; the others were the same then."""
        self.reads += 1
        _count(self.purposes, disclosure.given.terms.purpose)
        _count(self.callers, disclosure.caller)
        _count(self.reasons, reason)
        self.first_at = min(self.first_at, disclosure.at)
        self.last_at = max(self.last_at, disclosure.at)
        if len(self.examples) < EXAMPLES:
            self.examples.append(place)
        for customer in disclosure.given.members[:1]:
            if customer in self.customers or len(self.customers) < CUSTOMERS_AT_MOST:
                self.customers.add(customer)
            else:
                self.more_customers = True


def _count(counts: Counter[str], name: str) -> None:
    counts[name if name in counts or len(counts) < NAMES_AT_MOST else OTHER] += 1
