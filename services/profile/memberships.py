"""Keeps who is in which segment, behind the log: by what changed, by what rules came into force, and by the passing of time.

Each step is a transaction that has the place it went on from, so that after a kill none is done twice and none is left out, and
of two processes one waits. With no segments there is nothing to do and the log isn't read.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import msgspec

from services.profile.beginnings import Beginnings, Mover
from services.profile.causes import RULES, TIME, Cause, because, begins_with, cause_of, change_of
from services.profile.domain.membership import Move, by_events_alone, moves
from services.profile.domain.rules import Rules
from services.profile.following import CONSENT, SEGMENTS, SETTLED, looked_at, partition_name
from services.profile.hub import Hub
from services.profile.standings import RulesChanged, Seen, Standings
from services.profile.tables import memberships
from services.profile.tables.consents import Consents
from services.profile.tables.identifiers import Identifiers
from services.profile.tables.memberships import Place
from services.profile.tables.rulebook import Rulebook
from shared.ids import partition_of
from shared.instants import SECOND, Clock
from shared.log import LogReader, Record
from shared.log.reader import Stretch
from shared.positions import Progress
from shared.telemetry import logger
from shared.waiting import wait_for_news

PAGE_EVENTS: Final = 100  # of each partition, in one transaction
PAGE_CUSTOMERS: Final = 100  # of those that are looked at for time, rules or consent, in one transaction
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
    ) -> None:
        self._pool = pool
        self._standings = standings
        self._beginnings = beginnings
        self._rulebook = rulebook
        self._progress = progress
        self._hub = hub
        self._partitions = partitions
        self._clock = clock
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
            seen = await self._standings.look(connection, rules, changed)
            decided, consent = await self._decided(connection, rules, place)
            causes = await self._causes(connection, seen, changed)
            now = self._clock()
            await self._write(connection, rules, seen, self._by_rules(place, seen, causes))
            others = await self._standings.look(connection, rules, decided)
            causes = dict.fromkeys(others.clusters, Cause("consent", now))
            await self._write(connection, rules, others, self._by_rules(place, others, causes))
            await memberships.move_to(connection, msgspec.structs.replace(place, consent=consent))
        for partition, next_pos in heads.items():
            self._progress.advance(looked_at(partition_name(partition)), next_pos - 1)
        self._progress.advance(looked_at(CONSENT), consent)
        return more

    async def _begun(self, connection: Any, place: Place, rules: Rules) -> Place:
        """When these rules are new, everybody is to be looked at by them. Raises _Overtaken when they are older."""
        if place.rules_version > rules.version:
            raise _Overtaken
        if place.rules_version == rules.version:
            return place
        before = self._rulebook.version(place.rules_version).rules.segments if place.rules_version else None
        if before is None:  # nobody followed until now, and all are looked at anyway
            await memberships.skip_to_the_end(connection)
        log.info("everybody is looked at for segments", rules=rules.version)
        await memberships.begin(connection, rules.version, self._clock())
        consent = self._progress.applied(CONSENT) if before is None else place.consent
        return Place(rules_version=rules.version, filling=True, partition=0, stream=b"", consent=consent)

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
            if place.rules_version != rules.version or not place.filling:
                self._settle(rules, place)  # after a restart
                return place.rules_version != rules.version
            if rules.segments is None:
                page = [(0, customer) for customer in await memberships.somebody_after(connection, place, PAGE_CUSTOMERS)]
                await memberships.set_due(connection, dict.fromkeys((customer for _, customer in page), None))
            else:
                page = await memberships.streams_after(connection, place, PAGE_CUSTOMERS)
            seen = await self._standings.look(connection, rules, [stream for _, stream in page])
            await self._write(connection, rules, seen, dict.fromkeys(seen.clusters, Cause(RULES, self._clock())))
            partition, stream = page[-1] if page else (0, b"")
            place = msgspec.structs.replace(place, filling=bool(page), partition=partition, stream=stream)
            await memberships.move_to(connection, place)
            if not page:
                await memberships.settle(connection, rules.version, self._clock())
        self._settle(rules, place)
        return bool(page)

    def _settle(self, rules: Rules, place: Place) -> None:
        if place.rules_version != rules.version or place.filling:
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
            seen = await self._standings.look(connection, rules, due)
            causes = {
                canonical: Cause(TIME, min(due[member] for member in cluster if member in due), alone=True)
                for canonical, cluster in seen.clusters.items()
            }
            await self._write(connection, rules, seen, self._by_rules(place, seen, causes))
            return len(due) >= PAGE_CUSTOMERS

    async def _causes(self, connection: Any, seen: Seen, changed: Mapping[bytes, int]) -> dict[bytes, Cause]:
        """By canonical customer, of whoever moves."""
        written = await memberships.written(connection, [member for cluster in seen.clusters.values() for member in cluster])
        moving = {c for c, cluster in seen.clusters.items() if moves(written, cluster, c, seen.standings[c].segments)}
        stretches = [
            Stretch(partition_of(member, self._partitions), member, one.version - changed[member] + 1, one.version)
            for canonical in moving
            for member, one in seen.clusters[canonical].items()
            if member in changed
        ]
        records = await LogReader(connection).history(stretches) if stretches else []
        by_stream: dict[bytes, list[Record]] = {}
        for record in records:
            by_stream.setdefault(record.entry.stream, []).append(record)
        return {
            canonical: cause_of([record for member in seen.clusters[canonical] for record in by_stream.get(member, ())])
            for canonical in moving
        }

    def _by_rules(self, place: Place, seen: Seen, causes: Mapping[bytes, Cause]) -> Mapping[bytes, Cause]:
        """Whoever wasn't looked at by new rules yet may enter or leave by them, whatever else there is of it."""
        if not place.filling:
            return causes
        looked_at = {
            canonical
            for canonical, cluster in seen.clusters.items()
            if all((partition_of(member, self._partitions), member) <= (place.partition, place.stream) for member in cluster)
        }
        rules = Cause(RULES, self._clock())
        return {canonical: cause if canonical in looked_at else rules for canonical, cause in causes.items()}

    async def _write(self, connection: Any, rules: Rules, seen: Seen, causes: Mapping[bytes, Cause]) -> None:
        if not seen.clusters:
            return
        everybody = [member for cluster in seen.clusters.values() for member in cluster]
        if erased := [m for cluster in seen.clusters.values() for m, one in cluster.items() if one.state.erased]:
            await memberships.forget(connection, erased)
        written, now = await memberships.written(connection, everybody), self._clock()
        found = {
            canonical: moves(written, cluster, canonical, seen.standings[canonical].segments)
            for canonical, cluster in seen.clusters.items()
        }
        if moved := {canonical: own for canonical, own in found.items() if own}:
            since = await self._since(connection, rules, seen, causes, moved, now)
            changes = [
                change_of(move, cause, since.get((move.customer, move.segment), cause.valid_at), rules.version, now)
                for canonical, own in moved.items()
                for move in own
                for cause in [because(causes[canonical], move.segment, rules, seen.clusters[canonical])]
            ]
            await memberships.write(connection, changes)
            self._moved |= {change.customer for change in changes}
        due: dict[bytes, int | None] = dict.fromkeys(everybody)
        await memberships.set_due(connection, due | {canonical: one.due_at for canonical, one in seen.standings.items()})

    async def _since(
        self,
        connection: Any,
        rules: Rules,
        seen: Seen,
        causes: Mapping[bytes, Cause],
        moved: Mapping[bytes, Sequence[Move]],
        now: int,
    ) -> dict[tuple[bytes, str], int]:
        """By customer and segment, where what happened says it, and not what others came into force."""
        heads = await memberships.heads(connection)
        movers = {}
        for canonical, own in moved.items():
            cluster, cause = seen.clusters[canonical], causes[canonical]
            wanted = {move.segment: move.entered for move in own if move.customer == canonical}
            if wanted and cause.kind != RULES:
                followed = {member: heads.get(partition_of(member, self._partitions), 0) for member in cluster}
                begins = begins_with(cause, cluster, followed, by_events_alone(rules, wanted))
                movers[canonical] = Mover(cluster, wanted, cause.valid_at if begins else None)
        history = self._standings.history(connection, rules)
        return await self._beginnings.of(history, LogReader(connection), rules, movers, now)
