"""Keeps who is in which segment, behind the log: by what changed, by what rules came into force, and by the passing of time.

Each step is a transaction that has the place it went on from, so that after a kill none is done twice and none is left out, and
of two processes one waits. With no segments there is nothing to do and the log isn't read.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any, Final

import msgspec

from services.profile.beginnings import Beginnings
from services.profile.causes import TIME, Cause
from services.profile.domain.membership import differing
from services.profile.domain.rules import Rules
from services.profile.domain.rules_document import SHIPPED_RULES
from services.profile.domain.segments import only
from services.profile.following import CONSENT, SEGMENTS, SETTLED, looked_at, partition_name
from services.profile.hub import Hub
from services.profile.membership_writer import MembershipWriter
from services.profile.standings import RulesChanged, Standings
from services.profile.tables import memberships
from services.profile.tables.consents import Consents
from services.profile.tables.identifiers import Identifiers
from services.profile.tables.memberships import Place
from services.profile.tables.rulebook import Rulebook
from shared.instants import SECOND, Clock
from shared.log import LogReader
from shared.positions import Progress
from shared.telemetry import logger
from shared.waiting import wait_for_news

PAGE_EVENTS: Final = 100  # of each partition, in one transaction
PAGE_CUSTOMERS: Final = 250  # of those that are looked at for time, rules or consent, in one transaction
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
        self._news = asyncio.Event()
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

    async def step(self) -> bool:
        """Whether there is more to do at once."""
        rules = self._rulebook.rules
        if rules is self._resting_under:
            return False
        try:
            more = await self._follow(rules) | await self._fill(rules) | await self._pass_time(rules)
        except RulesChanged:
            more = True
        except _Overtaken:
            await asyncio.sleep(LOOKS_AGAIN_S)
            return False
        await self._tell()
        return more

    async def _tell(self) -> None:
        """Also after a restart, and of what another process wrote: whoever follows finds in the table who moved."""
        self._progress.advance(SEGMENTS, await memberships.newest(self._pool))
        places = [self._progress.applied(name) for name in (SEGMENTS, SETTLED, *self._names)]
        if places != self._told:
            self._told = places
            self._hub.changed(self._moved, by=self._news)
        self._moved = set()

    async def _patience_s(self) -> float:
        if self._resting_under is self._rulebook.rules:
            return LOOKS_AGAIN_S
        soonest = await memberships.soonest_due(self._pool)
        return LOOKS_AGAIN_S if soonest is None else min(max((soonest - self._clock()) / SECOND, 0.0), LOOKS_AGAIN_S)

    async def _follow(self, rules: Rules) -> bool:
        async with self._pool.acquire() as connection, connection.transaction():
            place = await self._begun(connection, await memberships.lock(connection), rules)
            more, changed, heads = await self._changed(connection)
            seen = await self._standings.look(connection, rules, rules.segments, changed)
            decided, consent = await self._decided(connection, rules, place)
            causes = await self._writer.causes(connection, seen, changed)
            now = self._clock()
            self._moved |= await self._writer.write(connection, rules, place, seen, causes)
            others = await self._standings.look(connection, rules, rules.segments, decided)
            causes = dict.fromkeys(others.clusters, Cause("consent", now))
            self._moved |= await self._writer.write(connection, rules, place, others, causes)
            await memberships.move_to(connection, msgspec.structs.replace(place, consent=consent))
        for partition, next_pos in heads.items():
            self._progress.advance(looked_at(partition_name(partition)), next_pos - 1)
        self._progress.advance(looked_at(CONSENT), consent)
        return more

    async def _begun(self, connection: Any, place: Place, rules: Rules) -> Place:
        """When these rules are new, everybody is to be looked at for what differs by them. Raises _Overtaken when they are older."""
        if place.rules_version > rules.version:
            raise _Overtaken
        if place.rules_version == rules.version:
            return place
        before = self._rulebook.version(place.rules_version).rules if place.rules_version else SHIPPED_RULES
        consent = place.consent
        if before.segments is None:  # nobody followed until now
            await memberships.skip_to_the_end(connection)
            consent = self._progress.applied(CONSENT)
        wanted = differing(before, rules).union(place.differing)
        if wanted:
            log.info("everybody is looked at for segments", rules=rules.version, segments=len(wanted))
        new = Place(rules_version=rules.version, consent=consent, differing=tuple(sorted(wanted)), making=place.making)
        return await memberships.begin(connection, new, self._clock())

    async def _changed(self, connection: Any) -> tuple[bool, Counter[bytes], dict[int, int]]:
        """Whether there is more, {stream: events} of the next pages of the log, which then are behind, and where the ones after begin."""
        reader, changed, moved, more = LogReader(connection), Counter[bytes](), {}, False
        heads = await memberships.heads(connection)
        for partition, first in heads.items():
            rows = await reader.changes(partition, first, PAGE_EVENTS)
            changed.update(stream for _, stream in rows)
            if rows:
                moved[partition] = rows[-1][0] + 1
            more |= len(rows) >= PAGE_EVENTS
        await memberships.move_heads(connection, moved)
        return more, changed, heads | moved

    async def _decided(self, connection: Any, rules: Rules, place: Place) -> tuple[set[bytes], int]:
        """Customers of whom a choice between values may be another, because they decided something; and up to where."""
        applied = self._progress.applied(CONSENT)
        if not rules.verifying or rules.segments is None or applied <= place.consent:
            return set(), max(applied, place.consent)
        rows = await Consents(connection, self._partitions).decided_after(place.consent, applied, PAGE_CUSTOMERS)
        customers = await Identifiers(connection, self._partitions).customers_of({value_hash for _, value_hash in rows})
        return set(customers.values()), rows[-1][0] if len(rows) >= PAGE_CUSTOMERS else applied

    async def _fill(self, rules: Rules) -> bool:
        """A page of everybody, by rules that are new."""
        async with self._pool.acquire() as connection, connection.transaction():
            place = await memberships.lock(connection)
            if place.rules_version != rules.version or not place.differing:
                self._settle(rules, place)  # after a restart
                return place.rules_version != rules.version
            if self._is_folding():
                return False
            segments = None if rules.segments is None else only(rules.segments, place.differing)
            if segments is None or not segments.conditions:  # none of them is defined any more
                page = [(0, one) for one in await memberships.somebody_after(connection, place, PAGE_CUSTOMERS)]
            else:
                page = await memberships.streams_after(connection, place, PAGE_CUSTOMERS)
            seen = await self._standings.look(connection, rules, segments, [stream for _, stream in page])
            self._moved |= await self._writer.write_differing(connection, rules, place, seen)
            partition, stream = page[-1] if page else (0, b"")
            place = msgspec.structs.replace(place, partition=partition, stream=stream, looked_at=place.looked_at + len(page))
            if not page:
                place = Place(rules_version=rules.version, consent=place.consent, making=place.making)
                await memberships.settle(connection, rules.version, self._clock())
            await memberships.move_to(connection, place)
        self._settle(rules, place)
        return bool(page)

    def _settle(self, rules: Rules, place: Place) -> None:
        if place.rules_version != rules.version or place.differing:
            return
        self._progress.advance(SETTLED, rules.version)
        if rules.segments is None:
            self._resting_under = rules

    async def _pass_time(self, rules: Rules) -> bool:
        async with self._pool.acquire() as connection, connection.transaction():
            place = await memberships.lock(connection)
            if place.rules_version != rules.version:
                return True
            due = await memberships.take_due(connection, self._clock(), PAGE_CUSTOMERS)
            seen = await self._standings.look(connection, rules, rules.segments, due)
            causes = {
                canonical: Cause(TIME, min(due[member] for member in cluster if member in due), alone=True)
                for canonical, cluster in seen.clusters.items()
            }
            self._moved |= await self._writer.write(connection, rules, place, seen, causes)
            return len(due) >= PAGE_CUSTOMERS
