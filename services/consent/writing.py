"""The consent log's one writer: commands are carried out one after another, and answered when every reader goes by them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from services.consent import views
from services.consent.domain.ledger import Instant, check_past
from services.consent.views import E, Placed
from shared.bus.enforcement import Roll
from shared.errors import DeadlineExceeded
from shared.events.catalogue import Entry
from shared.events.wire import Unit, encode
from shared.instants import END_OF_TIME, Clock
from shared.log import LogReader, LogWriter, Record
from shared.log.writer import Versioned
from shared.positions import Progress
from shared.telemetry import EVENTS_APPLIED

CONSENT_PARTITION = 0


async def nothing_asked() -> None:
    """There is no other process."""


class ConsentLog:
    def __init__(self, pool: Any, writer: LogWriter, roll: Roll, progress: Progress, clock: Clock) -> None:
        self._reader = LogReader(pool)
        self._writer = writer
        self._roll = roll
        self._progress = progress
        self._clock = clock
        self._turns = asyncio.Lock()
        self._owns = False
        self.on_committed: Callable[[], None] = lambda: None
        self.settle: Callable[[int], Awaitable[int]] = writer.settle  # of who stands by: what the owner promises
        self.may_claim: Callable[[], Awaitable[None]] = nothing_asked

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[int]:
        """The turn to write, and the instant it is: later than all that is recorded, even if our clock was set back."""
        async with self._turns:
            if not self._owns:
                await self._claim()
            yield max(self._clock(), self._writer.heads[CONSENT_PARTITION].last_recorded_at + 1)

    async def append(self, event: E, entry: Entry) -> Placed[E]:
        """Within a turn."""
        [record] = await self.append_all([entry])
        return Placed(event, record.pos, record.recorded_at)

    async def append_all(self, entries: Sequence[Entry]) -> list[Record]:
        """Within a turn: all of them or none."""
        # Whatever goes wrong, or when the caller goes away meanwhile: the next turn reads anew where the log stands.
        self._owns = False
        versions = await self._reader.versions(CONSENT_PARTITION, list({entry.stream for entry in entries}))
        versioned = []
        for entry in entries:
            versions[entry.stream] = versions.get(entry.stream, 0) + 1
            versioned.append(Versioned(CONSENT_PARTITION, versions[entry.stream], entry))
        records = await self._writer.append(versioned, {}, views.apply)
        self._owns = True
        self._committed()
        EVENTS_APPLIED.labels("consent").inc(len(records))
        return records

    async def enforced(self, position: int, until: float, facts: dict[str, str]) -> int:
        """How many live readers go by it. Raises DeadlineExceeded (NOT_YET_ENFORCED)."""
        try:
            async with asyncio.timeout_at(until):
                return await self._roll.enforced(position)
        except TimeoutError:
            raise DeadlineExceeded(
                "recorded, but not yet acknowledged by every reader; repeat the same request_id", reason="NOT_YET_ENFORCED", **facts
            ) from None

    async def settled(self, instant: Instant) -> Instant:
        """What is known by then stays the same. Raises InvalidInput (INSTANT_IN_FUTURE)."""
        check_past(instant, self._clock())
        if instant.known_at == END_OF_TIME:
            return instant
        return Instant(instant.valid_at, await self.settle(instant.known_at))

    def at(self, instant: Instant) -> int:
        """When what is valid at an instant is judged: now, unless it is past."""
        return min(instant.valid_at, self._clock())

    async def read_outbox(self, first: int, limit: int) -> list[tuple[int, bytes]]:
        """The log is the outbox: one message an event, numbered by its position."""
        records = await self._reader.partition(CONSENT_PARTITION, first, limit)
        return [(record.pos, encode(Unit(record.pos, {}, [record.entry], recorded_at=record.recorded_at))) for record in records]

    async def _claim(self) -> None:
        """Takes the log over, also from one that fenced us (decision 7), as long as the log's lease is ours; from here on no reader
        gets a lease that lacks what its last owner may have answered. Raises what `may_claim` does.
        """
        await self.may_claim()
        before = self._writer.heads.get(CONSENT_PARTITION)
        after = (await self._writer.claim())[CONSENT_PARTITION]
        self._committed()
        await self._roll.open(self._last_position(), settled=before is not None and after.owner_epoch == before.owner_epoch + 1)
        self._owns = True

    def _committed(self) -> None:
        self._progress.advance("consent", self._last_position())
        self.on_committed()

    def _last_position(self) -> int:
        return self._writer.heads[CONSENT_PARTITION].next_pos - 1
