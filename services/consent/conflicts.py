"""Who has decided both ways, so that nothing is permitted until they are asked again."""

from typing import Final, NamedTuple

from services.consent.checking import Brief, ByIdentifier, Checks, decided_by_itself
from services.consent.domain.ledger import NOW
from services.consent.views import Decisions
from shared.consent_rule import Verdict
from shared.errors import CustomerError

LOOKED_AT_ONCE: Final = 1_000  # identifiers; some tens of milliseconds
MOST_LOOKED_AT: Final = 20_000  # of a page, which may be shorter then: a second or two


class Conflict(NamedTuple):
    identifier: ByIdentifier
    customer: bytes  # empty: nobody's
    verdict: Verdict
    evidence: tuple[int, ...]  # positions of the two decisions


class Conflicts:
    def __init__(self, checks: Checks, decisions: Decisions) -> None:
        self._checks = checks
        self._decisions = decisions

    async def of(self, purpose: str, after: bytes, most: int) -> tuple[list[Conflict], bytes]:
        """At most so many, by identifier, and the identifier that was looked at last; empty when there are no more.

        Raises InvalidInput (PURPOSE_UNKNOWN).
        """
        known, found = await self._checks.purpose(purpose, NOW), list[Conflict]()
        for _ in range(MOST_LOOKED_AT // LOOKED_AT_ONCE):
            named = [ByIdentifier(*one) for one in await self._decisions.decided_about(known.event.name, after, LOOKED_AT_ONCE)]
            for one, brief in zip(named, await self._checks.briefs(known.event, named, NOW), strict=True):
                after = one.value_hash
                if (
                    not isinstance(brief, CustomerError)
                    and (verdict := brief.verdict()).state == "CONFLICT"
                    and is_told_by(brief, one)
                ):
                    found.append(Conflict(one, brief.core, verdict, brief.positions(verdict)))
                    if len(found) == most:
                        return found, after
            if len(named) < LOOKED_AT_ONCE:
                return found, b""
        return found, after


def is_told_by(brief: Brief, one: ByIdentifier) -> bool:
    """Whether a conflict is told by this identifier: by itself where it is decided about by itself, else by the first of its core."""
    case = brief.case
    if decided_by_itself(case.purpose, one.namespace):
        return True
    core = case.bond(one.value_hash).core
    others = [
        d
        for d in case.decisions
        if d.purpose == case.purpose.name
        and not decided_by_itself(case.purpose, d.namespace)
        and case.bond(d.identifier_hash).core == core
    ]
    return one.value_hash == min(d.identifier_hash for d in others)
