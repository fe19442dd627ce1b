"""Looks at those of whom it takes long to find since when they are in a segment, beside the looks at all others, one after the other.

Whoever was put off is looked at by nobody else until then: what comes of her meanwhile is put off too. Only the look at everybody for
other rules takes her along, because that asks nothing of her past.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec

from services.profile.causes import TIME, Cause
from services.profile.domain.rules import Rules
from services.profile.membership_writer import MembershipWriter, Moved, Why
from services.profile.standings import RulesChanged, Seen, Standings
from services.profile.tables import late, memberships
from services.profile.tables.late import Late
from services.profile.tables.rulebook import Rulebook
from shared.store.pool import short_transaction
from shared.waiting import wait_for_news

LOOKS_AGAIN_S: Final = 5.0  # at the longest: another process may have put somebody off


class LateLooks:
    """`told` hears whose memberships changed. `news` is set by who puts somebody off."""

    def __init__(
        self,
        pool: Any,
        standings: Standings,
        writer: MembershipWriter,
        rulebook: Rulebook,
        told: Callable[[Collection[bytes]], None],
    ) -> None:
        self._pool = pool
        self._standings = standings
        self._writer = writer
        self._rulebook = rulebook
        self._told = told
        self.news = asyncio.Event()

    async def run(self) -> None:
        """Never returns; raises when a server is down, to be started over from what is committed."""
        while True:
            self.news.clear()
            if not await self.step():
                await wait_for_news(self.news, LOOKS_AGAIN_S)

    async def step(self) -> bool:
        """Looks at who has waited longest. Whether there may be more to do at once."""
        rules, stream = self._rulebook.rules, await late.first(self._pool)
        if stream is None or (await memberships.place(self._pool)).rules_version != rules.version:
            return False
        with suppress(RulesChanged, Moved):
            self._told(await self._look(rules, stream))
        return True

    async def _look(self, rules: Rules, stream: bytes) -> set[bytes]:
        """Whose memberships changed. What is put off from now on may not be in the states that are looked at. Raises Moved, RulesChanged."""
        until = await late.newest(self._pool)
        found, heads = await memberships.place(self._pool), await memberships.heads(self._pool)
        seen = await self._standings.look(self._pool, rules, rules.segments, [stream])
        rows = await late.of(self._pool, {stream}.union(*seen.clusters.values()), until)
        if not rows:  # another process was quicker
            raise Moved
        prepared = await self._writer.prepare(self._pool, rules, found, seen, why_of(seen, rows, heads))
        async with short_transaction(self._pool) as connection:
            place = await memberships.lock_to_write(connection)
            if (place.rules_version, place.differing) != (found.rules_version, found.differing):
                raise Moved
            if not await late.take(connection, rows):
                raise Moved
            return await self._writer.write(connection, place, prepared)


def put_off(rows: Mapping[bytes, Late], waiting: Collection[bytes], seen: Seen, canonicals: Collection[bytes]) -> list[Late]:
    """Of the rows by stream, those of who is waiting already, of these customers, and of whom was left out because it takes long."""
    streams = set(seen.unfolded).union(waiting, *(seen.clusters[canonical] for canonical in canonicals))
    return [row for stream, row in rows.items() if stream in streams]


def why_of(seen: Seen, rows: Iterable[Late], heads: Mapping[int, int]) -> Why:
    """By what the rows say; of several that are no events the first."""
    changed, others = Counter[bytes](), dict[bytes, Cause]()
    canonicals = {member: canonical for canonical, cluster in seen.clusters.items() for member in cluster}
    for row in rows:
        changed[row.customer] += row.events
        if (canonical := canonicals.get(row.customer)) is not None and not row.events:
            known = others.get(canonical)
            others[canonical] = Cause(row.cause, row.valid_at, alone=row.cause == TIME) if known is None else _earlier(known, row)
    return Why(heads, +changed, others)


def _earlier(cause: Cause, row: Late) -> Cause:
    """Of several members of a customer, whoever was due first; what else there is of her isn't alone."""
    if cause.kind == row.cause == TIME:
        return msgspec.structs.replace(cause, valid_at=min(cause.valid_at, row.valid_at))
    return msgspec.structs.replace(cause, alone=False)
