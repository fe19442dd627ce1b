"""Makes anew who is in which segment, beside what is served and while that goes on, and exchanges the two.

Page by page everybody is looked at as whoever keeps memberships does, and written under the same lock; and that one copies what it writes
meanwhile. Of whom anything is new since she was looked at is left to that one, and copied as it is served.
Since when is what history told. Where history tells otherwise than what is made anew, it gets a change of its own.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

import msgspec

from services.profile.beginnings import Beginnings
from services.profile.cache import LoadingCache
from services.profile.choosing import Chooser
from services.profile.domain.rules import Rules
from services.profile.domain.state import Held, linked
from services.profile.hub import Hub
from services.profile.making import EXCHANGE_PATIENCE_S, EXCHANGE_RETRY_S, ExchangeBlocked
from services.profile.memberships import PAGE_CUSTOMERS, Keeper
from services.profile.standings import RulesChanged, Seen, Standings
from services.profile.tables import late, memberships, remade
from services.profile.tables.consents import Consents
from services.profile.tables.editions import EXCHANGE_LOCK_MS, Blocked, Superseded
from services.profile.tables.memberships import Change, Place
from services.profile.tables.rulebook import RULES_STREAM, Rulebook
from services.profile.tables.states import positions_of
from shared.ids import partition_of
from shared.instants import now_us
from shared.log import LogReader
from shared.positions import Progress
from shared.store.pool import short_transaction
from shared.vault import Vault

Report = Callable[[int, int], Awaitable[None]]  # customers that were looked at, of how many


class Remaker:
    """`pool`'s search path names profile's schema. `number` is of the edition of the views that it follows from."""

    def __init__(self, pool: Any, vault: Vault, partitions: int, number: int, page_customers: int = PAGE_CUSTOMERS) -> None:
        self._pool = pool
        self._partitions = partitions
        self._number = number
        self._page_customers = page_customers
        self._clock = now_us
        self._rulebook, self._progress = Rulebook(LogReader(pool), partitions), Progress()
        decisions = LoadingCache(Consents(pool, partitions).decisions, 0)
        chooser = Chooser(self._rulebook, decisions, vault.lookup_key, now_us)
        self._standings = Standings(vault, chooser, self._rulebook, partitions, now_us)
        beginnings = Beginnings(vault, chooser, partitions)
        # Where nobody else follows the log, this one does.
        self._keeper = Keeper(pool, self._standings, beginnings, self._rulebook, self._progress, Hub(), partitions, now_us)
        self._differing: set[bytes] = set()  # customers of whom history tells otherwise

    async def make(self, report: Report) -> int:
        """Of how many customers it had to be told that they enter or leave. Raises Superseded, ExchangeBlocked: then nothing has changed."""
        try:
            while True:
                await self._follow()
                try:
                    return await self._made(report)
                except RulesChanged:
                    continue
        except BaseException:
            async with short_transaction(self._pool) as connection:
                await memberships.lock(connection)
                await remade.abandon(connection, self._number)
            raise

    async def _made(self, report: Report) -> int:
        """Raises RulesChanged: all is to be begun again."""
        async with short_transaction(self._pool) as connection:
            rules = self._settled(await memberships.lock(connection))
            await remade.begin(connection, self._number)
            customers = await connection.fetchval("SELECT count(*) FROM states")
        self._differing, looked_at, after = set(), 0, Place(rules_version=0, stream=b"")
        while rules.segments is not None and (page := await self._page(after)):
            after = msgspec.structs.replace(after, partition=page[-1][0], stream=page[-1][1])
            looked_at += len(page)
            await report(looked_at, max(customers, looked_at))
        return await self._exchange()

    async def _follow(self) -> None:
        """Until what is served is as far as the log, by the rules in force."""
        while True:
            newest = await LogReader(self._pool).newest(self._rulebook.partition, RULES_STREAM)
            if newest is not None and newest.version != self._rulebook.recorded:
                await self._rulebook.load()
            consumed = await self._pool.fetchval("SELECT consumed FROM consent_head")
            self._progress.advance("consent", consumed - 1)
            if not await self._keeper.step():
                return

    def _settled(self, place: Place) -> Rules:
        """The rules by which it is made. Raises RulesChanged when others came into force, or not everybody was looked at by these."""
        rules = self._rulebook.rules
        if place.rules_version != rules.version or place.differing:
            raise RulesChanged
        return rules

    async def _still(self, connection: Any) -> Rules:
        place = await memberships.lock(connection)
        if place.making != self._number:
            raise Superseded("another rebuild has begun")
        return self._settled(place)

    async def _page(self, after: Place) -> list[tuple[int, bytes]]:
        place = await memberships.place(self._pool)
        rules = self._settled(place)
        page = await memberships.streams_after(self._pool, after, self._page_customers)
        streams = [stream for _, stream in page]
        seen = await self._standings.look(self._pool, rules, rules.segments, streams)
        async with short_transaction(self._pool) as connection:
            if await self._still(connection) is not rules:
                raise RulesChanged
            behind = await self._behind(connection, rules, place, seen)
            current = {canonical: cluster for canonical, cluster in seen.clusters.items() if canonical not in behind}
            everybody = {member for cluster in current.values() for member in cluster}
            await self._write(connection, seen, current, everybody)
            # Also what can't be opened stays as it is.
            await remade.copy(connection, {*streams, *(m for c in behind for m in seen.clusters[c])} - everybody)
        return page

    async def _behind(self, connection: Any, rules: Rules, place: Place, seen: Seen) -> set[bytes]:
        """Canonical customers of whom something is new, since the place or since they were seen, that whoever follows the log has come or
        will come to, and knows to tell why they move."""
        heads, now = await memberships.heads(connection), self._clock()
        everybody = [member for cluster in seen.clusters.values() for member in cluster]
        due = await remade.due_by(connection, everybody, now) | await late.customers(connection)
        due |= {canonical for canonical, one in seen.standings.items() if one.due_at is not None and one.due_at <= now}
        positions = await positions_of(connection, everybody, self._partitions)
        decided = set[bytes]()
        if rules.verifying:
            hashes = {h for cluster in seen.clusters.values() for one in cluster.values() for h in linked(one.state)}
            decided = await Consents(connection, self._partitions).decided_among(hashes, place.consent)
        return {
            canonical
            for canonical, cluster in seen.clusters.items()
            if any(
                one.pos >= heads.get(partition_of(member, self._partitions), 0)
                or positions.get(member) != one.pos
                or member in due
                or not decided.isdisjoint(linked(one.state))
                for member, one in cluster.items()
            )
        }

    async def _write(
        self, connection: Any, seen: Seen, current: Mapping[bytes, Mapping[bytes, Held]], everybody: Collection[bytes]
    ) -> None:
        told, now = await remade.told(connection, everybody), self._clock()
        members = {
            (canonical, segment): told.get((canonical, segment), now)
            for canonical in current
            for segment in seen.standings[canonical].segments
        }
        self._differing |= {customer for customer, _ in members.keys() ^ told.keys()}
        due = {canonical: at for canonical in current if (at := seen.standings[canonical].due_at) is not None}
        await remade.write(connection, everybody, members, due)

    async def _exchange(self) -> int:
        until = time.monotonic() + EXCHANGE_PATIENCE_S
        while True:
            try:
                async with short_transaction(self._pool) as connection:
                    rules = await self._still(connection)
                    changes = await self._changes(connection, rules)
                    if changes:
                        await memberships.journal(connection, changes)
                    await remade.exchange(connection, EXCHANGE_LOCK_MS)
                return len({change.customer for change in changes})
            except Blocked:
                if time.monotonic() > until:
                    raise ExchangeBlocked("something reads memberships for long, such as a dump; run it again later") from None
                await asyncio.sleep(EXCHANGE_RETRY_S)

    async def _changes(self, connection: Any, rules: Rules) -> list[Change]:
        """What history has to tell to be what was made anew; of who moved since it was looked at that is told already."""
        told, made = await remade.told(connection, self._differing), await remade.members(connection, self._differing)
        now = self._clock()
        return [
            Change(
                segment=segment,
                customer=customer,
                entered=(customer, segment) in made,
                rules_version=rules.version,
                valid_at=made.get((customer, segment), now),
                recorded_at=now,
                cause=remade.CAUSE,
            )
            for customer, segment in sorted(made.keys() ^ told.keys())
        ]
