"""What differs between two points in a customer's past, and what made the difference."""

import msgspec

from services.profile.app import Instant, Profiles
from services.profile.choosing import THEN, RulesChoice
from services.profile.domain.diff import Cause, Difference, Side, difference
from services.profile.domain.state import State
from services.profile.profile import Profile
from services.profile.tables.history import History, counts
from shared.errors import NotFound
from shared.events.consent import PurposeDefined


class Answered(msgspec.Struct, frozen=True):
    """A profile of the past; None where nothing had happened by then."""

    instant: Instant
    profile: Profile | None
    side: Side


class Compared(msgspec.Struct, frozen=True):
    old: Answered
    new: Answered
    difference: Difference


class Differences:
    def __init__(self, profiles: Profiles, history: History) -> None:
        self._profiles = profiles
        self._history = history

    async def between(
        self, customer: bytes, purpose: PurposeDefined, old: Instant, new: Instant, choice: RulesChoice = THEN
    ) -> Compared:
        """Raises what `Profiles.profile` does; CUSTOMER_UNKNOWN only where nothing had happened by either."""
        await self._profiles.permit_past(customer, purpose)
        before = await self._answered(customer, await self._profiles.settled(old), choice)
        after = await self._answered(customer, await self._profiles.settled(new), choice)
        await self._profiles.permit_others(before.side.states.keys() | after.side.states.keys(), purpose)
        if before.profile is None and after.profile is None:
            await self._profiles.as_of(customer, after.instant)  # which says so
        return Compared(before, after, difference(customer, before.side, after.side, await self._happened(customer, before, after)))

    async def _answered(self, customer: bytes, instant: Instant, choice: RulesChoice) -> Answered:
        states: dict[bytes, State] = {}
        try:
            cluster = await self._profiles.cluster_as_of(customer, instant, choice)
            states = {stream: one.held.state for stream, one in cluster.past.items()}
            profile = await self._profiles.profile_as_of(customer, cluster)
        except NotFound as unknown:
            if unknown.reason != "CUSTOMER_UNKNOWN":
                raise
            return Answered(instant, None, Side(states=states))
        verified = await self._profiles.verified(profile, instant)
        return Answered(instant, profile, Side(True, profile.record.traits, verified, profile.record.identifiers, states))

    async def _happened(self, customer: bytes, old: Answered, new: Answered) -> list[Cause]:
        members = old.side.states.keys() | new.side.states.keys() | {customer}
        points = [(one.instant.valid_at, one.instant.known_at) for one in (old, new)]
        records = await self._history.between(members, *points)
        return [
            Cause(record.entry, record.entry.public(), record.recorded_at, record.partition, record.pos, counts(record, *points[0]))
            for record in records
        ]
