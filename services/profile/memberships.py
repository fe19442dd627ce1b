"""Keeps who is in which segment, behind the log: by what changed, by what rules came into force, and by the passing of time.

Each step looks first, and writes what it found with its place in one short transaction, if nobody else has written since: so after a
kill, and of two processes, none is done twice and none is left out. Who takes long is put off (`late.py`). With no segments there is
nothing to do and the log isn't read.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec

from services.profile import news
from services.profile.beginnings import Beginnings
from services.profile.causes import DECIDED, TIME
from services.profile.domain.membership import differing
from services.profile.domain.rules import Rules
from services.profile.domain.rules_document import SHIPPED_RULES
from services.profile.domain.segments import only
from services.profile.due import due_first
from services.profile.following import CONSENT, SEGMENTS, SETTLED, looked_at, partition_name
from services.profile.hub import Hub
from services.profile.lag import Lag, lag_of, show
from services.profile.late import LateLooks, put_off, why_of
from services.profile.looked import LookedAt
from services.profile.membership_writer import MembershipWriter, Moved, Prepared
from services.profile.portions import Looks, Portion, TooMany
from services.profile.standings import RulesChanged, Standings
from services.profile.tables import late, memberships
from services.profile.tables.consents import Consents
from services.profile.tables.due import soonest_due
from services.profile.tables.identifiers import Identifiers
from services.profile.tables.late import OF_CONSENT, OF_NO_LOG, Late
from services.profile.tables.memberships import Place
from services.profile.tables.rulebook import Rulebook
from shared.instants import SECOND, Clock
from shared.positions import Progress
from shared.store.pool import short_transaction
from shared.telemetry import logger
from shared.waiting import wait_for_news

PAGE_CUSTOMERS: Final = 250  # of those that are looked at for time or rules, in one transaction
LOOKS_AGAIN_S: Final = 5.0  # at the longest, whatever is due: clocks are set
GATHERING_S: Final = 0.05  # what comes within it is looked at together

log = logger("segments")


class _Overtaken(Exception):
    """Another process goes by newer rules: this one has lost the log and doesn't know it yet."""


