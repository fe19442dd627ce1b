"""Profile's use cases: who is meant, what they permit, and their profile or timeline at some instant."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

import msgspec

from services.profile.cache import LoadingCache
from services.profile.choosing import THEN, Chooser, RulesChoice
from services.profile.clusters import (
    Cluster,
    Load,
    cluster_of,
    joined,
    oldest_first,
    require_readable,
    unknown,
    unknown_identifier,
)
from services.profile.domain.clocks import NOW, Instant
from services.profile.domain.decided import KnownDecision
from services.profile.domain.disclosure import Given
from services.profile.domain.rules import Rules
from services.profile.domain.state import Held, linked, newest_positions
from services.profile.enforcement import asks_the_person, depends_on_the_person, require_unrestricted
from services.profile.failures import made
from services.profile.owners import Owners
from services.profile.permission import Permission
from services.profile.profile import Profile, Standing, profile_of
from services.profile.ready import Ready
from services.profile.tables.history import NOTHING, History
from services.profile.tables.snapshots import Past
from shared.errors import InvalidInput, NotFound, Unavailable
from shared.events.consent import PurposeDefined
from shared.identifiers import Identifier, hash_of
from shared.ids import to_text
from shared.instants import END_OF_TIME, Clock
from shared.vault import Vault

__all__ = ["NOW", "Cluster", "Instant", "Profiles"]

CLOCK_TOLERANCE_US = 1_000_000  # a caller's clock may be this much ahead of ours


class Profiles:
    """Reads. Nothing here writes, and nothing is shown before `permit` has passed."""

    def __init__(
        self,
        history: History,
        chooser: Chooser,
        identifiers: Owners,
        states: LoadingCache[bytes, Held],
        decisions: LoadingCache[bytes, list[KnownDecision]],
        purposes: dict[str, PurposeDefined],
        vault: Vault,
        lease_holds: Callable[[], bool],
        settle: Callable[[int], Awaitable[int]],
        clock: Clock,
        partitions: int,
    ) -> None:
        self.history = history
        self.chooser = chooser
        self._identifiers = identifiers
        self._states = states
        self.states_now: Load = states.get
        self._purposes = purposes
        self._vault = vault
        self.permission = Permission(decisions, lease_holds, clock)
        self.settle = settle
        self._clock = clock
        self._partitions = partitions

    @property
    def in_force(self) -> Rules:
        return self.chooser.in_force

    def purpose(self, name: str) -> PurposeDefined:
        if not name:
            raise InvalidInput("declare the purpose that the profile will be used for", reason="PURPOSE_MISSING")
        if name not in self._purposes:
            # It may not have been read yet, or defined while consent was not heard.
            if not (self._purposes and self.permission.lease_holds()):
                raise Unavailable("purposes are not confirmed at this moment; try again", reason="CONSENT_NOT_CONFIRMED")
            raise InvalidInput("no such purpose is defined", reason="PURPOSE_UNKNOWN")
        return self._purposes[name]

    def ready(self, answer: bytes, profile: Profile, purpose: PurposeDefined, given: Given) -> Ready:
        return Ready(answer, purpose, profile.rules, depends_on_the_person(purpose), given)

    def still_holds(self, ready: Ready) -> bool:
        """Whether an answer that nothing was dropped of may be served at this moment. If not, the caller is told by a new one."""
        purpose = self._purposes.get(ready.purpose.name)
        return purpose is ready.purpose and ready.rules is self.in_force and (not ready.by_lease or self.permission.lease_holds())

    def past(self, instant: int) -> int:
        """Raises InvalidInput (INSTANT_IN_FUTURE)."""
        if instant > self._clock() + CLOCK_TOLERANCE_US:
            raise InvalidInput("nothing is known of the future", reason="INSTANT_IN_FUTURE")
        return instant

    async def customer_of(self, identifier: Identifier) -> bytes:
        customer = await self._identifiers.customer_of(hash_of(identifier, self._vault.lookup_key))
        if customer is None:
            raise unknown_identifier(identifier)
        return customer

    async def customer_then(self, identifier: Identifier, instant: Instant) -> bytes:
        """Whom it named then, by the states of those whom it names or ever named. Raises NotFound (IDENTIFIER_UNKNOWN)."""
        value_hash = hash_of(identifier, self._vault.lookup_key)
        clusters = await self.clusters_as_of(await self._identifiers.ever(value_hash), instant)
        for customer, cluster in clusters.items():
            own = cluster.past.get(customer)
            named = any(value_hash in one.held.state.named for one in cluster.past.values())
            if named and own is not None and value_hash in linked(own.held.state):
                return customer
        raise unknown_identifier(identifier)

    async def permit(self, customer: bytes, purpose: PurposeDefined) -> Profile:
        """The profile as it is now, if the customer permits the purpose now. Consent of now rules reads of the past too.

        Raises NotFound (CUSTOMER_UNKNOWN), WrongState (CUSTOMER_ERASED), NotPermitted, Unavailable.
        """
        while True:
            rules = self.chooser.in_force
            held = await self.permit_cluster(customer, purpose, self._states.get)
            profile = await self.chosen_of(held, rules, Instant())
            if rules is self.chooser.in_force:  # else some of the states may be folded for others
                return await self.permission.pointed(profile, customer, purpose, self._states.get)

    async def permit_cluster(self, customer: bytes, purpose: PurposeDefined, load: Load) -> dict[bytes, Held]:
        """As `permit`: the states that the profile is made of. Whoever a match alone joins to the customer is left out if they don't."""
        held = await self._cluster(customer, load)
        require_readable(customer, held, purpose)
        return await self.permission.permitting(customer, held, purpose)

    async def standing(self, customer: bytes, purpose: PurposeDefined, instant: Instant = NOW) -> Standing:
        """Which customer it was, if it may be read as `profile` is; no profile is made for it."""
        if instant.is_now:
            held = await self.permit_cluster(customer, purpose, self._states.get)
        else:
            await self.permit_past(customer, purpose)
            cluster = await self.cluster_as_of(customer, instant)
            await self.permit_others(cluster.past, purpose)
            held = cluster.held(customer)
        unnamed = await self.unnamed(customer, held)
        members = [member for member in oldest_first(held) if member not in unnamed]
        return Standing(members, sum(h.version for h in held.values()), newest_positions(held, self._partitions))

    async def chosen(self, clusters: Mapping[bytes, dict[bytes, Held]], rules: Rules, instant: Instant) -> dict[bytes, Profile]:
        """By customer, of states that are folded with what these rules need. One of whom none can be made is absent."""
        records = await self.chooser.records(clusters, rules, instant)
        return {customer: profile_of(clusters[customer], record, rules, self._partitions) for customer, record in records.items()}

    async def chosen_of(self, held: dict[bytes, Held], rules: Rules, instant: Instant) -> Profile:
        return made((await self.chosen({b"": held}, rules, instant)).get(b""))

    async def verified(self, profile: Profile, instant: Instant) -> frozenset[str]:
        """Names of the traits whose value the person has confirmed from that very address, by then."""
        return (await self.verified_all([profile], instant))[0]

    async def verified_all(self, profiles: Sequence[Profile], instant: Instant) -> list[frozenset[str]]:
        """As `verified`, of each."""
        return await self.chooser.verified([profile.record for profile in profiles], instant)

    async def erased_among(self, customers: Collection[bytes]) -> set[bytes]:
        held = await self._states.get(set(customers)) if customers else {}
        return {customer for customer, found in held.items() if found.state.erased}

    async def unnamed(self, customer: bytes, others: Collection[bytes]) -> set[bytes]:
        """Of these, whose ids no answer about the customer holds: whoever was erased, unless as one with her."""
        erased = await self.erased_among(others)
        return erased - (await joined([customer], self._states.get)).keys() if erased else erased

    async def permit_past(self, customer: bytes, purpose: PurposeDefined) -> bool:
        """As `permit`, of all who may be the customer, and of one who was erased what is left is for whoever needn't ask. Whether she was."""
        held = await self._states.get([customer])
        erased = any(h.state.erased for h in held.values())
        if asks_the_person(purpose) or not erased:
            held = await self._cluster(customer, self._states.get)
            require_readable(customer, held, purpose)
            await self.permission.permitting(customer, held, purpose)
            await self._permit_unless_erased(held, purpose)
        return erased

    async def still_permits(self, customer: bytes, purpose: PurposeDefined) -> None:
        """Of what was permitted a moment ago. Raises as `permit` where the person decides."""
        if depends_on_the_person(purpose):
            await self.permit_cluster(customer, purpose, self._states.get)

    async def permit_others(self, members: Collection[bytes], purpose: PurposeDefined) -> None:
        """Whoever was one with a customer then is asked too, as she is now: after a split it is another person.

        Of one who was erased nothing is left to ask about. Raises NotPermitted, Unavailable.
        """
        asked: set[bytes] = set()
        for member in members:
            if member not in asked:
                held = await joined([member], self._states.get)
                if not any(h.state.erased for h in held.values()):  # else she may have parted from them since, which she isn't told
                    asked |= held.keys()
                await self._permit_unless_erased(held, purpose)

    async def _permit_unless_erased(self, held: Mapping[bytes, Held], purpose: PurposeDefined) -> None:
        if any(h.state.erased for h in held.values()):
            return
        require_unrestricted(any(h.state.restricted for h in held.values()), purpose)
        if held:
            await self.permission.require(held, purpose)

    async def permit_replay(self, customer: bytes, purpose: PurposeDefined) -> Profile:
        """As `permit_past`; the profile to compare with, of one who was erased what is kept: nothing personal."""
        if await self.permit_past(customer, purpose):
            return await self.chosen_of(await self._cluster(customer, self._states.get), self.chooser.in_force, Instant())
        return await self.permit(customer, purpose)

    async def profile(self, customer: bytes, purpose: PurposeDefined, instant: Instant, choice: RulesChoice = THEN) -> Profile:
        """Raises what `permit` does, and NotFound (RULES_UNKNOWN)."""
        if instant.is_now:
            return await self.by_rules(await self.permit(customer, purpose), customer, purpose, choice)
        await self.permit_past(customer, purpose)
        cluster = await self.cluster_as_of(customer, instant, choice)
        await self.permit_others(cluster.past, purpose)
        profile = await self.profile_as_of(customer, cluster)
        return await self.permission.pointed(profile, customer, purpose, self._states.get)

    async def by_rules(self, profile: Profile, customer: bytes, purpose: PurposeDefined, choice: RulesChoice) -> Profile:
        """As it is now. What is kept may not be what these rules need. Raises NotFound (RULES_UNKNOWN)."""
        rules = self.chooser.rules(choice, END_OF_TIME)
        if rules is profile.rules:
            return profile
        held = await self.history.of(rules.keeping).states(profile.record.members)
        return await self.permission.pointed(await self.chosen_of(held, rules, Instant()), customer, purpose, self._states.get)

    async def as_of(self, customer: bytes, instant: Instant, choice: RulesChoice = THEN) -> Profile:
        """What `replay` gives, from snapshots on. Asked again, it is the same. Raises NotFound (CUSTOMER_UNKNOWN, RULES_UNKNOWN)."""
        return await self.profile_as_of(customer, await self.cluster_as_of(customer, instant, choice))

    async def cluster_as_of(self, customer: bytes, instant: Instant, choice: RulesChoice = THEN) -> Cluster:
        """What the profile is made of. Raises NotFound (CUSTOMER_UNKNOWN, RULES_UNKNOWN): no such id was known by then."""
        cluster = (await self.clusters_as_of([customer], instant, choice))[customer]
        if not cluster.past:
            raise unknown(customer)
        return cluster

    async def clusters_as_of(
        self, customers: Collection[bytes], instant: Instant, choice: RulesChoice = THEN, known: Mapping[bytes, Past] = NOTHING
    ) -> dict[bytes, Cluster]:
        """By customer, as `cluster_as_of`; nothing is in that of one of whom no id was known. All are read together, but for those streams of
        which it is `known`."""
        known_at = instant.known_at if instant.known_at == END_OF_TIME else await self.settle(instant.known_at)
        rules = self.chooser.rules(choice, known_at)
        history = self.history.of(rules.keeping)
        past: dict[bytes, Past] = {}

        async def load(streams: Collection[bytes]) -> dict[bytes, Held]:
            found = await history.past(streams, instant.valid_at, known_at, known)
            past.update(found)
            return {stream: one.held for stream, one in found.items()}

        held = await joined(customers, load, self.states_now) if customers else {}
        return {one: Cluster(instant, rules, {member: past[member] for member in cluster_of(one, held)}) for one in customers}

    async def profile_as_of(self, customer: bytes, cluster: Cluster) -> Profile:
        """Its members are those who may be named. Raises NotFound (CUSTOMER_UNKNOWN): nothing had happened by then."""
        profile = await self.chosen_of(cluster.held(customer), cluster.rules, cluster.instant)
        record, unnamed = cluster.told(profile.record), await self.unnamed(customer, cluster.past)
        record = msgspec.structs.replace(record, members=[member for member in record.members if member not in unnamed])
        return msgspec.structs.replace(profile, record=record, redacted=cluster.redacted)

    async def at_version(self, customer: bytes, purpose: PurposeDefined, valid_at: int, version: int) -> Instant:
        """As it was known once this customer's own stream had come to a version, with all that was recorded at that instant.

        Raises what `permit_past` does, and NotFound (VERSION_UNKNOWN).
        """
        await self.permit_past(customer, purpose)
        if (recorded_at := await self.history.recorded_at(customer, version)) is None:
            raise NotFound(
                "this customer's stream has no such version yet", reason="VERSION_UNKNOWN", customer_id=to_text(customer)
            )
        return Instant(valid_at, recorded_at)

    async def settled(self, instant: Instant) -> Instant:
        """The same at any later time: what is known by then, if need be by now, stays the same."""
        return Instant(instant.valid_at, await self.settle(instant.known_at))

    async def members(self, customer: bytes, known_at: int) -> tuple[list[bytes], int]:
        """Streams that were one customer as known then, and the instant that this is known of. Raises NotFound (CUSTOMER_UNKNOWN)."""
        if known_at == END_OF_TIME:
            return list(await self._cluster(customer, self._states.get)), known_at
        settled = await self.settle(known_at)
        history = self.history.of(self.in_force.keeping)  # merges are the same by all rules
        return list(await self._cluster(customer, lambda streams: history.states(streams, settled), self.states_now)), settled

    async def _cluster(self, customer: bytes, load: Load, near: Load | None = None) -> dict[bytes, Held]:
        """The customer and all that merges join to it."""
        held = await joined([customer], load, near)
        if not held:
            raise unknown(customer)
        return held
