"""Settles behind the events what hangs together with too much to be settled among them: many at once, while other events go on.

It is loaded and looked at beside the writer, as it was at one moment; whatever touches it meanwhile waits too. Only what follows
from that is concluded and written in a turn. Where something else came in between (a decision, an erasure), it is looked at anew; what
was looked at in vain for several times is settled in a turn, so that whoever comes in between often enough doesn't put it off for ever.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from services.identity.domain.flight import Flight
from services.identity.graph.region import Looked, Seen, concluded, look
from services.identity.graph_writer import GraphWriter
from services.identity.ledger import Ledger
from services.identity.tables import placing, regions, waiting
from services.identity.tables.regions import Loaded
from services.identity.tables.waiting import Waiting
from shared.identifiers import Identifier
from shared.ids import NewId
from shared.log import Record
from shared.store.pool import snapshot
from shared.telemetry import SIGHTINGS_WAITING
from shared.vault import Vault
from shared.waiting import wait_for_news

PAGE_WAITING: Final = 500  # sightings: what follows from so many is written in one transaction
MOST_IN_VAIN: Final = 3  # looks one after another; the next one is in a turn, and others wait for it
LOOK_S: Final = 30.0  # how often to look for what is left without being told
MOST_REST_S: Final = 5.0  # after what took long: it takes no more than half of a processor, and more is settled at once


class Settler:
    def __init__(self, pool: Any, ledger: Ledger, graph: GraphWriter, vault: Vault, new_id: NewId) -> None:
        self._pool = pool
        self._ledger = ledger
        self._graph = graph
        self._vault = vault
        self._new_id = new_id
        self._news = asyncio.Event()
        self._in_vain = 0  # looks, one after another

    def tell(self) -> None:
        self._news.set()

    async def run(self) -> None:
        """Never returns; raises when a server is down, to be started over from what is committed."""
        while True:
            self._news.clear()
            began = time.monotonic()
            while await self.step():
                SIGHTINGS_WAITING.set(await waiting.count_all(self._pool))
                await asyncio.sleep(min(time.monotonic() - began, MOST_REST_S))
                began = time.monotonic()
            SIGHTINGS_WAITING.set(0)
            await wait_for_news(self._news, LOOK_S)

    async def step(self) -> bool:
        """Settles what waits longest, and what erasures and matches left, a page of each; whether there was anything."""
        async with self._graph.beside:
            try:
                return await self._step()
            finally:
                self._graph.flight = None

    async def _step(self) -> bool:
        if self._in_vain < MOST_IN_VAIN:
            return await self._settle(self._ledger.turn)
        async with self._ledger.turn():
            return await self._settle(contextlib.nullcontext)

    async def _settle(self, turn: Callable[[], AbstractAsyncContextManager[object]]) -> bool:
        """`turn` is where it begins and where it is written."""
        if not await self._pool.fetchval("SELECT EXISTS (TABLE waiting_sightings) OR EXISTS (TABLE unsettled)"):
            self._in_vain = 0
            return False
        async with turn():  # else what is being committed would be in neither the snapshot nor the flight
            self._graph.flight = flight = Flight()
            rules = self._graph.rules
        self._in_vain += 1
        async with snapshot(self._pool) as connection:
            rows = await waiting.page(connection, PAGE_WAITING)
            seen = [row.seen(rules) for row in rows]
            touched = {node.value_hash for one in seen for node in one.nodes}
            loaded = await regions.load(connection, touched, 0, rules, again=seen)
        flight.hashes = _touched(loaded, seen)
        if not flight.holds(()):
            return True
        looked = await asyncio.to_thread(look, loaded.region, seen, rules, self._new_id)  # nobody else has this region
        async with turn():
            if flight.holds(()) and rules == self._graph.rules:
                await self._write(flight, loaded, looked, rows)
        return True

    async def _write(self, flight: Flight, loaded: Loaded, looked: Looked, rows: Sequence[Waiting]) -> None:
        rules, region = self._graph.rules, loaded.region
        if not await placing.catch_up(self._pool, loaded, flight.founded & flight.hashes):
            return
        region.known.next_founding_number = self._ledger.next_founding_number
        settled = await asyncio.to_thread(concluded, region, looked, rules, self._new_id)
        if not flight.holds({node.value_hash for node in settled.nodes}):
            return
        loaded.unsettled = [value_hash for value_hash in loaded.unsettled if value_hash not in flight.left]
        loaded.sources = {row.event_id: row.source for row in rows}
        drafting = await self._graph.draft(loaded, settled, {}, await self._values(rows))

        async def write_views(connection: Any, records: Sequence[Record]) -> None:
            await self._graph.save(connection, loaded, settled, drafting, records)
            await waiting.settled(connection, rows)

        number = region.known.next_founding_number
        await self._ledger.commit(drafting.own, drafting.entries, write_views=write_views, next_founding_number=number)
        self._in_vain = 0

    async def _values(self, rows: Sequence[Waiting]) -> dict[bytes, Identifier]:
        keys = await self._vault.keys({row.customer for row in rows})
        names = {value_hash: name for row in rows for value_hash, name in zip(row.value_hashes, row.namespaces, strict=True)}
        said = {value_hash: value for row in rows for value_hash, value in row.values(keys).items()}
        if unsaid := names.keys() - said.keys():  # whose event it was is erased
            others = await waiting.with_others(self._pool, unsaid)
            keys = await self._vault.keys({row.customer for row in others})
            said |= {value_hash: value for row in others for value_hash, value in row.values(keys).items() if value_hash in unsaid}
        return {value_hash: Identifier(names[value_hash], value) for value_hash, value in said.items()}


def _touched(loaded: Loaded, seen: Sequence[Seen]) -> frozenset[bytes]:
    """What has a component, or is to have one."""
    region = loaded.region
    new = {node for one in seen for node in one.nodes} - region.shared - region.facts.beyond
    return frozenset(node.value_hash for node in region.component_of.keys() | new)
