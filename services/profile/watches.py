"""Follows what changes of many customers: what each of them may be shown as of now, and from where it can be gone on with.

Nothing is queued. Who watches some customers is told which of them to look at again; who watches all reads the log, a page at a
time. Both find the newest state, so a slow watcher skips what was between, and holds nothing here but its place.
"""

import asyncio
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence

import msgspec

from services.profile.app import Profiles
from services.profile.batches import Batches, Refused, Seen, Within, members_of, without_reason
from services.profile.belonging import require_sight_of
from services.profile.circle import Circle
from services.profile.domain.membership import by_events_alone, standing_in
from services.profile.domain.state import Held
from services.profile.enforcement import depends_on_the_person
from services.profile.following import (
    CONSENT,
    NOTHING,
    SEGMENTS,
    SETTLED,
    SLID,
    Follower,
    Moves,
    Places,
    amid,
    chunks,
    first_of_each,
    looked_at,
    partition_name,
    together,
    told_before,
    told_by_log,
    told_by_now,
    told_in_order,
)
from services.profile.hub import Hub
from services.profile.passing import Passing, passed_by
from services.profile.profile import Profile
from services.profile.reading import Reading, noted, steady_until
from services.profile.ready import ReadyAnswers
from services.profile.sliding import Sliding, TellsOf, delays_of
from services.profile.steady import Steady
from services.profile.tables.consents import Consents
from services.profile.tables.identifiers import Identifiers
from services.profile.tables.memberships import Memberships
from services.profile.tables.rulebook import RULES_STREAM
from services.profile.watch_turns import WatchTurns
from shared.consent_conditions import time_permits
from shared.events.consent import PurposeDefined
from shared.ids import partition_of
from shared.instants import Clock
from shared.log import LogReader
from shared.positions import Progress
from shared.waiting import wait_for_news

CUSTOMERS_AT_ONCE = 100  # are looked at together
RECHECK_S = 5.0  # a watcher looks again even when nothing woke it, so that an expired lease ends what it may see
GATHERING_S = 0.05  # what comes within it is looked at together: a round costs a follower some queries however little is new


class Look(msgspec.Struct, frozen=True):
    """What some customers may be shown. `old` of them have not changed since the places that the watcher came with.

    `places` is where to go on when everything up to here was taken; None when more belongs to it. Behind some customers there is such a
    place too, by which they are `reached`. `newest` is what is there to be looked at, for who follows everybody. `since` counts what
    changed in the caches before the look; one that `is_scan` was made without them.
    """

    purpose: PurposeDefined
    outcomes: Mapping[bytes, Seen | Refused] = {}
    old: frozenset[bytes] = frozenset()
    places: Places | None = None
    reached: Mapping[bytes, Places] = {}
    newest: Places = {}
    since: int = 0
    is_scan: bool = False
    reading: Reading = msgspec.field(default_factory=Reading)  # by what, and when, each of them was judged


