"""Which segments a customer is in, now or at any instant: the function itself, asked of the states of then; what is written isn't read."""

from collections.abc import Sequence

import msgspec

from services.profile.app import Instant, Profiles
from services.profile.choosing import THEN, RulesChoice
from services.profile.domain.membership import hidden_segments, looks_at, rests_on_less, standing
from services.profile.domain.rules import Rules
from services.profile.domain.state import State
from services.profile.enforcement import NOT_IN_PURPOSE
from services.profile.profile import Profile
from shared.errors import NotFound, NotPermitted
from shared.events.consent import PurposeDefined
from shared.instants import END_OF_TIME, Clock


class Belonging(msgspec.Struct, frozen=True):
    """Names of segments, in order, by these rules. `withheld` are those of which the purpose may not see all that they look at,
    whether the customer is in them or not; so are `cut`, which look at a trait that not all could be considered of, and `redacted`: of
    which it can't be told, as events that may count for them are gone."""

    segments: list[str]
    withheld: list[str]
    cut: list[str]
    rules: Rules
    redacted: list[str] = []

    def __repr__(self) -> str:
        return f"<Belonging to {len(self.segments)} segments sealed>"


def require_sight_of(segment: str, rules: Rules, purpose: PurposeDefined) -> None:
    """Being in a segment tells of what its condition looks at. Raises NotFound (SEGMENT_UNKNOWN), NotPermitted (NOT_IN_PURPOSE)."""
    if rules.segments is None or segment not in rules.segments.conditions:
        raise NotFound("these rules define no such segment", reason="SEGMENT_UNKNOWN")
    if unseen := sorted(trait for trait in looks_at(rules.segments.conditions[segment]) if not purpose.may_see(trait)):
        raise NotPermitted(
            f"the segment tells of traits that {purpose.name} may not see", reason=NOT_IN_PURPOSE, traits=" ".join(unseen)
        )


class Belongings:
    def __init__(self, profiles: Profiles, clock: Clock) -> None:
        self._profiles = profiles
        self._clock = clock

    async def of(self, customer: bytes, purpose: PurposeDefined, instant: Instant, choice: RulesChoice = THEN) -> Belonging:
        """Raises what `Profiles.profile` does."""
        if instant.is_now:
            await self._profiles.permit(customer, purpose)
        erased = await self._profiles.permit_past(customer, purpose)
        cluster = await self._profiles.cluster_as_of(customer, instant, choice)
        await self._profiles.permit_others(cluster.past, purpose)
        held = {stream: past.held for stream, past in cluster.past.items()}
        if instant.is_now:  # also of one to whom nothing has happened yet
            profile = await self._profiles.chosen_of(held, cluster.rules, instant)
        else:
            profile = await self._profiles.profile_as_of(customer, cluster)
        at = self._clock() if instant.earlier == END_OF_TIME else instant.earlier
        states = [one.state for one in held.values()]
        return belonging_of(profile, states, purpose, at, unknown=erased or cluster.redacted > 0)


def belonging_of(profile: Profile, states: Sequence[State], purpose: PurposeDefined, at: int, *, unknown: bool) -> Belonging:
    """By the states that the profile is made of. `unknown`: events that may count are gone."""
    rules = profile.rules
    hidden = hidden_segments(rules, purpose.may_see)
    conditions = rules.segments.conditions if rules.segments is not None else {}
    if unknown:
        return Belonging([], sorted(hidden), [], rules, sorted(conditions.keys() - hidden))
    found = standing(states, profile.record, rules, at).segments
    cut = {name for name, one in conditions.items() if name not in hidden and rests_on_less(one, profile.record, rules)}
    return Belonging(sorted(found - hidden), sorted(hidden), sorted(cut), rules)
