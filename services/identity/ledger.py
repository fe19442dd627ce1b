"""The identity log and its outbox, written by one at a time: events are unified and customers erased in turns."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from services.identity.graph.rules import DEFAULT_RULES
from services.identity.tables import modelbook, rulebook, views
from services.identity.tables.modelbook import ModelActivation
from services.identity.tables.outbox import Outbox
from services.identity.tables.seen import SeenMessages
from shared.events.catalogue import Entry
from shared.events.wire import INGEST_STREAM
from shared.instants import Clock
from shared.log import LogReader, LogWriter, Record
from shared.log.turns import Turns
from shared.log.writer import Versioned
from shared.parked import ParkedTable
from shared.poison import Run
from shared.positions import Progress

IDENTITY_PARTITION: Final = rulebook.PARTITION
Views = Callable[[Any, list[Record]], Awaitable[None]]
Also = Callable[[Any], Awaitable[None]]  # what else is part of a transaction


class Ledger:
    """Whatever is read and written here belongs into a `turn` (`shared.log.turns`). `on_committed` is told of every unit."""

    def __init__(self, pool: Any, writer: LogWriter, outbox: Outbox, parked: ParkedTable, progress: Progress, clock: Clock) -> None:
        self.reader = LogReader(pool)
        self.parked = parked
        self.seen = SeenMessages(pool)
        self.run = Run()
        self.next_founding_number = 0
        self.rules = DEFAULT_RULES  # those in force
        self.model: ModelActivation = modelbook.shipped()  # that is in force
        self.on_committed: Callable[[], None] = lambda: None
        self._pool = pool
        self._writer = writer
        self._outbox = outbox
        self._progress = progress
        self._clock = clock
        self.turn = Turns(self._load).turn

    @property
    def consumed(self) -> int:
        """The last sequence of INGEST whose effects are committed."""
        return self._writer.consumed(INGEST_STREAM)

    @property
    def next_unit(self) -> int:
        return self._outbox.next_number

    @property
    def recording(self) -> int:
        """When what is being committed becomes known."""
        return self._writer.recording

    async def settle(self, known_at: int) -> int:
        """As `LogWriter.settle`: what is known by the instant that this gives stays the same."""
        return await self._writer.settle(known_at)

    async def commit(
        self,
        own: Sequence[Versioned],
        entries: Sequence[Entry],
        consumed: int | None = None,
        write_views: Views | None = None,
        refused: Sequence[bytes] = (),
    ) -> list[Record]:
        """Appends what is identity's own, hands `entries` and the ids of what was `refused` over as a unit, and moves the consumed
        position, as one.

        Nothing is handed over when there are neither entries nor a position.
        """
        position = self.consumed if consumed is None else consumed
        hands_over = bool(entries) or consumed is not None
        units = self._outbox.messages(entries, {INGEST_STREAM: position}, refused) if hands_over else []

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
        self.rules = (await rulebook.history(self.reader))[-1].rules
        self.model = (await modelbook.history(self.reader))[-1]
        self.next_founding_number = await views.next_founding_number(self._pool)
        self.run.length = await self.parked.trailing_run(INGEST_STREAM, self.consumed)
        self._progress.advance("ingest", self.consumed)
        self._progress.advance("customer", self._outbox.next_number - 1)