class Watches:
    """`scans` are batches that leave the caches alone. `ready` counts what changed in the caches that answers are made from."""

    def __init__(
        self,
        profiles: Profiles,
        batches: Batches,
        scans: Batches,
        consents: Consents,
        identifiers: Identifiers,
        memberships: Memberships,
        reader: LogReader,
        progress: Progress,
        hub: Hub,
        ready: ReadyAnswers,
        clock: Clock,
        partitions: int,
    ) -> None:
        self.turns = WatchTurns()
        self._profiles = profiles
        self._batches = batches
        self._scans = scans
        self._consents = consents
        self._identifiers = identifiers
        self._memberships = memberships
        self._reader = reader
        self._progress = progress
        self._hub = hub
        self._ready = ready
        self._steady = Steady(lambda: ready.changes, ready.overtook, lambda: progress.applied(CONSENT))
        self._clock = clock
        self._partitions = partitions

    async def some(
        self,
        purpose_name: str,
        customers: Collection[bytes],
        after: Places | None,
        *,
        with_verified: bool,
        segment: str = "",
        tells_of: TellsOf = bool,
    ) -> AsyncGenerator[Look, None]:
        """First of all of these, then of those that changed. Those who aren't in a segment that is named are refused. Who comes back amid
        a look is told first of those who are left of it. `tells_of` says whether what is told may change with traits of these names."""
        circle = Circle(self._hub, self._clock)
        (bound, after), changed, is_first = amid(after), set(customers), True
        try:
            if bound is not None and after:
                purpose, untold = await self._permitted(purpose_name, segment), sorted(changed - told_before(bound, changed))
                reached = told_in_order(untold, after)
                for few in chunks(untold, CUSTOMERS_AT_ONCE):
                    look = await self._watched(circle, few, purpose, segment, with_verified=with_verified)
                    yield msgspec.structs.replace(look, reached=reached)
                yield Look(purpose, places=after)
                changed, is_first = changed.difference(untold) | await circle.changed(0.0), False
            while True:
                places, purpose = self._applied(), await self._permitted(purpose_name, segment)
                ordered = sorted(changed)
                reached = told_in_order(ordered, places) if is_first else {}
                for few in chunks(ordered, CUSTOMERS_AT_ONCE):
                    look = await self._watched(circle, few, purpose, segment, with_verified=with_verified)
                    by_time = time_permits(purpose) or tells_of(self._profiles.in_force.moved_by_time)
                    if after and self._by_events_alone(segment) and not by_time:
                        look = msgspec.structs.replace(look, old=await self._old(look.outcomes, purpose, after))
                    yield msgspec.structs.replace(look, reached=reached)
                yield Look(purpose, places=places)
                after, is_first = None, False
                changed = await circle.changed(RECHECK_S)
        finally:
            circle.leave()

    async def all(
        self, purpose_name: str, after: Places | None, *, with_verified: bool, segment: str = "", tells_of: TellsOf = bool
    ) -> AsyncGenerator[Look, None]:
        """Of everybody whom the log names behind `after`, in pages, and whom time alone shows, hides or changes; from the beginning again when
        the purpose or the rules changed. Of a segment also of those who entered or left it without an event. `tells_of` as in `some`."""
        applied = self._followed(segment)
        follower = Follower(self._reader, self._consents, self._identifiers, self._scans, self._partitions, applied, after)
        if after:
            await follower.learn(purpose_name, self._followed(segment))
        moves = Moves(self._memberships, segment, applied, after)
        since = await passed_by(after, self._partitions, self._reader, self._clock)
        passing = Passing(self._consents, self._identifiers, self._clock, since)
        sliding = Sliding(self._reader, self._partitions, self._clock, (after or {}).get(SLID, since))
        news = asyncio.Event()
        with self._hub.following(news):
            while True:
                news.clear()
                newest, applied = self._applied(), self._followed(segment)
                purpose = await self._permitted(purpose_name, segment)
                if moves.settle(applied):
                    follower.begin_again(applied)
                places_of = (follower.places, moves.places, passing.places, sliding.places)
                before = together(places_of)
                found = [*await follower.page(applied, purpose), *await moves.page(applied), *await passing.page(purpose)]
                # Else whom the keeper hasn't seen enter would be shown, and not be seen to leave.
                by_clock = self._by_events_alone(segment)
                found += await sliding.page(delays_of(self._profiles.in_force, tells_of) if by_clock else ())
                steps, places = first_of_each(found), together(places_of)
                at = {name: min(before.get(name, NOTHING), number) for name, number in places.items()}
                for few in chunks(steps, CUSTOMERS_AT_ONCE):
                    reached = told_by_log(few, at)
                    look = await self._look(
                        list(reached), purpose, segment, is_scan=follower.catches_up, with_verified=with_verified
                    )
                    yield msgspec.structs.replace(look, reached=reached, newest=newest)
                    at = reached[few[-1].customer]
                yield Look(purpose, places=places, newest=newest)
                if not (follower.is_behind(applied) or moves.is_behind(applied) or passing.is_behind or sliding.is_behind):
                    await wait_for_news(news, RECHECK_S)
                    await asyncio.sleep(GATHERING_S)

    def unsaid(self) -> Places:
        """The places of now of what isn't told with a profile: decisions, purposes, and rules."""
        return {name: self._applied()[name] for name in (CONSENT, partition_name(partition_of(RULES_STREAM, self._partitions)))}

    async def refused_since(self, since: Look, customers: Collection[bytes]) -> set[bytes]:
        """Of customers that were looked at no earlier than that, those who may not be shown any more at this moment.

        What is to be sent waits for its reader, and to whoever withdrew meanwhile it was confirmed that it holds. Raises InvalidInput,
        Unavailable (CONSENT_NOT_CONFIRMED).
        """
        if await self._permitted(since.purpose.name) != since.purpose:
            return set(customers)
        if self._ready.changes == since.since:
            return set()
        batches = self._scans if since.is_scan else self._batches
        clusters = await batches.clusters(customers, since.purpose)
        return {customer for customer, found in clusters.items() if isinstance(found, Refused)}

    async def _watched(
        self, circle: Circle, few: Sequence[bytes], purpose: PurposeDefined, segment: str, *, with_verified: bool
    ) -> Look:
        """They are looked at again when something of them changes."""
        with noted() as reading:
            look = await self._look(few, purpose, segment, with_verified=with_verified)
        circle.watch({customer: members_of(outcome) for customer, outcome in look.outcomes.items()}, reading.until)
        return look

    async def _look(
        self, customers: Collection[bytes], purpose: PurposeDefined, segment: str, *, is_scan: bool = False, with_verified: bool
    ) -> Look:
        since, batches = self._ready.changes, self._scans if is_scan else self._batches
        within = self._within(segment, purpose) if segment else None
        with noted() as reading:
            async with self.turns.of(len(customers)):
                seen = await self._steady.each(
                    customers, lambda some: batches.seen(some, purpose, with_verified=with_verified, within=within)
                )
        if segment:
            seen = {customer: without_reason(outcome) for customer, outcome in seen.items()}
        return Look(purpose, {c: seen[c] for c in customers if c in seen}, since=since, is_scan=is_scan, reading=reading)

    def _within(self, segment: str, purpose: PurposeDefined) -> Within:
        """Asks the condition itself, so that it is as fresh as the profile and of the same rules."""

        def is_in(profile: Profile, cluster: Mapping[bytes, Held]) -> bool:
            require_sight_of(segment, profile.rules, purpose)
            states = [held.state for held in cluster.values()]
            found = standing_in(segment, states, profile.record, profile.rules, self._clock())
            if found.due_at is not None:
                steady_until(found.due_at)
            return segment in found.segments

        return is_in

    def _applied(self) -> Places:
        return told_by_now(self._progress, self._partitions)

    def _followed(self, segment: str) -> Places:
        """What may be looked at. In whose segment time plays a part, only what the keeper of memberships has looked at before: of
        who came and went between its looks nothing is written, so nobody else may have seen that."""
        applied, rules = self._applied(), self._profiles.in_force
        moved = {name: self._progress.applied(name) for name in (SEGMENTS, SETTLED)}
        if self._by_events_alone(segment):
            return applied | moved | {SETTLED: rules.version}
        bounded = {name: min(number, self._progress.applied(looked_at(name))) for name, number in applied.items()}
        return bounded | moved | ({} if rules.verifying else {CONSENT: applied[CONSENT]})

    def _by_events_alone(self, segment: str) -> bool:
        """Whether who is in it, if there is such a segment, changes by events alone."""
        rules = self._profiles.in_force
        defined = rules.segments is not None and segment in rules.segments.conditions
        return not defined or by_events_alone(rules, [segment])

    async def _permitted(self, name: str, segment: str = "") -> PurposeDefined:
        """The purpose as it is now. Raises InvalidInput, NotFound, NotPermitted, Unavailable (CONSENT_NOT_CONFIRMED)."""
        purpose = self._profiles.purpose(name)
        if segment:
            require_sight_of(segment, self._profiles.in_force, purpose)
        if depends_on_the_person(purpose):
            await self._profiles.permission.decisions(())
        return purpose

    async def _old(self, seen: Mapping[bytes, Seen | Refused], purpose: PurposeDefined, after: Places) -> frozenset[bytes]:
        """Whose profile is as it was at these places, by all that can change it."""
        rules_partition = partition_of(RULES_STREAM, self._partitions)
        if (rules := await self._reader.newest(rules_partition, RULES_STREAM)) is not None and rules.pos > after.get(
            partition_name(rules_partition), NOTHING
        ):
            return frozenset()
        consent = after.get(CONSENT, NOTHING)
        if await self._consents.defined_at(purpose.name) > consent:
            return frozenset()
        still = {
            customer: one.profile
            for customer, one in seen.items()
            if isinstance(one, Seen)
            and all(pos <= after.get(partition_name(partition), NOTHING) for partition, pos in one.profile.positions.items())
        }
        hashes = {bound for profile in still.values() for bound in profile.record.identifiers}
        decided = await self._consents.decided_among(hashes, consent)
        return frozenset(customer for customer, profile in still.items() if decided.isdisjoint(profile.record.identifiers))