class Keeper:
    def __init__(
        self,
        pool: Any,
        standings: Standings,
        beginnings: Beginnings,
        rulebook: Rulebook,
        progress: Progress,
        hub: Hub,
        partitions: int,
        clock: Clock,
        is_folding: Callable[[], bool] = lambda: False,
    ) -> None:
        """While `is_folding`, states are folded anew for other rules: who looked at everybody then would fold each once more."""
        self._pool = pool
        self._standings = standings
        self._writer = MembershipWriter(standings, beginnings, partitions, clock)
        self._rulebook = rulebook
        self._progress = progress
        self._hub = hub
        self._partitions = partitions
        self._clock = clock
        self._is_folding = is_folding
        self.late = LateLooks(pool, standings, self._writer, rulebook, self._looked_at_late)
        self._news = asyncio.Event()
        self._followed, self._due = Portion(news.PAGE_STREAMS), Portion(PAGE_CUSTOMERS)
        self._looked = LookedAt()
        self._names = [looked_at(name) for name in (*map(partition_name, range(partitions)), CONSENT)]
        self._moved: set[bytes] = set()  # whoever follows them isn't told yet
        self._told: list[int] = []
        self._resting_under: Rules | None = None  # rules without segments, by which nobody is in any

    async def run(self) -> None:
        """Never returns; raises when a server is down, to be started over from what is committed."""
        with self._hub.following(self._news):
            while True:
                self._news.clear()
                if not await self.step():
                    await wait_for_news(self._news, await self._patience_s())
                    await asyncio.sleep(GATHERING_S)

    async def include(self, logs: Collection[str], timeout_s: float) -> None:
        """Waits until all is written that follows from what this process has applied by now of these logs, by their names in Progress.

        Of whatever log identity or ingest fills, that is of the customer log. Raises NotFreshEnough.
        """
        if self._rulebook.rules.segments is None:
            return
        names = [partition_name(partition) for partition in range(self._partitions)] + [CONSENT] * (CONSENT in logs)
        await self._progress.wait_all([(looked_at(name), self._progress.applied(name)) for name in names], timeout_s)

    async def lag(self) -> Lag | None:
        return await lag_of(self._pool, self._progress, self._rulebook.rules, self._partitions, self._clock())

    async def step(self) -> bool:
        """Whether there is more to do at once."""
        rules = self._rulebook.rules
        if rules is self._resting_under:
            return False
        try:
            more = await self._portion(self._due, self._pass_time, rules)
            more |= await self._portion(self._followed, self._follow, rules)
            more |= await self._fill(rules)
        except (RulesChanged, Moved):
            more = True
        except _Overtaken:
            await asyncio.sleep(LOOKS_AGAIN_S)
            return False
        await self._tell()
        show(await self.lag(), self._clock())
        return more

    async def _portion(self, portion: Portion, look: Callable[[Rules, int, Looks], Awaitable[bool]], rules: Rules) -> bool:
        looks = portion.looks()
        try:
            more = await look(rules, portion.size, looks)
        except TooMany:
            portion.did_not_fit()
            return True
        portion.fitted(looks)
        return more

    async def _tell(self) -> None:
        """Also after a restart, and of what another process wrote: whoever follows finds in the table who moved."""
        self._progress.advance(SEGMENTS, await memberships.newest(self._pool))
        places = [self._progress.applied(name) for name in (SEGMENTS, SETTLED, *self._names)]
        if places != self._told:
            self._told = places
            self._hub.changed(self._moved, by=self._news)
        self._moved = set()

    def _told_of(self, moved: Collection[bytes], left: Collection[Late] = ()) -> None:
        self._moved.update(moved)
        if left:
            self.late.news.set()

    def _looked_at_late(self, moved: Collection[bytes]) -> None:
        self._told_of(moved)
        self._news.set()

    async def _patience_s(self) -> float:
        if self._resting_under is self._rulebook.rules:
            return LOOKS_AGAIN_S
        soonest = await soonest_due(self._pool)
        return LOOKS_AGAIN_S if soonest is None else min(max((soonest - self._clock()) / SECOND, 0.0), LOOKS_AGAIN_S)

    async def _follow(self, rules: Rules, at_most: int, looks: Looks) -> bool:
        place, now = await self._begun(rules), self._clock()
        heads = await memberships.heads(self._pool)
        self._looked.go_on_from(place, heads)
        page = await news.page(self._pool, heads, self._looked.has_seen, at_most)
        decided, consent = await self._decided(rules, place, at_most)
        if page.moved or consent != place.consent:
            decision = Late(customer=b"", partition=OF_CONSENT, pos=place.consent + 1, cause=DECIDED, valid_at=now)
            rows = {stream: msgspec.structs.replace(decision, customer=stream) for stream in decided} | dict(page.rows)
            prepared, left = await self._prepared(rules, place, rows, page.heads, looks)
            async with self._writing(place) as (connection, locked):
                moved = await self._writer.write(connection, locked, prepared)
                await late.put(connection, left)
                await memberships.move_heads(connection, page.moved)
                await memberships.move_to(connection, msgspec.structs.replace(locked, consent=consent))
            self._looked.remember(prepared.seen, locked, page.heads)
            self._told_of(moved, left)
        await self._advance(page.heads, consent)
        return page.more or consent < self._progress.applied(CONSENT)

    @asynccontextmanager
    async def _writing(self, found: Place) -> AsyncIterator[tuple[Any, Place]]:
        """Raises Moved when somebody else has written since the place was found."""
        async with short_transaction(self._pool) as connection:
            place = await memberships.lock_to_write(connection)
            if place != msgspec.structs.replace(found, writes=found.writes + 1):
                raise Moved
            yield connection, place

    async def _prepared(
        self, rules: Rules, place: Place, rows: Mapping[bytes, Late], heads: Mapping[int, int], looks: Looks
    ) -> tuple[Prepared, list[Late]]:
        """And of the rows, by stream, those that are put off: of who is late already, or would take long."""
        waiting = await late.customers(self._pool)
        seen = await self._standings.look(self._pool, rules, rules.segments, rows.keys() - waiting, patient=False)
        are_late = {canonical for canonical, cluster in seen.clusters.items() if not waiting.isdisjoint(cluster)}
        why = why_of(seen, [row for stream, row in rows.items() if stream not in waiting], heads)
        prepared = await self._writer.prepare(self._pool, rules, place, seen.without(are_late), why, looks)
        return prepared, put_off(rows, waiting, seen, are_late.union(prepared.put_off))

    async def _advance(self, heads: Mapping[int, int], consent: int) -> None:
        """Whoever waits for a position waits for who is late, too."""
        first = await late.positions(self._pool)
        for partition, next_pos in heads.items():
            self._progress.advance(looked_at(partition_name(partition)), min(next_pos, first.get(partition, next_pos)) - 1)
        self._progress.advance(looked_at(CONSENT), min(consent, first.get(OF_CONSENT, consent + 1) - 1))

    async def _begun(self, rules: Rules) -> Place:
        """When these rules are new, everybody is to be looked at for what differs by them. Raises _Overtaken when they are older."""
        place = await memberships.place(self._pool)
        if place.rules_version > rules.version:
            raise _Overtaken
        if place.rules_version == rules.version:
            return place
        before = self._rulebook.version(place.rules_version).rules if place.rules_version else SHIPPED_RULES
        wanted = differing(before, rules).union(place.differing)
        if wanted:
            log.info("everybody is looked at for segments", rules=rules.version, segments=len(wanted))
        async with self._writing(place) as (connection, locked):
            consent = place.consent
            if before.segments is None:  # nobody followed until now
                await memberships.skip_to_the_end(connection)
                consent = self._progress.applied(CONSENT)
            new = Place(rules_version=rules.version, consent=consent, differing=tuple(sorted(wanted)), making=place.making)
            new = await memberships.begin(connection, msgspec.structs.replace(new, writes=locked.writes), self._clock())
            await memberships.move_to(connection, new)
        return new

    async def _decided(self, rules: Rules, place: Place, at_most: int) -> tuple[set[bytes], int]:
        """Customers of whom a choice between values may be another, because they decided something; and up to where."""
        applied = self._progress.applied(CONSENT)
        if not rules.verifying or rules.segments is None or applied <= place.consent:
            return set(), max(applied, place.consent)
        rows = await Consents(self._pool, self._partitions).decided_after(place.consent, applied, at_most)
        customers = await Identifiers(self._pool, self._partitions).customers_of({value_hash for _, value_hash in rows})
        return set(customers.values()), rows[-1][0] if len(rows) >= at_most else applied

    async def _fill(self, rules: Rules) -> bool:
        """A page of everybody, by rules that are new."""
        place = await memberships.place(self._pool)
        if place.rules_version != rules.version or not place.differing:
            self._settle(rules, place)  # after a restart
            return place.rules_version != rules.version
        if self._is_folding():
            return False
        segments = None if rules.segments is None else only(rules.segments, place.differing)
        if segments is None or not segments.conditions:  # none of them is defined any more
            page = [(0, one) for one in await memberships.somebody_after(self._pool, place, PAGE_CUSTOMERS)]
        else:
            page = await memberships.streams_after(self._pool, place, PAGE_CUSTOMERS)
        seen = await self._standings.look(self._pool, rules, segments, [stream for _, stream in page], patient=False)
        if seen.unfolded:  # others are to come into force, or whoever folds hasn't begun
            return False
        prepared = await self._writer.prepare_differing(self._pool, rules, place, seen)
        async with self._writing(place) as (connection, locked):
            moved = await self._writer.write(connection, locked, prepared)
            place = await self._move_on(connection, rules, locked, page)
        self._told_of(moved)
        self._settle(rules, place)
        return bool(page)

    async def _move_on(self, connection: Any, rules: Rules, place: Place, page: Collection[tuple[int, bytes]]) -> Place:
        """Behind a page of everybody."""
        if page:
            partition, stream = max(page)
            new = msgspec.structs.replace(place, partition=partition, stream=stream, looked_at=place.looked_at + len(page))
        else:
            new = Place(rules_version=rules.version, consent=place.consent, making=place.making, writes=place.writes)
            await memberships.settle(connection, rules.version, self._clock())
        await memberships.move_to(connection, new)
        return new

    def _settle(self, rules: Rules, place: Place) -> None:
        if place.rules_version != rules.version or place.differing:
            return
        self._progress.advance(SETTLED, rules.version)
        if rules.segments is None:
            self._resting_under = rules

    async def _pass_time(self, rules: Rules, at_most: int, looks: Looks) -> bool:
        place, heads = await memberships.place(self._pool), await memberships.heads(self._pool)
        if place.rules_version != rules.version:
            return True
        due = await due_first(self._pool, heads, self._clock(), self._partitions, at_most)
        if not due:
            return False
        rows = {one: Late(customer=one, partition=OF_NO_LOG, cause=TIME, valid_at=at) for one, at in due.items()}
        prepared, left = await self._prepared(rules, place, rows, heads, looks)
        async with self._writing(place) as (connection, locked):
            await memberships.set_due(connection, dict.fromkeys(due))
            moved = await self._writer.write(connection, locked, prepared)
            await late.put(connection, left)
        self._told_of(moved, left)
        return len(due) >= at_most
