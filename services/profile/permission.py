"""What customers permit at this moment, by the decisions that are bound to their identifiers."""

from collections.abc import Awaitable, Callable, Collection, Mapping

import msgspec

from services.profile.cache import LoadingCache
from services.profile.clusters import Load, bonds_of, case_of, cores_of, joined
from services.profile.domain.decided import KnownDecision
from services.profile.domain.state import Held, LinkedIdentifier
from services.profile.enforcement import depends_on_the_person, require_permission
from services.profile.profile import Profile
from services.profile.reading import relied_on, steady_until, stood
from shared.consent_rule import Case, judge, judge_point
from shared.errors import Unavailable
from shared.events.consent import PurposeDefined
from shared.instants import END_OF_TIME, Clock

# By identifier hash, what holds at this moment. Raises Unavailable (CONSENT_NOT_CONFIRMED).
Decisions = Callable[[Collection[bytes]], Awaitable[dict[bytes, list[KnownDecision]]]]


class Permission:
    def __init__(self, decisions: LoadingCache[bytes, list[KnownDecision]], lease_holds: Callable[[], bool], clock: Clock) -> None:
        self._decisions = decisions
        self.lease_holds = lease_holds
        self.clock = clock

    async def decisions(self, hashes: Collection[bytes]) -> dict[bytes, list[KnownDecision]]:
        """By identifier hash, what holds at this moment. Raises Unavailable (CONSENT_NOT_CONFIRMED)."""
        found = await self._decisions.get(hashes)
        if not self.lease_holds():  # looked at last: it vouches for the decisions just read
            raise Unavailable("consent is not confirmed at this moment; try again", reason="CONSENT_NOT_CONFIRMED")
        return found

    async def permitting(self, customer: bytes, held: Mapping[bytes, Held], purpose: PurposeDefined) -> dict[bytes, Held]:
        """Of the states that are one customer's those that may be shown together: whoever only a match joins to it answers for itself.

        Raises NotPermitted, Unavailable (CONSENT_NOT_CONFIRMED).
        """
        if not depends_on_the_person(purpose):
            return dict(held)
        return permitting(customer, held, await self._case(held, purpose))

    async def require(self, held: Mapping[bytes, Held], purpose: PurposeDefined) -> None:
        """Of all of these states, whoever is only likely the same too. Raises NotPermitted, Unavailable (CONSENT_NOT_CONFIRMED)."""
        if depends_on_the_person(purpose):
            stood({stream: h.pos for stream, h in held.items()})
            case, cores = await self._case(held, purpose), cores_of(held)
            for core in sorted(set(cores.values())):
                _require(case, core, _of_core(core, cores))

    async def points(
        self, identifiers: Mapping[bytes, LinkedIdentifier], held: Mapping[bytes, Held], purpose: PurposeDefined
    ) -> frozenset[bytes]:
        """Hashes of those among these that permit the purpose, where it is decided about each contact point by itself."""
        if not purpose.contact_points:
            return frozenset()
        case = await self._case(held, purpose)
        bound = [h for h, one in identifiers.items() if one.namespace in purpose.contact_points and h in case.bonds]
        verdicts = {value_hash: judge_point(case, value_hash) for value_hash in bound}
        steady_until(min((verdict.until for verdict in verdicts.values()), default=END_OF_TIME))
        for verdict in verdicts.values():
            if verdict.permitted:
                relied_on(held, verdict)
        return frozenset(value_hash for value_hash, verdict in verdicts.items() if verdict.permitted)

    async def pointed(self, profile: Profile, customer: bytes, purpose: PurposeDefined, load: Load) -> Profile:
        """With the contact points that permit the purpose; `load` gives what is known now, of all who may be the customer."""
        if not purpose.contact_points:
            return profile
        points = await self.points(profile.record.identifiers, await joined([customer], load), purpose)
        return msgspec.structs.replace(profile, record=msgspec.structs.replace(profile.record, permitted_points=points))

    async def _case(self, held: Mapping[bytes, Held], purpose: PurposeDefined) -> Case:
        bonds = bonds_of(held)
        return case_of(purpose, bonds, await self.decisions(bonds), self.clock())


def permitting(customer: bytes, held: Mapping[bytes, Held], case: Case) -> dict[bytes, Held]:
    """As `Permission.permitting`, of a purpose that depends on the person."""
    cores = cores_of(held)
    own = cores[customer]
    _require(case, own, _of_core(own, cores))
    permitted = {own}
    for core in set(cores.values()) - permitted:
        verdict = judge(case, core)
        relied_on(_of_core(core, cores), verdict)
        permitted |= {core} if verdict.permitted else set()
    return {stream: one for stream, one in held.items() if cores[stream] in permitted}


def _require(case: Case, core: bytes, streams: Collection[bytes]) -> None:
    """Raises NotPermitted."""
    verdict = judge(case, core)
    relied_on(streams, verdict)
    require_permission(verdict, case.purpose)


def _of_core(core: bytes, cores: Mapping[bytes, bytes]) -> list[bytes]:
    return [stream for stream, one in cores.items() if one == core]
