"""The identity log and its outbox, written by one at a time: events are unified and customers erased in turns."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from services.identity.graph.rules import Rules
from services.identity.tables import modelbook, rulebook, views
from services.identity.tables.modelbook import ModelActivation
from services.identity.tables.outbox import Outbox
from services.identity.tables.resting import Resting
from services.identity.tables.rulebook import Activation
from services.identity.tables.seen import SeenMessages
from shared.errors import Fenced
from shared.events.catalogue import Entry
from shared.events.wire import INGEST_STREAM
from shared.instants import Clock
from shared.log import LogReader, LogWriter, Record
from shared.log.turns import Turns
from shared.log.writer import Versioned
from shared.parked import ParkedTable
from shared.poison import POISON_RUN_LIMIT, Run
from shared.positions import Progress
from shared.waiting import wait_for_news

IDENTITY_PARTITION: Final = rulebook.PARTITION
OWNER_LOOK_S: Final = 1.0  # how often who writes nothing looks whether the log is still its own
Views = Callable[[Any, list[Record]], Awaitable[None]]
Also = Callable[[Any], Awaitable[None]]  # what else is part of a transaction


class Ledger:
    """Whatever is read and written here belongs into a `turn` (`shared.log.turns`). What is in memory follows the log: it is
    loaded from it, and changes by what is committed, here and nowhere else.
    """

    def __init__(
        self,
        pool: Any,
        writer: LogWriter,
        outbox: Outbox,
        parked: ParkedTable,
        progress: Progress,
        clock: Clock,
        poison_run_limit: int = POISON_RUN_LIMIT,
    ) -> None:
        self.reader = LogReader(pool)
        self.parked = parked
        self.seen = SeenMessages(pool)
        self.resting = Resting(pool)
        self.run = Run(poison_run_limit)
        self._next_founding_number = 0
        self._activation = rulebook.SHIPPED
        self._model = modelbook.shipped()
        self._listeners: list[Callable[[], None]] = []
        self._pool = pool
        self._writer = writer
        self._outbox = outbox
        self._progress = progress
        self._clock = clock
        self._turns = Turns(self._load)
        self.turn = self._turns.turn
        self._claimed = self._loaded = False

    def tell_of_units(self, listener: Callable[[], None]) -> None:
        """`listener` is called whenever a unit is committed."""
        self._listeners.append(listener)

    @property
    def activation(self) -> Activation:
        """Of the rules in force."""
        return self._activation

    @property
    def rules(self) -> Rules:
        """Those in force."""
        return self._activation.rules

    async def rules_by_the_log(self) -> Rules:
        """Those in force, also where another process owns the log."""
        return self.rules if self._loaded else (await rulebook.known_at(self.reader)).rules

    @property
    def model(self) -> ModelActivation:
        """That is in force."""
        return self._model

    @property
    def next_founding_number(self) -> int:
        return self._next_founding_number

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
        next_founding_number: int = 0,
        statements: Sequence[bytes] = (),
    ) -> list[Record]:
        """Appends what is identity's own, hands `entries`, sealed `statements` and the ids of what was `refused` over as a unit, and
        moves the consumed position, as one. Customers were founded up to, and without, `next_founding_number`.

        Nothing is handed over when there are neither entries nor a position.
        """
        position = self.consumed if consumed is None else consumed
        hands_over = bool(entries) or consumed is not None
        units = self._outbox.messages(entries, {INGEST_STREAM: position}, refused, statements) if hands_over else []

        async def write(connection: Any, records: list[Record]) -> None:
            if write_views is not None:
                await write_views(connection, records)
            if units:
                await self._outbox.put(connection, units, self._clock())

        records = await self._writer.append(own, {INGEST_STREAM: position}, write)
        self._activation = rulebook.behind(self._activation, records)
        self._model = modelbook.behind(self._model, records)
        self._next_founding_number = max(self._next_founding_number, next_founding_number)
        if units:
            self._outbox.committed(units)
            self._progress.advance("ingest", position)
            self._progress.advance("customer", self._outbox.next_number - 1)
            for listener in self._listeners:
                listener()
        return records

    async def until_fenced(self) -> None:
        """Raises Fenced soon after another process has taken the log over, also while nothing is to be written: whoever lived
        on would refuse what only it is asked for."""
        while not await wait_for_news(self._turns.fenced, OWNER_LOOK_S):
            async with self.turn():
                await self._check_owner()
        raise Fenced("another writer has taken over identity's log")

    async def _check_owner(self) -> None:
        if not await self._writer.owns():
            raise Fenced("another writer has taken over identity's log")

    async def _load(self) -> None:
        if self._claimed:  # anew, after a turn that failed: never from who took it over since then
            await self._check_owner()
        self._claimed = False  # where the claim's answer is lost
        await self._writer.claim()
        self._claimed = True
        await self._outbox.load()
        await self.seen.load()
        await self.resting.load()
        self._activation = await rulebook.known_at(self.reader)
        self._model = await modelbook.in_force(self.reader)
        self._next_founding_number = await views.next_founding_number(self._pool)
        self.run.length = await self.parked.trailing_run(INGEST_STREAM, self.consumed)
        self._loaded = True
        self._progress.advance("ingest", self.consumed)
        self._progress.advance("customer", self._outbox.next_number - 1)
