"""What is permitted: of any number of people at once, and every border is crossed once for all of them."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from services.consent.domain.definitions import check_name, unknown
from services.consent.domain.ledger import NOW, Instant
from services.consent.domain.receipts import hash_of
from services.consent.persons import Person, Persons
from services.consent.views import Decisions, Definitions, Placed
from services.consent.writing import ConsentLog
from shared.bus.enforcement import LEASE_S
from shared.consent_rule import Bond, Case, Verdict, judge, judge_point
from shared.errors import CustomerError
from shared.events.consent import DecisionRecorded, PurposeDefined
from shared.instants import END_OF_TIME, SECOND

LEASE: Final = int(LEASE_S * SECOND)


class ByIdentifier(NamedTuple):
    """Its customer is meant, as far as the purpose's scope goes; while there is none, the identifier alone."""

    namespace: str
    value_hash: bytes


Named = bytes | ByIdentifier  # a customer's id, or an identifier


class Checked(msgspec.Struct, frozen=True):
    """A verdict and what it follows from.

    `evidence`: positions of the decisions that decided. `valid_until`: how long it may be used, in microseconds; None: it is of what was
    known in the past, which nothing changes but an erasure.
    """

    purpose: Placed[PurposeDefined]
    purpose_sha256: bytes
    verdict: Verdict
    evidence: tuple[int, ...]
    valid_until: int | None


class Brief(msgspec.Struct, frozen=True):
    """What is judged: who was named, the core that is asked about, and the decisions where they stand."""

    named: Named
    core: bytes
    case: Case
    decisions: list[Placed[DecisionRecorded]]

    def verdict(self) -> Verdict:
        return _judged(self.case, self.named, self.core)

    def positions(self, verdict: Verdict) -> tuple[int, ...]:
        deciding = {verdict.decision_id, verdict.against} - {b""}
        return tuple(sorted(placed.pos for placed in self.decisions if placed.event.decision_id in deciding))


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
        instant = await self.settled(instant)
        known, persons = await asyncio.gather(self.purpose(purpose, instant), self.persons_of(named, instant.known_at))
        sha256, found = hash_of(known.event), list[Checked | CustomerError]()
        for brief in await self._briefs(known.event, named, persons, instant):
            if isinstance(brief, CustomerError):
                found.append(brief)
            else:
                verdict = brief.verdict()
                until = usable_until(verdict, brief.case.now, instant)
                found.append(Checked(known, sha256, verdict, brief.positions(verdict), until))
        return found

    async def settled(self, instant: Instant) -> Instant:
        """What is known by then stays the same. Raises InvalidInput (INSTANT_IN_FUTURE)."""
        instant = await self._log.settled(instant)
        if instant.known_at != END_OF_TIME:
            await self._persons.settle(instant.known_at)
        return instant

    async def briefs(
        self, purpose: PurposeDefined, named: Sequence[Named | CustomerError], instant: Instant
    ) -> list[Brief | CustomerError]:
        """Of each who is named what is judged, in their order; what is refused already stays so. The instant is settled."""
        return await self._briefs(purpose, named, await self.persons_of(named, instant.known_at), instant)

    async def persons_of(self, each: Sequence[Named | CustomerError], known_at: int) -> dict[Named, Person | CustomerError]:
        """Of each who is named the identifiers that are theirs as it was known then, or why nothing is told of them."""
        named = {one for one in each if not isinstance(one, CustomerError)}
        by_hash = [one.value_hash for one in named if isinstance(one, ByIdentifier)]
        owners = await self._persons.customers_of(by_hash, known_at) if by_hash else {}
        asked = [one for one in named if not isinstance(one, ByIdentifier)]
        refused = await self._persons.refused(asked) if asked else {}
        customers = {*owners.values(), *asked} - refused.keys()
        persons = await self._persons.persons_of(customers, known_at) if customers else {}
        found: dict[Named, Person | CustomerError] = {}
        for one in named:
            customer = owners.get(one.value_hash) if isinstance(one, ByIdentifier) else one
            if customer is None:
                assert isinstance(one, ByIdentifier)
                found[one] = Person(b"", {one.value_hash: Bond()})
            else:
                found[one] = refused.get(customer) or persons.get(customer, Person(customer, {}))
        return found

    async def _briefs(
        self,
        purpose: PurposeDefined,
        named: Sequence[Named | CustomerError],
        persons: Mapping[Named, Person | CustomerError],
        instant: Instant,
    ) -> list[Brief | CustomerError]:
        hashes = {value_hash for one in persons.values() if not isinstance(one, CustomerError) for value_hash in one.bonds}
        decisions = await self._decisions.bearing_on(purpose.name, hashes, instant) if hashes else {}
        at, found = self._log.at(instant), list[Brief | CustomerError]()
        for one in named:
            person = one if isinstance(one, CustomerError) else persons[one]
            if isinstance(person, CustomerError):
                found.append(person)
            else:
                theirs = [placed for value_hash in person.bonds for placed in decisions.get(value_hash, ())]
                case = Case(purpose, [placed.event for placed in theirs], at, person.bonds)
                assert not isinstance(one, CustomerError)
                found.append(Brief(one, person.core, case, theirs))
        return found

    async def purpose(self, name: str, instant: Instant) -> Placed[PurposeDefined]:
        """The version that was in force then, as it was known; the first where none was yet, as decisions may be of before it."""
        check_name("purpose", name)
        placed = await self._definitions.in_force("purpose", name, instant)
        if placed is None:
            placed = await self._definitions.version("purpose", name, 1)
        if placed is None or placed.recorded_at > instant.known_at or not isinstance(placed.event, PurposeDefined):
            raise unknown("purpose")
        return Placed(placed.event, placed.pos, placed.recorded_at)


def usable_until(verdict: Verdict, now: int, instant: Instant) -> int | None:
    """Whoever keeps a verdict isn't waited for when a decision is answered, as readers with a lease are: so not for longer than a lease."""
    if instant.known_at != END_OF_TIME:
        return None
    return min(verdict.until, now + LEASE) if instant.valid_at == END_OF_TIME else now + LEASE


def _judged(case: Case, named: Named, core: bytes) -> Verdict:
    """An identifier that is decided about by itself is asked about by itself."""
    if not isinstance(named, ByIdentifier):
        return judge(case, core)
    if decided_by_itself(case.purpose, named.namespace):
        return judge_point(case, named.value_hash)
    return judge(case, case.bond(named.value_hash).core)


def decided_by_itself(purpose: PurposeDefined, namespace: str) -> bool:
    return purpose.scope == "identifier" or namespace in purpose.contact_points
