"""What was given out after the person had forbidden it, because that was not known yet: the reads between a denial and its enforcement."""

from collections.abc import Iterable
from typing import NamedTuple

from services.profile.app import Profiles
from services.profile.cache import LoadingCache
from services.profile.clusters import bonds_of, case_of, cores_of, joined
from services.profile.domain.decided import KnownDecision
from services.profile.domain.state import Held
from services.profile.enforcement import depends_on_the_person
from services.profile.permission import Decisions
from services.profile.who_read import Place, Placed, Wanted, WhoRead
from shared.consent_overlays import RESTRICTED
from shared.consent_rule import DENIALS, judge
from shared.errors import InvalidInput

GIVEN = frozenset({"permit", "partial"})


class Exposed(NamedTuple):
    """A read, and the denial that stood by then: when it was decided, and when consent took it down."""

    read: Placed
    denial: KnownDecision


class Exposures:
    def __init__(
        self,
        who_read: WhoRead,
        profiles: Profiles,
        states: LoadingCache[bytes, Held],
        decisions: Decisions,
    ) -> None:
        self._who_read = who_read
        self._profiles = profiles
        self._states = states
        self._decisions = decisions

    async def page(self, customer: bytes, wanted: Wanted, before: Place | None, limit: int) -> tuple[list[Exposed], Place | None]:
        """Of so many reads those that were exposed, by all that is known now of who is one with her; there may be none, and more to come."""
        held = await joined([customer], self._states.get)
        found, rest = await self._who_read.of_customer(customer, wanted, before, limit)
        decisions = await self._decisions(list(bonds_of(held)))
        exposed = [Exposed(one, denial) for one in found if (denial := self._denial(one, held, decisions)) is not None]
        return exposed, rest

    def _denial(self, read: Placed, held: dict[bytes, Held], decisions: dict[bytes, list[KnownDecision]]) -> KnownDecision | None:
        """What would have forbidden the read, had all been known that was decided by then."""
        terms, at = read.disclosure.given.terms, read.disclosure.at
        members = [member for member in read.disclosure.given.members if member in held]
        if terms.outcome not in GIVEN or not members:
            return None
        try:
            purpose = self._profiles.purpose(terms.purpose)
        except InvalidInput:
            return None
        if not depends_on_the_person(purpose):
            return None
        by_then = {bound: [one for one in made if one.valid_from <= at] for bound, made in decisions.items()}
        verdict = judge(case_of(purpose, bonds_of(held), by_then, at), cores_of(held)[members[0]])
        if verdict.permitted or verdict.reason not in {*DENIALS.values(), RESTRICTED}:
            return None
        return _named(verdict.decision_id, by_then.values())


def _named(decision_id: bytes, decisions: Iterable[Iterable[KnownDecision]]) -> KnownDecision | None:
    return next((one for made in decisions for one in made if one.decision_id == decision_id), None)
