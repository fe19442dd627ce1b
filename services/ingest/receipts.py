"""Table `receipts`: which customer each event went to, and in which unit of CUSTOMER; filled by following it.

An event's id is a hash of its source and message id, and a customer's id is random, so nothing here is personal and nothing
is purged when a customer is erased: without its receipt an event that is sent again would be told to be new.
"""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec


class Applied(msgspec.Struct, frozen=True, array_like=True):
    """`unit` is a number of CUSTOMER."""

    event_id: bytes
    customer: bytes
    unit: int


class Position(msgspec.Struct, frozen=True):
    """Stream sequences: of CUSTOMER that the receipts include, and of INGEST that identity had consumed by then."""

    customer: int
    ingest: int


class Receipts:
    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def position(self) -> Position:
        row = await self._pool.fetchrow("SELECT customer, ingest FROM customer_head")
        return Position(row["customer"], row["ingest"])

    async def apply(self, receipts: Sequence[Applied], position: Position) -> None:
        """One transaction. What another replica has applied is left as it is."""
        async with self._pool.acquire() as connection, connection.transaction():
            moved = await connection.fetchval(
                """UPDATE customer_head SET customer = $1, ingest = greatest(ingest, $2) WHERE customer < $1 RETURNING true""",
                position.customer,
                position.ingest,
            )
            if not moved or not receipts:
                return
            await connection.execute(
                """INSERT INTO receipts (event_id, customer, unit) SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::int8[])
                   ON CONFLICT DO NOTHING""",
                [receipt.event_id for receipt in receipts],
                [receipt.customer for receipt in receipts],
                [receipt.unit for receipt in receipts],
            )

    async def known(self, event_ids: Collection[bytes]) -> set[bytes]:
        # A subquery of its own is a look-up in the index for each; a join may become one that reads the whole table.
        rows = await self._pool.fetch(
            """SELECT event_id FROM unnest($1::bytea[]) AS asked (event_id)
               WHERE (SELECT true FROM receipts WHERE receipts.event_id = asked.event_id)""",
            list(event_ids),
        )
        return {row["event_id"] for row in rows}

    async def find(self, event_id: bytes) -> Applied | None:
        row = await self._pool.fetchrow("SELECT event_id, customer, unit FROM receipts WHERE event_id = $1", event_id)
        return Applied(*row) if row else None
