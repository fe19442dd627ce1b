"""Profile's use cases: who is meant, what they permit, and their profile or timeline at some instant."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

import msgspec

from services.profile.cache import LoadingCache
from services.profile.domain.fold import happened_by, is_timeless
from services.profile.domain.golden import GoldenRecord, golden_record
from services.profile.domain.state import Held, linked, reachable
from services.profile.enforcement import depends_on_the_person, require_permission, require_unrestricted
from services.profile.tables.history import History
from services.profile.tables.identifiers import Identifiers
from services.profile.tables.snapshots import NEVER, Past
from shared.errors import InvalidInput, NotFound, Unavailable, WrongState
from shared.events.consent import DecisionRecorded, PurposeDefined
from shared.identifiers import Identifier, hash_of, normalise
from shared.ids import partition_of, to_text
from shared.instants import END_OF_TIME, Clock
from shared.log import Record
from shared.vault import Vault

CONFIRMABLE = ("email", "phone")
CLOCK_TOLERANCE_US = 1_000_000  # a caller's clock may be this much ahead of ours


class Instant(msgspec.Struct, frozen=True):
    """valid_at: only what had happened by then. known_at: only what our log knew by then."""

    valid_at: int = END_OF_TIME
    known_at: int = END_OF_TIME

    @property
    def is_now(self) -> bool:
        return self.valid_at == self.known_at == END_OF_TIME


class Profile(msgspec.Struct, frozen=True):
    """A golden record and where it stands: versions of its streams, version counts their events, newest position per partition."""

    record: GoldenRecord
    version: int
    versions: dict[bytes, int]
    positions: dict[int, int]
    redacted: int = 0  # events whose personal part is gone


class Standing(msgspec.Struct, frozen=True):
    """Which streams are one customer, oldest first, the first canonical; their events in number; newest position per partition."""

    members: list[bytes]
    version: int
    positions: dict[int, int]


class Profiles:
    """Reads. Nothing here writes, and nothing is shown before `permit` has passed."""

    def __init__(
        self,
        history: History,
        identifiers: Identifiers,
        states: LoadingCache[bytes, Held],
        decisions: LoadingCache[bytes, list[DecisionRecorded]],
        purposes: dict[str, PurposeDefined],
        vault: Vault,
        lease_holds: Callable[[], bool],
        settle: Callable[[int], Awaitable[int]],
        clock: Clock,
        partitions: int,
    ) -> None:
        self._history = history
        self._identifiers = identifiers
        self._states = states
        self._decisions = decisions
        self._purposes = purposes
        self._vault = vault
        self._lease_holds = lease_holds
        self._settle = settle
        self._clock = clock
        self._partitions = partitions

    def purpose(self, name: str) -> PurposeDefined:
        if not name:
            raise InvalidInput("declare the purpose that the profile will be used for", reason="PURPOSE_MISSING")
        if name not in self._purposes:
            if not self._lease_holds():  # it may have been defined while consent could not be heard
                raise Unavailable("purposes are not confirmed at this moment; try again", reason="CONSENT_NOT_CONFIRMED")
            raise InvalidInput("no such purpose is defined", reason="PURPOSE_UNKNOWN")
        return self._purposes[name]

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

    async def permit(self, customer: bytes, purpose: PurposeDefined) -> Profile:
        """The profile as it is now, if the customer permits the purpose now. Consent of now rules reads of the past too.

        Raises NotFound (CUSTOMER_UNKNOWN), WrongState (CUSTOMER_ERASED), NotPermitted, Unavailable.
        """
        return _profile(await self.permit_cluster(customer, purpose, self._states.get), self._partitions)

    async def permit_cluster(
        self, customer: bytes, purpose: PurposeDefined, load: Callable[[Collection[bytes]], Awaitable[dict[bytes, Held]]]
    ) -> dict[bytes, Held]:
        """As `permit`: the states that the profile is made of."""
        held = await self._cluster(customer, load)
        require_readable(customer, held, purpose)
        if depends_on_the_person(purpose):
            hashes = bound_hashes(held)
            require_decided(purpose, hashes, await self.confirmed_decisions(hashes))
        return held

    async def standing(self, customer: bytes, purpose: PurposeDefined) -> Standing:
        """Which customer it is now, if `permit` allows it; no profile is made for it."""
        held = await self.permit_cluster(customer, purpose, self._states.get)
        members = sorted(held, key=lambda stream: (held[stream].state.founding_number, stream))
        return Standing(members, sum(h.version for h in held.values()), newest_positions(held, self._partitions))

    async def confirmed_decisions(self, hashes: Collection[bytes]) -> dict[bytes, list[DecisionRecorded]]:
        """By identifier hash, what holds at this moment. Raises Unavailable (CONSENT_NOT_CONFIRMED)."""
        found = await self._decisions.get(hashes)
        if not self._lease_holds():  # looked at last: it vouches for the decisions just read
            raise Unavailable("consent is not confirmed at this moment; try again", reason="CONSENT_NOT_CONFIRMED")
        return found

    def profile_of(self, held: dict[bytes, Held]) -> Profile:
        return _profile(held, self._partitions)

    async def verified(self, profile: Profile, instant: Instant) -> frozenset[str]:
        """Names of the traits whose value the person has confirmed from that very address, by then."""
        return (await self.verified_all([profile], instant))[0]

    async def verified_all(self, profiles: Sequence[Profile], instant: Instant) -> list[frozenset[str]]:
        """As `verified`, of each."""
        by = min(instant.valid_at, instant.known_at)
        hashes = [
            {name: value_hash for name in CONFIRMABLE if (value_hash := self._hash_of(profile, name)) is not None}
            for profile in profiles
        ]
        wanted = {value_hash for one in hashes for value_hash in one.values()}
        found = await self._decisions.get(wanted) if wanted else {}
        confirmed = {bound for bound, decisions in found.items() if any(d.confirmed and d.decided_at <= by for d in decisions)}
        return [frozenset(name for name, value_hash in one.items() if value_hash in confirmed) for one in hashes]

    def _hash_of(self, profile: Profile, name: str) -> bytes | None:
        """As the identifier that the trait's value is; None when it is none."""
        trait = profile.record.traits.get(name)
        if trait is None or not isinstance(trait.value, str):
            return None
        try:
            return hash_of(normalise(name, trait.value), self._vault.lookup_key)
        except InvalidInput:
            return None

    async def erased_among(self, customers: Collection[bytes]) -> set[bytes]:
        held = await self._states.get(set(customers)) if customers else {}
        return {customer for customer, found in held.items() if found.state.erased}

    async def permit_past(self, customer: bytes, purpose: PurposeDefined) -> bool:
        """As `permit`; but whoever needn't ask the person may see what is left of one who was erased. Whether she was."""
        held = await self._states.get([customer])
        erased = any(h.state.erased for h in held.values())
        if depends_on_the_person(purpose) or not erased:
            await self.permit(customer, purpose)
        return erased

    async def permit_replay(self, customer: bytes, purpose: PurposeDefined) -> Profile:
        """As `permit_past`; the profile to compare with, of one who was erased what is kept: nothing personal."""
        if await self.permit_past(customer, purpose):
            return _profile(await self._cluster(customer, self._states.get), self._partitions)
        return await self.permit(customer, purpose)

    async def profile(self, customer: bytes, purpose: PurposeDefined, instant: Instant) -> Profile:
        if instant.is_now:
            return await self.permit(customer, purpose)
        await self.permit_past(customer, purpose)
        return await self.as_of(customer, instant)

    async def as_of(self, customer: bytes, instant: Instant) -> Profile:
        """What `replay` gives, from snapshots on. Asked again, it is the same. Raises NotFound (CUSTOMER_UNKNOWN)."""
        known_at = await self._settled(instant)
        past: dict[bytes, Past] = {}

        async def load(streams: Collection[bytes]) -> dict[bytes, Held]:
            found = await self._history.past(streams, instant.valid_at, known_at)
            past.update(found)
            return {stream: one.held for stream, one in found.items()}

        held = await self._cluster(customer, load)
        if all(one.latest_at == NEVER for one in past.values()):
            raise _nothing_yet(customer)
        redacted = sum(one.redacted for one in past.values())
        return msgspec.structs.replace(_profile(held, self._partitions), redacted=redacted)

    async def replay(self, customer: bytes, instant: Instant) -> tuple[Profile, list[Record]]:
        """The profile as of an instant, from the log alone, and the events it is made of. Asked again, it is the same."""
        known_at = await self._settled(instant)
        records: dict[bytes, list[Record]] = {}

        async def fold_streams(streams: Collection[bytes]) -> dict[bytes, Held]:
            found = await self._history.read(streams, known_at)
            for record in found:
                records.setdefault(record.entry.stream, []).append(record)
            return await self._history.fold(found, instant.valid_at)

        held = await self._cluster(customer, fold_streams)
        counted = [r for stream in held for r in records[stream] if happened_by(r.entry, instant.valid_at)]
        if all(is_timeless(r.entry) for r in counted):
            raise _nothing_yet(customer)
        keys = await self._vault.keys(held)
        redacted = sum(1 for r in counted if r.entry.envelope and r.entry.stream not in keys)
        return msgspec.structs.replace(_profile(held, self._partitions), redacted=redacted), counted

    async def _settled(self, instant: Instant) -> int:
        return instant.known_at if instant.known_at == END_OF_TIME else await self._settle(instant.known_at)

    async def _cluster(
        self, customer: bytes, load: Callable[[Collection[bytes]], Awaitable[dict[bytes, Held]]]
    ) -> dict[bytes, Held]:
        """The customer and all that merges join to it."""
        held = await joined([customer], load)
        if not held:
            raise unknown(customer)
        return held


