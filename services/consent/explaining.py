"""Why a verdict is what it is, and what changed between two."""

from collections.abc import Mapping

import msgspec

from services.consent.checking import ByIdentifier, Checks, Named
from services.consent.domain.explaining import Change, Told, belonging, changes, role
from services.consent.domain.ledger import Instant
from services.consent.persons import Persons
from services.consent.views import Decisions, Placed
from shared.consent_rule import Bond, Verdict
from shared.errors import CustomerError, TooLarge
from shared.events.consent import EVERY_PURPOSE, DecisionRecorded, PurposeDefined

MOST_CONSIDERED = 2_000  # decisions, and identifiers: an answer stays below a megabyte


class Considered(msgspec.Struct, frozen=True):
    decision: Placed[DecisionRecorded]
    role: str


class Explained(msgspec.Struct, frozen=True):
    """`decisions`: newest first by when they happened. `owners`: whose the identifiers are, of those that are anybody's."""

    purpose: Placed[PurposeDefined]
    verdict: Verdict
    decisions: list[Considered]
    core: bytes
    bonds: Mapping[bytes, Bond]
    owners: Mapping[bytes, bytes]

    def told(self) -> Told:
        roles = {one.decision.event.decision_id: one.role for one in self.decisions}
        return Told(self.purpose.event.version, self.verdict.reason, roles, belonging(self.core, self.bonds))


class Explanations:
    def __init__(self, checks: Checks, persons: Persons, decisions: Decisions) -> None:
        self._checks = checks
        self._persons = persons
        self._decisions = decisions

    async def explain(self, purpose: str, named: Named, instant: Instant) -> Explained:
        """Raises what Checks.check does, and TooLarge (TOO_MANY_DECISIONS)."""
        instant = await self._checks.settled(instant)
        known = await self._checks.purpose(purpose, instant)
        [brief] = await self._checks.briefs(known.event, [named], instant)
        if isinstance(brief, CustomerError):
            raise brief
        verdict = brief.verdict()
        hashes = {*brief.case.bonds, *([named.value_hash] if isinstance(named, ByIdentifier) else [])}
        found = await self._decisions.considered([known.event.name, EVERY_PURPOSE], hashes, instant)
        if max(len(found), len(hashes)) > MOST_CONSIDERED:
            raise TooLarge(f"more than {MOST_CONSIDERED} decisions or identifiers", reason="TOO_MANY_DECISIONS")
        considered = [Considered(placed, role(brief.case, verdict, placed.event, erased)) for placed, erased in found]
        considered.sort(key=lambda one: (one.decision.event.decided_at, one.decision.pos), reverse=True)
        owners = await self._persons.customers_of(hashes, instant.known_at)
        return Explained(known, verdict, considered, brief.core, brief.case.bonds, owners)

    async def differ(self, purpose: str, named: Named, first: Instant, then: Instant) -> tuple[Explained, Explained, list[Change]]:
        """At two instants, and what changed in between. Raises what `explain` does."""
        before, after = await self.explain(purpose, named, first), await self.explain(purpose, named, then)
        return before, after, changes(before.told(), after.told())
