"""The identity log and its outbox, written by one at a time: events are unified and customers erased in turns."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from services.identity import views
from services.identity.outbox import Outbox
from services.identity.seen import SeenMessages
from shared.errors import Fenced
from shared.events.catalogue import Entry
from shared.events.wire import INGEST_STREAM
from shared.instants import Clock
from shared.log import LogReader, LogWriter, Record
from shared.log.writer import Versioned
from shared.parked import ParkedTable
from shared.poison import Run
from shared.positions import Progress

IDENTITY_PARTITION = 0
Views = Callable[[Any, list[Record]], Awaitable[None]]
Also = Callable[[Any], Awaitable[None]]  # what else is part of a transaction


class Ledger:
    """Whatever goes wrong in a turn, the next one reads anew where the log stands. `on_committed` is told of every unit."""

    def __init__(self, pool: Any, writer: LogWriter, outbox: Outbox, parked: ParkedTable, progress: Progress, clock: Clock) -> None:
        self.reader = LogReader(pool)
        self.parked = parked
        self.seen = SeenMessages(pool)
        self.run = Run()
        self.next_founding_number = 0
        self.on_committed: Callable[[], None] = lambda: None
        self._pool = pool
        self._writer = writer
        self._outbox = outbox
        self._progress = progress
        self._clock = clock
        self._turns = asyncio.Lock()
        self._owns = False
        self._fenced = False

    @property
    def consumed(self) -> int:
        """The last sequence of INGEST whose effects are committed."""
        return self._writer.consumed(INGEST_STREAM)

    @property
    def next_unit(self) -> int:
        return self._outbox.next_number

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Raises Fenced when another process has taken over: this one may never write again."""
        async with self._turns:
            if self._fenced:
                raise Fenced("another writer has taken over identity")
            if not self._owns:
                await self._load()
            self._owns = False
            try:
                yield
            except Fenced:
                self._fenced = True
                raise
            self._owns = True

    async def commit(
        self, own: Sequence[Versioned], entries: Sequence[Entry], consumed: int | None = None, write_views: Views | None = None
    ) -> list[Record]:
        """Appends what is identity's own, hands `entries` over as a unit, and moves the consumed position, as one.

        Nothing is handed over when there are neither entries nor a position.
        """
        position = self.consumed if consumed is None else consumed
        hands_over = bool(entries) or consumed is not None
        units = self._outbox.messages(entries, {INGEST_STREAM: position}) if hands_over else []

        async def write(connection: Any, records: list[Record]) -> None:
            if write_views is not None:
                await write_views(connection, records)
            if units:
                await self._outbox.put(connection, units, self._clock())

        records = await self._writer.append(own, {INGEST_STREAM: position}, write)
        if units:
            self._outbox.committed(units)
            self._progress.advance("ingest", position)
            self._progress.advance("customer", self._outbox.next_number - 1)
            self.on_committed()
        return records

    async def _load(self) -> None:
        await self._writer.claim()
        await self._outbox.load()
        await self.seen.load()
        self.next_founding_number = await views.next_founding_number(self._pool)
        self.run.length = await self.parked.trailing_run(INGEST_STREAM, self.consumed)
        self._progress.advance("ingest", self.consumed)
        self._progress.advance("customer", self._outbox.next_number - 1)
        self._owns = True
