"""What differs between two points in a customer's past, and what made the difference."""

from collections.abc import Mapping, Sequence, Set

import msgspec

from services.profile.app import Cluster, Instant, Profiles
from services.profile.choosing import THEN, Chooser, RulesChoice
from services.profile.domain.causes import Chained, OtherRules, Passing
from services.profile.domain.diff import ByEvent, Difference, Side, compare
from services.profile.domain.happening import Happening
from services.profile.domain.rules import Rules
from services.profile.profile import Profile
from services.profile.sides import Sides
from services.profile.tables.further import further, is_further
from services.profile.tables.history import NOTHING, History, counts
from services.profile.tables.snapshots import Past
from shared.errors import NotFound
from shared.events.consent import PurposeDefined
from shared.log import Record
from shared.pieces import AT_ONCE, Pieces
from shared.vault import Vault

Between = Mapping[bytes, Sequence[Record]]  # by stream; of others it isn't known


class Answered(msgspec.Struct, frozen=True):
    """A profile of the past; None where nothing had happened by then. `cluster`: what it is made of, if anybody was known."""

    instant: Instant
    rules: Rules
    profile: Profile | None
    cluster: Cluster | None
    side: Side


class Compared(msgspec.Struct, frozen=True):
    """`unnamed`: whoever was erased and has a part in it; their ids aren't told."""

    old: Answered
    new: Answered
    difference: Difference
    unnamed: Set[bytes]


class Differences:
    def __init__(self, profiles: Profiles, chooser: Chooser, history: History, sides: Sides, vault: Vault) -> None:
        self._profiles = profiles
        self._chooser = chooser
        self._history = history
        self._sides = sides
        self._vault = vault

    async def between(
        self, customer: bytes, purpose: PurposeDefined, old: Instant, new: Instant, choice: RulesChoice = THEN
    ) -> Compared:
        """Raises what `Profiles.profile` does; CUSTOMER_UNKNOWN only where nothing had happened by either."""
        erased = await self._profiles.permit_past(customer, purpose)
        old, new = await self._profiles.settled(old), await self._profiles.settled(new)
        if is_further(new, old):
            after, before, between = await self._both(customer, new, old, choice, erased)
        else:
            before, after, between = await self._both(customer, old, new, choice, erased)
        members = before.side.states.keys() | after.side.states.keys()
        await self._profiles.permit_others(members, purpose)
        if before.profile is None and after.profile is None:
            await self._profiles.as_of(customer, after.instant)  # which says so
        difference = await self._difference(customer, before, after, between, erased)
        return Compared(before, after, difference, await self._profiles.unnamed(customer, members))

    async def _both(
        self, customer: bytes, one: Instant, other: Instant, choice: RulesChoice, erased: bool
    ) -> tuple[Answered, Answered, Between]:
        """At a further point much is as it was at the first: what counts at both isn't folded twice. With the events that count at one of
        the two only, of the streams that were there at the first."""
        first = await self._answered(customer, one, choice, erased)
        keeping = self._chooser.rules(choice, other.known_at).keeping
        if first.cluster is None or not is_further(one, other) or keeping != first.rules.keeping:
            return first, await self._answered(customer, other, choice, erased), {}
        past = first.cluster.past
        records = await self._history.between(past.keys(), (one.valid_at, one.known_at), (other.valid_at, other.known_at))
        between: dict[bytes, list[Record]] = {stream: [] for stream in past}
        for record in records:
            between[record.entry.stream].append(record)
        known = await further(self._vault, keeping, past, between)
        return first, await self._answered(customer, other, choice, erased, known), between

    async def _difference(self, customer: bytes, before: Answered, after: Answered, between: Between, erased: bool) -> Difference:
        """In three steps, of which each has causes of one kind: other rules, then another instant, then what came or went."""
        old, new, by_then = before.side, after.side, before
        if before.rules is not after.rules:
            by_then = await self._answered(customer, before.instant, after.rules.version, erased)
        ruled = by_then.side
        past = {} if by_then.cluster is None else by_then.cluster.past
        passed = (
            ruled if new.instant == old.instant else await self._sides.of(customer, past, after.rules, new.instant, erased=erased)
        )
        happened = await self._happened(customer, before, after, between)
        steps = [
            compare(old, ruled, OtherRules(old, ruled)),
            compare(ruled, passed, Passing(ruled, passed)),
            compare(passed, new, Happening(customer, passed, new, happened)),
        ]
        return compare(old, new, Chained(old, new, steps))

    async def _answered(
        self, customer: bytes, instant: Instant, choice: RulesChoice, erased: bool, known: Mapping[bytes, Past] = NOTHING
    ) -> Answered:
        rules = self._chooser.rules(choice, instant.known_at)
        cluster = (await self._profiles.clusters_as_of([customer], instant, choice, known))[customer]
        if not cluster.past:
            return Answered(instant, rules, None, None, Side(rules=rules, instant=instant))
        try:
            profile = await self._profiles.profile_as_of(customer, cluster)
        except NotFound as unknown:
            if unknown.reason != "CUSTOMER_UNKNOWN":
                raise
            states = {stream: one.held.state for stream, one in cluster.past.items()}
            return Answered(instant, rules, None, cluster, Side(states=states, rules=rules, instant=instant))
        side = await self._sides.of(customer, cluster.past, rules, instant, erased=erased)
        return Answered(instant, rules, profile, cluster, side)

    async def _happened(self, customer: bytes, old: Answered, new: Answered, between: Between) -> list[ByEvent]:
        members = old.side.states.keys() | new.side.states.keys() | {customer}
        points = [(one.instant.valid_at, one.instant.known_at) for one in (old, new)]
        records = [record for member in members & between.keys() for record in between[member]]
        if missing := members - between.keys():
            records += await self._history.between(missing, *points)
        found, turns = list[ByEvent](), Pieces(AT_ONCE)
        for record in records:
            undone = counts(record, *points[0])
            found.append(ByEvent(record.entry, record.entry.public(), record.recorded_at, record.partition, record.pos, undone))
            await turns.done(1)
        return found
