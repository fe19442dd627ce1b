"""Reads of many customers at once: every border is crossed once for all of them, and each has an outcome of its own."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec

from services.profile.app import NOW, Instant, Profiles
from services.profile.cache import LoadingCache
from services.profile.choosing import THEN, RulesChoice
from services.profile.clusters import (
    bonds_of,
    case_of,
    cluster_of,
    joined,
    oldest_first,
    require_readable,
    unknown,
    unknown_identifier,
)
from services.profile.domain.state import Held
from services.profile.enforcement import asks_the_person, depends_on_the_person
from services.profile.failures import OF_OTHERS, failed, note
from services.profile.owners import Owners
from services.profile.permission import permitting
from services.profile.profile import Profile
from services.profile.reading import judged_by
from shared.consent_rule import Case
from shared.errors import CustomerError, NotFound, NotPermitted, ProfileFailed, WrongState
from shared.events.consent import DecisionRecorded, PurposeDefined
from shared.identifiers import Identifier, hash_of

Named = bytes | Identifier
Within = Callable[
    [Profile, Mapping[bytes, Held]], bool
]  # whether a profile, made of these states, is one of those that are asked for


class Seen(msgspec.Struct, frozen=True):
    """A profile, and the names of its traits that the person has confirmed."""

    profile: Profile
    verified: frozenset[str]


class Point(NamedTuple):
    """Whose profile, and as of when."""

    customer: bytes
    instant: Instant


class Refused(msgspec.Struct, frozen=True):
    """Why there is no profile, and of whom: the customers that would be one, oldest first."""

    refusal: CustomerError
    members: list[bytes]


class Batches:
    """As `Profiles` answers about one."""

    def __init__(self, profiles: Profiles, identifiers: Owners, states: LoadingCache[bytes, Held], lookup_key: bytes) -> None:
        self._profiles = profiles
        self._identifiers = identifiers
        self._states = states
        self._lookup_key = lookup_key

    async def outcomes(
        self,
        named: Sequence[Named | CustomerError],
        purpose: PurposeDefined,
        instant: Instant = NOW,
        versions: Sequence[int] = (),
        choice: RulesChoice = THEN,
        *,
        with_verified: bool,
    ) -> list[Seen | CustomerError]:
        """Of each who is named its profile or why there is none, in their order; what is refused already stays so. Where `versions` has
        another than 0, it is as of that one. Raises Unavailable (CONSENT_NOT_CONFIRMED).
        """
        found = await self.customers_of({one for one in named if isinstance(one, Identifier)})
        customers = [found[one] if isinstance(one, Identifier) else one for one in named]
        pairs = zip(customers, versions or [0] * len(customers), strict=True)
        asked = [await self._point(one, purpose, instant, version) if isinstance(one, bytes) else one for one, version in pairs]
        wanted: dict[Instant, set[bytes]] = {}
        for one in asked:
            if isinstance(one, Point):
                wanted.setdefault(one.instant, set()).add(one.customer)
        seen = {at: await self.seen(several, purpose, at, choice, with_verified=with_verified) for at, several in wanted.items()}
        return [_told(seen[one.instant][one.customer]) if isinstance(one, Point) else one for one in asked]

    async def refused(
        self, named: Sequence[Named | CustomerError], outcomes: Sequence[Seen | CustomerError]
    ) -> list[tuple[list[bytes], CustomerError]]:
        """Of outcomes those that are about somebody and refused, with whom they are about."""
        refused = [(one, outcome) for one, outcome in zip(named, outcomes, strict=True) if isinstance(outcome, CustomerError)]
        found = await self.customers_of({one for one, _ in refused if isinstance(one, Identifier)})
        customers = [(found[one] if isinstance(one, Identifier) else one, outcome) for one, outcome in refused]
        return [([one], outcome) for one, outcome in customers if isinstance(one, bytes)]

    async def _point(self, customer: bytes, purpose: PurposeDefined, instant: Instant, version: int) -> Point | CustomerError:
        if not version:
            return Point(customer, instant)
        try:
            return Point(customer, await self._profiles.at_version(customer, purpose, instant.valid_at, version))
        except (NotFound, NotPermitted, WrongState) as refusal:
            return refusal

    async def seen(
        self,
        customers: Collection[bytes],
        purpose: PurposeDefined,
        instant: Instant = NOW,
        choice: RulesChoice = THEN,
        *,
        with_verified: bool,
        within: Within | None = None,
    ) -> dict[bytes, Seen | Refused]:
        """`within` asks of profiles of now."""
        if instant.is_now:
            profiles = await self._by_rules(await self.profiles(customers, purpose, within), purpose, choice)
        else:
            profiles = await self.past(customers, purpose, instant, choice)
        shown = {customer: profile for customer, profile in profiles.items() if isinstance(profile, Profile)}
        refused = {customer: one for customer, one in profiles.items() if isinstance(one, Refused)}
        verified = [frozenset[str]()] * len(shown)
        if with_verified:
            verified = await self._profiles.verified_all(list(shown.values()), instant)
        return refused | {
            customer: Seen(profile, names) for (customer, profile), names in zip(shown.items(), verified, strict=True)
        }

    async def newest(self, streams: Collection[bytes]) -> dict[bytes, int]:
        """The position of the newest event of each."""
        return {stream: held.pos for stream, held in (await self._states.get(streams)).items()}

    async def customers_of(self, identifiers: Collection[Identifier]) -> dict[Identifier, bytes | NotFound]:
        hashes = {identifier: hash_of(identifier, self._lookup_key) for identifier in identifiers}
        found = await self._identifiers.customers_of(set(hashes.values())) if hashes else {}
        return {
            identifier: found[value_hash] if value_hash in found else unknown_identifier(identifier)
            for identifier, value_hash in hashes.items()
        }

    async def profiles(
        self, customers: Collection[bytes], purpose: PurposeDefined, within: Within | None = None
    ) -> dict[bytes, Profile | Refused]:
        """Each as `Profiles.permit` gives or refuses it; who isn't `within` is refused as `outside`.

        Raises Unavailable (CONSENT_NOT_CONFIRMED), and what `within` does.
        """
        while True:
            rules = self._profiles.in_force
            permitted = await self.clusters(customers, purpose)
            refused = {customer: one for customer, one in permitted.items() if isinstance(one, Refused)}
            clusters = {customer: one for customer, one in permitted.items() if not isinstance(one, Refused)}
            profiles = await self._profiles.chosen(clusters, rules, Instant())
            if rules is self._profiles.in_force:  # else some of the states may be folded for others
                pointed = {
                    one: await self._profiles.permission.pointed(made, one, purpose, self._states.get)
                    for one, made in profiles.items()
                }
                made = {
                    customer: _within(customer, pointed.get(customer), cluster, within) for customer, cluster in clusters.items()
                }
                return refused | made

    async def _by_rules(
        self, profiles: Mapping[bytes, Profile | Refused], purpose: PurposeDefined, choice: RulesChoice
    ) -> dict[bytes, Profile | Refused]:
        found: dict[bytes, Profile | Refused] = {}
        for customer, one in profiles.items():
            try:
                found[customer] = one if isinstance(one, Refused) else await self._profiles.by_rules(one, customer, purpose, choice)
            except (NotFound, ProfileFailed) as refusal:
                found[customer] = Refused(refusal, [customer])
        return found

    async def past(
        self, customers: Collection[bytes], purpose: PurposeDefined, instant: Instant, choice: RulesChoice = THEN
    ) -> dict[bytes, Profile | Refused]:
        """Each as `Profiles.profile` gives or refuses it. Raises Unavailable (CONSENT_NOT_CONFIRMED)."""
        found: dict[bytes, Profile | Refused] = {}
        permitted = await self.clusters(customers, purpose)
        erased = set() if asks_the_person(purpose) else await self._profiles.erased_among(customers)
        found |= {one: refused for one, refused in permitted.items() if isinstance(refused, Refused) and one not in erased}
        left = permitted.keys() - found.keys()
        try:
            clusters = await self._profiles.clusters_as_of(left, instant, choice)
        except NotFound as refusal:  # there are no such rules
            return found | {customer: Refused(refusal, [customer]) for customer in left}
        for customer, cluster in clusters.items():
            try:
                if not cluster.past:
                    raise unknown(customer)
                await self._profiles.permit_others(cluster.past, purpose)
                profile = await self._profiles.profile_as_of(customer, cluster)
                found[customer] = await self._profiles.permission.pointed(profile, customer, purpose, self._states.get)
            except (NotFound, NotPermitted, ProfileFailed) as refusal:
                found[customer] = Refused(refusal, [customer])
        return found

    async def clusters(self, customers: Collection[bytes], purpose: PurposeDefined) -> dict[bytes, dict[bytes, Held] | Refused]:
        """Each as `Profiles.permit_cluster` gives or refuses it. Raises Unavailable (CONSENT_NOT_CONFIRMED)."""
        wanted = set(customers)
        held = await joined(wanted, self._states.get) if wanted else {}
        return await self.permitted({customer: cluster_of(customer, held) for customer in wanted}, purpose)

    async def permitted(
        self, clusters: Mapping[bytes, dict[bytes, Held]], purpose: PurposeDefined
    ) -> dict[bytes, dict[bytes, Held] | Refused]:
        """As `clusters`, of states that are there already. Raises Unavailable (CONSENT_NOT_CONFIRMED)."""
        bonds = {customer: bonds_of(cluster) for customer, cluster in clusters.items()}
        decisions: Mapping[bytes, Sequence[DecisionRecorded]] = {}
        if depends_on_the_person(purpose):
            decisions = await self._profiles.permission.decisions({bound for one in bonds.values() for bound in one})
        now = self._profiles.permission.clock()
        for customer, cluster in clusters.items():
            judged_by(customer, {customer, *cluster, *bonds[customer]})
        return {
            customer: _permitted(customer, cluster, case_of(purpose, bonds[customer], decisions, now))
            for customer, cluster in clusters.items()
        }


def _within(customer: bytes, profile: Profile | None, cluster: Mapping[bytes, Held], within: Within | None) -> Profile | Refused:
    """None is the profile of one of whom none can be made."""
    if profile is None:
        return Refused(failed(), oldest_first(cluster))
    try:
        return profile if within is None or within(profile, cluster) else outside(profile.record.members)
    except OF_OTHERS:
        raise
    except Exception as error:
        note(customer, "watch", error)
        return Refused(failed(), profile.record.members)


def outside(members: list[bytes]) -> Refused:
    """For whatever reason: that isn't told."""
    return Refused(NotFound("the customer is not in the segment, or not for this purpose", reason="NOT_IN_SEGMENT"), members)


def members_of(outcome: Seen | Refused) -> Sequence[bytes]:
    """The customers that are one, the canonical first."""
    return outcome.members if isinstance(outcome, Refused) else outcome.profile.record.members


def without_reason(outcome: Seen | Refused) -> Seen | Refused:
    """Of who isn't in a segment it isn't told why, whether she left it or refuses; nor when there is no such customer."""
    if isinstance(outcome, Seen) or isinstance(outcome.refusal, NotFound):
        return outcome
    return outside(outcome.members)


def _permitted(customer: bytes, cluster: dict[bytes, Held], case: Case) -> dict[bytes, Held] | Refused:
    try:
        if not cluster:
            raise unknown(customer)
        require_readable(customer, cluster, case.purpose)
        if depends_on_the_person(case.purpose):
            return permitting(customer, cluster, case)
    except CustomerError as refusal:
        return Refused(refusal, oldest_first(cluster) or [customer])
    return cluster


def _told(outcome: Seen | Refused) -> Seen | CustomerError:
    return outcome.refusal if isinstance(outcome, Refused) else outcome
