"""What people decide, or take back, of what hangs together with too much for a turn is looked at beside the writer, as what waits is (`settling`).

Events that touch it meanwhile wait. Where something else did, such as an erasure, it is looked at anew; after some looks in vain, in a turn.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from services.identity.domain.decision import Made
from services.identity.domain.flight import Flight
from services.identity.drafting import Drafting
from services.identity.graph.region import Looked, concluded, look
from services.identity.graph_writer import Change, GraphWriter
from services.identity.ledger import Ledger
from services.identity.tables import placing, regions
from services.identity.tables.bounds import PAGE_UNSETTLED
from services.identity.tables.regions import Loaded
from shared.ids import NewId
from shared.store.pool import snapshot

MOST_IN_VAIN: Final = 3  # looks one after another; then others wait for it


@dataclass(frozen=True, slots=True)
class Begun:
    """What a request comes to, if nothing answers it: a change, and what is said when it is made."""

    change: Change
    made: Callable[[], Awaitable[Made]]


Begin = Callable[[], Awaitable[Begun | Made]]  # in a turn: checks a request, or answers what was made before


class Beside:
    def __init__(self, pool: Any, ledger: Ledger, graph: GraphWriter, new_id: NewId) -> None:
        self._pool = pool
        self._ledger = ledger
        self._graph = graph
        self._new_id = new_id

    async def carry_out(self, begin: Begin) -> Made:
        """Answers when it is in the log. `begin` is called anew whenever others may have come in between."""
        small = self._graph.bound(2, frozenset(), PAGE_UNSETTLED)
        async with self._ledger.turn():
            begun = await begin()
            if isinstance(begun, Made):
                return begun
            if await self._graph.change(begun.change, small):
                return await begun.made()
        async with self._graph.beside:
            try:
                for _ in range(MOST_IN_VAIN):
                    if (made := await self._attempt(begin)) is not None:
                        return made
            finally:
                self._graph.flight = None
        async with self._ledger.turn():
            begun = await begin()
            if isinstance(begun, Made):
                return begun
            await self._graph.change(begun.change, None)
            return await begun.made()

    async def _attempt(self, begin: Begin) -> Made | None:
        """None: something came in between."""
        async with self._ledger.turn():
            begun = await begin()
            if isinstance(begun, Made):
                return begun
            self._graph.flight = flight = Flight(frozenset(begun.change.touched))
            rules = self._graph.rules
        async with snapshot(self._pool) as connection:
            loaded = await regions.load(connection, begun.change.touched, 0, rules)
        flight.hashes |= {node.value_hash for node in loaded.region.component_of}
        looked = await asyncio.to_thread(self._look, begun.change, loaded)
        async with self._ledger.turn():
            if isinstance(again := await begin(), Made):
                return again
            if flight.holds(()) and rules == self._graph.rules and await self._write(flight, begun.change, loaded, looked):
                return await begun.made()
        return None

    def _look(self, change: Change, loaded: Loaded) -> Looked:
        change.amend(loaded)
        return look(loaded.region, [], self._graph.rules, self._new_id)

    async def _write(self, flight: Flight, change: Change, loaded: Loaded, looked: Looked) -> bool:
        """Whether nothing touched what follows from it."""
        region, rules, drafting = loaded.region, self._graph.rules, Drafting()
        if not await placing.catch_up(self._pool, loaded, flight.founded & flight.hashes):
            return False
        region.known.next_founding_number = self._ledger.next_founding_number
        for entry in await change.told(loaded):
            drafting.take(loaded.versions, entry)
        settled = await asyncio.to_thread(concluded, region, looked, rules, self._new_id)
        if not flight.holds({node.value_hash for node in settled.nodes}):
            return False
        loaded.unsettled = [value_hash for value_hash in loaded.unsettled if value_hash not in flight.left]
        await self._graph.write_change(change, loaded, settled, drafting)
        return True
