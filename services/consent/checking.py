"""What is permitted: of any number of people at once, and every border is crossed once for all of them."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec

from services.consent.domain.definitions import check_name, unknown
from services.consent.domain.ledger import NOW, Instant
from services.consent.persons import Bound, Persons
from services.consent.views import Decisions, Definitions, Placed, counting
from services.consent.writing import ConsentLog
from shared.errors import CustomerError
from shared.events.consent import DecisionRecorded, PurposeDefined, Verdict, judge


class ByIdentifier(NamedTuple):
    """Its customer is meant; while there is none, the identifier alone."""

    value_hash: bytes


Named = bytes | ByIdentifier  # a customer's id, or an identifier


class Checked(msgspec.Struct, frozen=True):
    """A verdict, and the version of the purpose that it was found by."""

    purpose: PurposeDefined
    verdict: Verdict


class Checks:
    def __init__(self, persons: Persons, decisions: Decisions, definitions: Definitions, log: ConsentLog) -> None:
        self._persons = persons
        self._decisions = decisions
        self._definitions = definitions
        self._log = log

    async def check(self, purpose: str, named: Named, instant: Instant = NOW) -> Checked:
        """Raises InvalidInput (PURPOSE_UNKNOWN, INSTANT_IN_FUTURE), NotFound (CUSTOMER_UNKNOWN), WrongState (CUSTOMER_ERASED)."""
        [found] = await self.check_each(purpose, [named], instant)
        if isinstance(found, CustomerError):
            raise found
        return found

    async def check_each(
        self, purpose: str, named: Sequence[Named | CustomerError], instant: Instant = NOW
    ) -> list[Checked | CustomerError]:
        """Of each who is named the verdict or why there is none, in their order; what is refused already stays so.

        Raises InvalidInput (PURPOSE_UNKNOWN, INSTANT_IN_FUTURE).
        """
        instant = await self._log.settled(instant)
        known = await self._known_purpose(purpose, instant.known_at)
        bound = await self._bound({one for one in named if not isinstance(one, CustomerError)})
        hashes = {value_hash for one in bound.values() if not isinstance(one, CustomerError) for value_hash in one}
        decisions = await self._decisions.about(known.name, hashes, instant) if hashes else {}
        asked = [one if isinstance(one, CustomerError) else bound[one] for one in named]
        return [one if isinstance(one, CustomerError) else _judged(known, one, decisions) for one in asked]

    async def _bound(self, named: Collection[Named]) -> dict[Named, Bound | CustomerError]:
        """Of each who is named the identifiers that are theirs, or why nothing is told of them."""
        by_hash = [one.value_hash for one in named if isinstance(one, ByIdentifier)]
        owners = await self._persons.customers_of(by_hash) if by_hash else {}
        asked = [one for one in named if not isinstance(one, ByIdentifier)]
        refused = await self._persons.refused(asked) if asked else {}
        customers = {*owners.values(), *asked} - refused.keys()
        bound = await self._persons.identifiers_of(customers) if customers else {}
        found: dict[Named, Bound | CustomerError] = {}
        for one in named:
            customer = owners.get(one.value_hash) if isinstance(one, ByIdentifier) else one
            if customer is None:
                assert isinstance(one, ByIdentifier)
                found[one] = {one.value_hash: True}
            else:
                found[one] = refused.get(customer) or bound.get(customer, {})
        return found

    async def _known_purpose(self, name: str, known_at: int) -> PurposeDefined:
        check_name("purpose", name)
        placed = await self._definitions.in_force("purpose", name, Instant(known_at=known_at))
        if placed is None or not isinstance(placed.event, PurposeDefined):
            raise unknown("purpose")
        return placed.event


def _judged(purpose: PurposeDefined, bound: Bound, decisions: Mapping[bytes, Sequence[Placed[DecisionRecorded]]]) -> Checked:
    return Checked(purpose, judge(purpose, [placed.event for placed in counting(decisions, bound)]))