async def joined(
    customers: Collection[bytes], load: Callable[[Collection[bytes]], Awaitable[dict[bytes, Held]]]
) -> dict[bytes, Held]:
    """These customers and all that merges join to them, each ring of them loaded at once."""
    found = await load(customers)
    held = dict(found)
    # None found: the other side of a merge is in a unit that isn't applied yet.
    while found and (missing := reachable(h.state for h in found.values()) - held.keys()):
        found = await load(missing)
        held |= found
    return held


def require_readable(customer: bytes, held: Mapping[bytes, Held], purpose: PurposeDefined) -> None:
    """Raises WrongState (CUSTOMER_ERASED), NotPermitted (RESTRICTED)."""
    if any(h.state.erased for h in held.values()):
        raise WrongState("this customer was erased", reason="CUSTOMER_ERASED", customer_id=to_text(customer))
    require_unrestricted(any(h.state.restricted for h in held.values()), purpose)


def bound_hashes(held: Mapping[bytes, Held]) -> set[bytes]:
    """Of the identifiers that decisions about these customers are bound to."""
    return {bound for h in held.values() for bound in linked(h.state)}


def require_decided(purpose: PurposeDefined, hashes: Collection[bytes], found: Mapping[bytes, list[DecisionRecorded]]) -> None:
    """Raises NotPermitted."""
    require_permission(purpose, [d for bound in hashes for d in found[bound] if d.purpose == purpose.name])


def unknown(customer: bytes) -> NotFound:
    return NotFound("no customer had this id then", reason="CUSTOMER_UNKNOWN", customer_id=to_text(customer))


def unknown_identifier(identifier: Identifier) -> NotFound:
    return NotFound("no customer has this identifier", reason="IDENTIFIER_UNKNOWN", namespace=identifier.namespace)


def _nothing_yet(customer: bytes) -> NotFound:
    return NotFound("nothing had happened to this customer by then", reason="CUSTOMER_UNKNOWN", customer_id=to_text(customer))


def newest_positions(held: Mapping[bytes, Held], partitions: int) -> dict[int, int]:
    positions: dict[int, int] = {}
    for stream, h in held.items():
        partition = partition_of(stream, partitions)
        positions[partition] = max(positions.get(partition, -1), h.pos)
    return positions


def _profile(held: dict[bytes, Held], partitions: int) -> Profile:
    record = golden_record({stream: h.state for stream, h in held.items()})
    versions = {stream: held[stream].version for stream in record.members}
    return Profile(record, sum(versions.values()), versions, newest_positions(held, partitions))
