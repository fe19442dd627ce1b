"""Why a trait of a customer has its value: everything that was ever said of it, from the log."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from services.profile.app import Cluster, Instant, Profiles
from services.profile.choosing import Chooser, RulesChoice
from services.profile.domain.computed.occurrences import Scalar
from services.profile.domain.explanation import Explanation, beyond_the_limit, explain, not_served
from services.profile.domain.fold import happened_by
from services.profile.domain.golden import GoldenTrait
from services.profile.domain.rules import Rules
from services.profile.domain.said import Assertion
from services.profile.enforcement import NOT_IN_PURPOSE, REDACTED, sees_what_it_is_made_of
from services.profile.profile import Profile
from shared.errors import NotFound, NotPermitted, WrongState
from shared.events import customer as events
from shared.events.consent import PurposeDefined
from shared.ids import partition_of
from shared.log import LogReader, Record
from shared.vault import DataKey, Vault

OPENED_AT_ONCE = 500  # events, some milliseconds; then others have their turn


class RecordedAssertion(msgspec.Struct, frozen=True):
    """What one event said of the trait, and the event. `withheld`: the purpose may see that it counts, and not what is in it."""

    assertion: Assertion
    record: Record
    public: events.Activity
    withheld: bool = False

    def __repr__(self) -> str:
        return "<RecordedAssertion sealed>"

    @property
    def place(self) -> tuple[int, bytes]:
        """Orders assertions by when they happened, then by when they came."""
        return self.assertion.occurred_at, self.assertion.received_at.to_bytes(8) + self.assertion.event_id


class Explained(msgspec.Struct, frozen=True):
    """`served` is the trait as a profile has it, if it has; assertions are the latest first. `events` is how many a computed trait's
    value is made of, of which not all may be among them."""

    served: GoldenTrait | None
    explanation: Explanation
    rules: Rules
    assertions: list[RecordedAssertion]
    events: int = 0


class Explaining:
    def __init__(self, profiles: Profiles, chooser: Chooser, reader: LogReader, vault: Vault, partitions: int) -> None:
        self._profiles = profiles
        self._chooser = chooser
        self._reader = reader
        self._vault = vault
        self._partitions = partitions

    async def trait(self, customer: bytes, trait: str, purpose: PurposeDefined, instant: Instant, choice: RulesChoice) -> Explained:
        """Raises what `Profiles.profile` does, NotPermitted (NOT_IN_PURPOSE), NotFound (TRAIT_UNKNOWN), WrongState (REDACTED)."""
        if instant.is_now:
            await self._profiles.permit(customer, purpose)
        else:
            await self._profiles.permit_past(customer, purpose)
        if not purpose.may_see(trait):
            raise NotPermitted("the purpose may not see this trait", reason=NOT_IN_PURPOSE, purpose=purpose.name)
        asked = await self._profiles.settled(instant)  # so that the profile and what was said are of the same events
        cluster = await self._profiles.cluster_as_of(customer, asked, choice)
        await self._profiles.permit_others(cluster.past, purpose)
        profile = await self._profiles.profile_as_of(customer, cluster)
        assertions = await self._assertions(list(cluster.past), asked, trait)
        is_computed = profile.rules.computed is not None and trait in profile.rules.computed.all
        nothing_told = not assertions and not is_computed
        if trait in profile.record.redacted or (nothing_told and cluster.redacted):
            raise WrongState("events that may have told of this trait were erased", reason=REDACTED)
        if nothing_told:
            raise NotFound("nobody said anything of this trait by then", reason="TRAIT_UNKNOWN")
        if is_computed:
            return await self._computed(cluster, profile, trait, assertions, purpose)
        found = await self._explain([one.assertion for one in assertions], trait, profile, instant)
        return Explained(profile.record.traits.get(trait), found, profile.rules, assertions)

    async def _computed(
        self, cluster: Cluster, profile: Profile, trait: str, assertions: list[RecordedAssertion], purpose: PurposeDefined
    ) -> Explained:
        """The events that its value is made of, each with what was taken of it; and what sources said under its name."""
        counted, in_all = self._chooser.counted(
            [past.held.state for past in cluster.past.values()], profile.rules, trait, cluster.instant.earlier
        )
        taken = {event_id: value for _, event_id, value in counted}
        places = [(partition_of(stream, self._partitions), stream) for stream in cluster.past]
        records = await self._reader.of_ids(places, taken) if taken else []
        assert profile.rules.computed is not None, "it has that trait"
        shows = sees_what_it_is_made_of(purpose, profile.rules.computed.all[trait])
        made_of = [_took(record, taken[record.entry.event_id] if shows else None, not shows) for record in records]
        said = [one for one in assertions if one.assertion.event_id not in taken]
        found = not_served([one.assertion for one in said])
        ordered = sorted(made_of + said, key=lambda one: one.place, reverse=True)
        return Explained(profile.record.traits.get(trait), found, profile.rules, ordered, in_all)

    async def _assertions(self, streams: Sequence[bytes], instant: Instant, trait: str) -> list[RecordedAssertion]:
        places = [(partition_of(stream, self._partitions), stream) for stream in streams]
        records = await self._reader.of_types(places, [events.IDENTIFIED.id], instant.known_at)
        keys = await self._vault.keys(streams)
        found: list[RecordedAssertion] = []
        for first in range(0, len(records), OPENED_AT_ONCE):
            page = records[first : first + OPENED_AT_ONCE]
            found += [one for record in page if happened_by(record.entry, instant.valid_at) for one in _said(record, trait, keys)]
            await asyncio.sleep(0)
        return sorted(found, key=lambda one: one.place, reverse=True)

    async def _explain(self, said: Sequence[Assertion], trait: str, profile: Profile, instant: Instant) -> Explanation:
        verified: set[tuple[str, str]] = set()
        if profile.rules.of(trait).verified_first:
            asked = {(trait, one.value) for one in said if isinstance(one.value, str)}
            verified = await self._chooser.confirmed(asked, instant)
        found = await asyncio.to_thread(explain, said, trait, profile.rules, {value for _, value in verified})
        carries = trait in profile.record.traits
        return beyond_the_limit(found, said) if found.chosen is not None and not carries else found


def _took(record: Record, value: Scalar, withheld: bool) -> RecordedAssertion:
    entry, public = record.entry, record.entry.public()
    said = Assertion(public.source, value, entry.occurred_at, public.received_at, entry.event_id)
    return RecordedAssertion(said, record, public, withheld)


def _said(record: Record, trait: str, keys: Mapping[bytes, DataKey]) -> Iterator[RecordedAssertion]:
    entry = record.entry
    public, personal = entry.parts(keys.get(entry.stream))
    if isinstance(personal, events.Identified) and trait in personal.traits:
        said = Assertion(public.source, personal.traits[trait], entry.occurred_at, public.received_at, entry.event_id)
        yield RecordedAssertion(said, record, public)
