"""What is permitted: of any number of people at once, and every border is crossed once for all of them."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import msgspec

from services.consent.domain.definitions import check_name, unknown
from services.consent.domain.ledger import NOW, Instant
from services.consent.persons import Person, Persons
from services.consent.views import Decisions, Definitions
from services.consent.writing import ConsentLog
from shared.consent_rule import Bond, Case, Verdict, judge, judge_point
from shared.errors import CustomerError
from shared.events.consent import PurposeDefined


class ByIdentifier(NamedTuple):
    """Its customer is meant, as far as the purpose's scope goes; while there is none, the identifier alone."""

    namespace: str
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
        known = await self._purpose(purpose, instant)
        persons = await self._persons_of({one for one in named if not isinstance(one, CustomerError)})
        hashes = {value_hash for one in persons.values() if not isinstance(one, CustomerError) for value_hash in one.bonds}
        decisions = await self._decisions.about(known.name, hashes, instant) if hashes else {}
        at, found = self._log.at(instant), list[Checked | CustomerError]()
        for one in named:
            person = one if isinstance(one, CustomerError) else persons[one]
            if isinstance(person, CustomerError):
                found.append(person)
            else:
                decided = [placed.event for value_hash in person.bonds for placed in decisions.get(value_hash, ())]
                found.append(Checked(known, _judged(Case(known, decided, at, person.bonds), one, person.core)))
        return found

    async def _persons_of(self, named: Collection[Named]) -> dict[Named, Person | CustomerError]:
        """Of each who is named the identifiers that are theirs, or why nothing is told of them."""
        by_hash = [one.value_hash for one in named if isinstance(one, ByIdentifier)]
        owners = await self._persons.customers_of(by_hash) if by_hash else {}
        asked = [one for one in named if not isinstance(one, ByIdentifier)]
        refused = await self._persons.refused(asked) if asked else {}
        customers = {*owners.values(), *asked} - refused.keys()
        persons = await self._persons.persons_of(customers) if customers else {}
        found: dict[Named, Person | CustomerError] = {}
        for one in named:
            customer = owners.get(one.value_hash) if isinstance(one, ByIdentifier) else one
            if customer is None:
                assert isinstance(one, ByIdentifier)
                found[one] = Person(b"", {one.value_hash: Bond()})
            else:
                found[one] = refused.get(customer) or persons.get(customer, Person(customer, {}))
        return found

    async def _purpose(self, name: str, instant: Instant) -> PurposeDefined:
        """The version that was in force then, as it was known; the first where none was yet, as decisions may be of before it."""
        check_name("purpose", name)
        placed = await self._definitions.in_force("purpose", name, instant)
        if placed is None:
            placed = await self._definitions.version("purpose", name, 1)
        if placed is None or placed.recorded_at > instant.known_at or not isinstance(placed.event, PurposeDefined):
            raise unknown("purpose")
        return placed.event


def _judged(case: Case, named: Named | CustomerError, core: bytes) -> Verdict:
    """An identifier that is decided about by itself is asked about by itself."""
    if not isinstance(named, ByIdentifier):
        return judge(case, core)
    purpose = case.purpose
    if purpose.scope == "identifier" or named.namespace in purpose.contact_points:
        return judge_point(case, named.value_hash)
    return judge(case, case.bond(named.value_hash).core)
