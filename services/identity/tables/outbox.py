"""The units that identity hands over, kept in its database for as long as their stream keeps them.

A unit is written in the transaction that made it, and published afterwards, so a crash between the two loses nothing. The
newest ones are also kept in memory, so that the relay need not read back what was just written.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import msgspec

from shared import tracing
from shared.bus.connection import STREAM_AGE_S
from shared.events.catalogue import Entry
from shared.events.wire import Unit, encode
from shared.instants import SECOND

MESSAGE_BYTES = 4 * 1024 * 1024  # half of what the broker takes
ENTRY_BYTES = 128  # of an entry besides its header and envelope, at the most
KEPT_BYTES = 16 * 1024 * 1024  # of the newest units in memory; the relay is rarely more than a few behind
READ_BYTES = 16 * 1024 * 1024  # of units read at once: none begins behind so many
TRIM_EVERY = 10_000  # units
TRACED = 1_000  # units whose traces are in memory until they are published


class Outbox:
    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._newest: OrderedDict[int, bytes] = OrderedDict()
        self._bytes = 0  # of these
        self._traces: OrderedDict[int, tracing.Traces] = OrderedDict()
        self.next_number = 0
        self._loaded = False

    async def load(self) -> None:
        newest = await self._pool.fetchval("SELECT max(number) FROM outbox")
        self.next_number = 0 if newest is None else newest + 1
        self._newest.clear()
        self._bytes = 0
        self._loaded = True

    def messages(
        self, entries: Sequence[Entry], consumed: dict[str, int], refused: Sequence[bytes] = (), statements: Sequence[bytes] = ()
    ) -> list[bytes]:
        """Units that a broker takes. Only the last one says what is consumed and refused: with it, all of them are known."""
        units = [Unit(self.next_number, {}, [])]
        size = 0
        items: list[Entry | bytes] = [*entries, *statements]
        for item in items:
            more = len(item) if isinstance(item, bytes) else len(item.header) + len(item.envelope) + ENTRY_BYTES
            size += more
            if size > MESSAGE_BYTES and (units[-1].entries or units[-1].statements):
                units.append(Unit(units[-1].number + 1, {}, []))
                size = more
            if isinstance(item, bytes):
                units[-1].statements.append(item)
            else:
                units[-1].entries.append(item)
        units[-1] = msgspec.structs.replace(units[-1], consumed=consumed, refused=list(refused))
        return [encode(unit) for unit in units]

    async def put(self, connection: Any, units: Sequence[bytes], now: int) -> None:
        numbered = [(self.next_number + n, unit, now) for n, unit in enumerate(units)]
        await connection.executemany("INSERT INTO outbox (number, unit, created_at) VALUES ($1, $2, $3)", numbered)
        if self.next_number % TRIM_EVERY == 0:  # the newest always stays: its number tells where the stream stands
            await connection.execute(
                "DELETE FROM outbox WHERE created_at < $1 AND number <= (SELECT consumed FROM matching)",
                now - STREAM_AGE_S * SECOND,
            )

    def committed(self, units: Sequence[bytes]) -> None:
        if traces := tracing.carried():
            self._traces |= {self.next_number + place: traces for place in range(len(units))}
            while len(self._traces) > TRACED:
                self._traces.popitem(last=False)
        for unit in units:
            self._newest[self.next_number] = unit
            self._bytes += len(unit)
            self.next_number += 1
        while self._bytes > KEPT_BYTES:
            _, oldest = self._newest.popitem(last=False)
            self._bytes -= len(oldest)

    def traces_of(self, number: int) -> tracing.Traces:
        """Of the requests that a unit goes back to, once."""
        return self._traces.pop(number, ())

    async def knows(self, number: int) -> bool:
        """By the table: who has lost the log meanwhile has not what its new owner hands over in memory."""
        return bool(await self._pool.fetchval("SELECT EXISTS (SELECT FROM outbox WHERE number = $1)", number))

    async def read(self, first: int, limit: int) -> list[tuple[int, bytes]]:
        """Consecutive units; of many large ones fewer than `limit`."""
        if first in self._newest:
            last = min(first + limit, self.next_number)
            return [(number, self._newest[number]) for number in range(first, last)]
        if self._loaded and first >= self.next_number:
            return []
        rows = await self._pool.fetch(
            """SELECT number, unit FROM (
                   SELECT number, unit, sum(length(unit)) OVER (ORDER BY number) - length(unit) AS before
                   FROM (SELECT number, unit FROM outbox WHERE number >= $1 ORDER BY number LIMIT $2) AS page
               ) AS sized WHERE before < $3 ORDER BY number""",
            first,
            limit,
            READ_BYTES,
        )
        return [(row["number"], row["unit"]) for row in rows]
