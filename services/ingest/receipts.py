"""Table `receipts`: which customer each event went to, or that it was refused, and in which unit of CUSTOMER; filled by following it.

An event's id is a hash of its source and message id, and a customer's id is random, so nothing here is personal and nothing
is purged when a customer is erased: without its receipt an event that is sent again would be told to be new.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec

from shared.sieve import POSITIONS
from shared.store.generations import Generations

NOBODY: Final = b""


class Applied(msgspec.Struct, frozen=True, array_like=True):
    """`unit` is a number of CUSTOMER. `customer` is NOBODY when the event was refused."""

    event_id: bytes
    customer: bytes
    unit: int


class Head(msgspec.Struct, frozen=True):
    """Stream sequences: of CUSTOMER that the receipts include, and of INGEST that identity had consumed by then.

    `receipts` is how many events there were up to there: it tells their generation, the same for every replica.
    """

    customer: int
    ingest: int
    receipts: int


class Receipts:
    def __init__(self, pool: Any, positions: int = POSITIONS) -> None:
        self._pool = pool
        self._generations = Generations(pool, "receipts", "event_id", positions)

    async def load(self) -> None:
        await self._generations.load()

    async def head(self) -> Head:
        return Head(*await self._pool.fetchrow("SELECT customer, ingest, receipts FROM customer_head"))

    async def apply(self, units: Sequence[Sequence[Applied]], before: Head, customer: int, ingest: int) -> Head:
        """One transaction, with the head that it returns. What another replica has applied is left as it is."""
        placed, after = self._place(units, before, customer, ingest)
        finished = range(before.receipts // self._generations.size, after.receipts // self._generations.size)
        async with self._pool.acquire() as connection, connection.transaction():
            moved = await connection.fetchval(
                """UPDATE customer_head SET customer = $1, ingest = greatest(ingest, $2), receipts = $3
                   WHERE customer < $1 RETURNING true""",
                after.customer,
                after.ingest,
                after.receipts,
            )
            if moved and placed:
                await _insert(connection, placed)
            for generation in finished if moved else ():
                await self._generations.finish(connection, generation)
        return after

    def _place(
        self, units: Sequence[Sequence[Applied]], before: Head, customer: int, ingest: int
    ) -> tuple[list[tuple[int, Applied]], Head]:
        """A unit belongs to one generation as a whole: that in which it begins."""
        placed: list[tuple[int, Applied]] = []
        count = before.receipts
        for unit in units:
            generation = count // self._generations.size
            self._generations.add(generation, [applied.event_id for applied in unit])
            placed += [(generation, applied) for applied in unit]
            count += len(unit)
        return placed, Head(customer, ingest, count)

    def may_know(self, event_ids: Collection[bytes]) -> list[bytes]:
        """Without asking the database: those that may have a receipt. The others have none."""
        return [event_id for _, event_id in self._generations.possible(event_ids)]

    async def known(self, event_ids: Collection[bytes]) -> set[bytes]:
        return await self._generations.known(event_ids)

    async def find(self, event_id: bytes) -> Applied | None:
        for generation, _ in self._generations.possible([event_id]):
            row = await self._pool.fetchrow(
                "SELECT event_id, customer, unit FROM receipts WHERE generation = $1 AND event_id = $2", generation, event_id
            )
            if row:
                return Applied(*row)
        return None


async def _insert(connection: Any, placed: Sequence[tuple[int, Applied]]) -> None:
    await connection.execute(
        """INSERT INTO receipts (generation, event_id, customer, unit)
           SELECT * FROM unnest($1::int4[], $2::bytea[], $3::bytea[], $4::int8[]) ON CONFLICT DO NOTHING""",
        [generation for generation, _ in placed],
        [applied.event_id for _, applied in placed],
        [applied.customer for _, applied in placed],
        [applied.unit for _, applied in placed],
    )
