"""Settles identifiers by the rules in force, a page and what hangs together with it at a time.

What is small is settled in a turn. With anything larger the page is looked at beside the writer, as decisions are (`beside`): events that touch it
wait meanwhile, and where something else did it is looked at anew; after some looks in vain, in a turn.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple

from services.identity.beside import MOST_IN_VAIN
from services.identity.domain.flight import Flight
from services.identity.drafting import Drafting
from services.identity.graph.difference import changed, copied
from services.identity.graph.facts import Evidence
from services.identity.graph.region import Looked, Region, concluded, look
from services.identity.graph.rules import Rules
from services.identity.graph_writer import GraphWriter
from services.identity.ledger import Ledger
from services.identity.tables import placing, regions, resettling, sharing
from services.identity.tables.bounds import Bound, RegionTooLarge
from services.identity.tables.regions import Loaded
from services.identity.tables.resettling import Resettling
from services.identity.tables.rulebook import Activation
from shared.events.catalogue import Entry
from shared.ids import NewId
from shared.store.pool import snapshot

MOST_IN_A_TURN: Final = 2_000  # identifiers, of a page of 200: that people's browsers and addresses go with them is usual


class Page(NamedTuple):
    so_far: Resettling
    hashes: list[bytes]  # of the identifiers


class RuledPages:
    """Each page, and how far it came, are one transaction."""

    def __init__(self, pool: Any, ledger: Ledger, graph: GraphWriter, new_id: NewId) -> None:
        self._pool = pool
        self._ledger = ledger
        self._graph = graph
        self._new_id = new_id

    async def settle(self, next_page: Callable[[], Awaitable[Page | None]]) -> bool:
        """Whether there was a page, as `next_page` finds it in a turn."""
        async with self._ledger.turn():
            if (page := await next_page()) is None:
                return False
            if await self._in_turn(page, Bound(self._graph.most, MOST_IN_A_TURN)):
                return True
        async with self._graph.beside:
            try:
                for _ in range(MOST_IN_VAIN):
                    if await self._attempt(page):
                        return True
            finally:
                self._graph.flight = None
        async with self._ledger.turn():
            page = await next_page()
            return page is not None and await self._in_turn(page, None)

    async def _in_turn(self, page: Page, bound: Bound | None) -> bool:
        """Whether it isn't too large for that; if it is, nothing was done."""
        stored: list[tuple[Region, Region]] = []  # as it was, and as it becomes

        def remember(loaded: Loaded) -> Sequence[Entry]:
            stored.append((copied(loaded.region), loaded.region))
            return ()

        async def also(connection: Any) -> None:
            await resettling.save(connection, page.so_far.after(page.hashes, changed(*stored[0])))

        try:
            along = await _along(self._pool, page, self._ledger.rules, bound)
        except RegionTooLarge:
            return False
        cause = _cause(self._ledger.activation)
        await self._graph.resettle(page.hashes, remember, also, cause=cause, reconsider=along)
        return True

    async def _attempt(self, page: Page) -> bool:
        """Whether nothing came in between, and it is written."""
        async with self._ledger.turn():  # else what is being committed would be in neither the snapshot nor the flight
            self._graph.flight = flight = Flight(frozenset(page.hashes))
            activation = self._ledger.activation
        async with snapshot(self._pool) as connection:
            along = await _along(connection, page, activation.rules, None)
            loaded = await regions.load(connection, page.hashes, 0, activation.rules, along)
        region = loaded.region
        flight.hashes |= along | {node.value_hash for node in region.component_of}
        before = copied(region)
        looked = await asyncio.to_thread(look, region, [], activation.rules, self._new_id)
        async with self._ledger.turn():
            if activation != self._ledger.activation or await resettling.under_way(self._pool) != page.so_far:
                return True  # newer rules begin from the first page
            return flight.holds(()) and await self._write(flight, page, before, loaded, looked)

    async def _write(self, flight: Flight, page: Page, before: Region, loaded: Loaded, looked: Looked) -> bool:
        """Whether nothing touched what follows from it."""
        region = loaded.region
        if not await placing.catch_up(self._pool, loaded, flight.founded & flight.hashes):
            return False
        region.known.next_founding_number = self._ledger.next_founding_number
        before.known = copied(region).known
        settled = await asyncio.to_thread(concluded, region, looked, self._ledger.rules, self._new_id)
        if not flight.holds({node.value_hash for node in settled.nodes}):
            return False
        loaded.unsettled = [value_hash for value_hash in loaded.unsettled if value_hash not in flight.left]

        async def also(connection: Any) -> None:
            await resettling.save(connection, page.so_far.after(page.hashes, changed(before, region)))

        cause = _cause(self._ledger.activation)
        await self._graph.commit(loaded, settled, Drafting(), page.hashes, also, cause)
        return True


def _cause(activation: Activation) -> Evidence:
    return Evidence(activation.activated_at, activation.event_id)


async def _along(pool: Any, page: Page, rules: Rules, bound: Bound | None) -> set[bytes]:
    """With a page goes what links again under the rules: else customers are founded by what half of it says. Raises RegionTooLarge."""
    found = set(page.hashes)
    while True:
        loaded = await regions.load(pool, page.hashes, 0, rules, found, bound=bound)
        edge = await sharing.edge(pool, loaded.region)
        shared = edge.shared - found
        back = await sharing.returning(pool, shared, rules) if shared else set()
        if not (more := back | (edge.borders - found)):
            return found
        found |= more
