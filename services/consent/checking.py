"""What is permitted: of any number of people at once, and every border is crossed once for all of them."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from services.consent.domain.definitions import check_name, unknown
from services.consent.domain.explaining import belonging
from services.consent.domain.ledger import NOW, Instant
from services.consent.domain.receipts import hash_of
from services.consent.looking_up import Looked, LookingUp
from services.consent.persons import Person, Persons
from services.consent.views import Placed
from services.consent.writing import ConsentLog
from shared.bus.enforcement import LEASE_S
from shared.consent_rule import Bond, Case, Verdict, judge, judge_point
from shared.errors import CustomerError
from shared.events.consent import EVERY_PURPOSE, DecisionRecorded, PurposeDefined
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
    def __init__(self, persons: Persons, looking_up: LookingUp, log: ConsentLog) -> None:
        self._persons = persons
        self._looking_up = looking_up
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
        looked = await self._look_up(purpose, named, instant)
        known = _defined(looked)
        sha256, found = hash_of(known.event), list[Checked | CustomerError]()
        for brief in self._briefs(known.event, named, looked, instant):
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

    async def settle(self, known_at: int) -> int:
        """As `LogWriter.settle`, for others who read the tables."""
        settled = await self._log.settle(known_at)
        await self._persons.settle(settled)
        return settled

    async def briefs(
        self, purpose: PurposeDefined, named: Sequence[Named | CustomerError], instant: Instant
    ) -> list[Brief | CustomerError]:
        """Of each who is named what is judged, in their order; what is refused already stays so. The instant is settled."""
        return self._briefs(purpose, named, await self._look_up(purpose.name, named, instant), instant)

    async def person(self, named: Named) -> Person:
        """As it is now. Raises NotFound (CUSTOMER_UNKNOWN), WrongState (CUSTOMER_ERASED)."""
        found = person_of(named, await self._look_up(EVERY_PURPOSE, [named], NOW))
        if isinstance(found, CustomerError):
            raise found
        return found

    async def belonging(self, named: Named, value_hash: bytes) -> str:
        """How an identifier is theirs now; empty: it isn't. Raises NotFound (CUSTOMER_UNKNOWN), WrongState (CUSTOMER_ERASED)."""
        person = await self.person(named)
        return belonging(person.core, person.bonds).get(value_hash, "")

    async def purpose(self, name: str, instant: Instant) -> Placed[PurposeDefined]:
        """The version that was in force then, as it was known; the first where none was yet, as decisions may be of before it."""
        return _defined(await self._look_up(name, (), instant))

    async def _look_up(self, purpose: str, each: Sequence[Named | CustomerError], instant: Instant) -> Looked:
        if purpose != EVERY_PURPOSE:
            check_name("purpose", purpose)
        named = {one for one in each if not isinstance(one, CustomerError)}
        hashes = {one.value_hash for one in named if isinstance(one, ByIdentifier)}
        return await self._looking_up.of(purpose, hashes, {one for one in named if not isinstance(one, ByIdentifier)}, instant)

    def _briefs(
        self, purpose: PurposeDefined, named: Sequence[Named | CustomerError], looked: Looked, instant: Instant
    ) -> list[Brief | CustomerError]:
        at, found = self._log.at(instant), list[Brief | CustomerError]()
        for one in named:
            person = one if isinstance(one, CustomerError) else person_of(one, looked)
            if isinstance(person, CustomerError):
                found.append(person)
            else:
                theirs = [placed for value_hash in person.bonds for placed in looked.decisions.get(value_hash, ())]
                case = Case(purpose, [placed.event for placed in theirs], at, person.bonds)
                assert not isinstance(one, CustomerError)
                found.append(Brief(one, person.core, case, theirs))
        return found


def person_of(one: Named, looked: Looked) -> Person | CustomerError:
    """The identifiers that are theirs, or why nothing is told of them."""
    customer = looked.owners.get(one.value_hash) if isinstance(one, ByIdentifier) else one
    if customer is None:
        assert isinstance(one, ByIdentifier)
        return Person(b"", {one.value_hash: Bond()})
    return looked.refused.get(customer) or looked.persons.get(customer, Person(customer, {}))


def _defined(looked: Looked) -> Placed[PurposeDefined]:
    if looked.purpose is None:
        raise unknown("purpose")
    return looked.purpose


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
