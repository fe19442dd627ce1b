"""Table `identifiers`: which customer's stream an identifier was linked to."""

from collections.abc import Collection, Mapping, Set
from typing import Any

from shared.ids import partition_of


class Identifiers:
    """Table `identifiers`: which customer's stream an identifier was linked to."""

    def __init__(self, pool: Any, partitions: int) -> None:
        self._pool = pool
        self._partitions = partitions

    async def customer_of(self, value_hash: bytes) -> bytes | None:
        bucket = partition_of(value_hash, self._partitions)
        customer: bytes | None = await self._pool.fetchval(
            "SELECT customer FROM identifiers WHERE bucket = $1 AND value_hash = $2", bucket, value_hash
        )
        return customer

    async def customers_of(self, hashes: Collection[bytes]) -> dict[bytes, bytes]:
        """{identifier hash: customer}; hashes that nobody has are absent."""
        rows = await self._pool.fetch(
            """SELECT value_hash, customer FROM unnest($1::int4[], $2::bytea[]) AS wanted (b, h)
               JOIN identifiers ON bucket = b AND value_hash = h""",
            [partition_of(value_hash, self._partitions) for value_hash in hashes],
            list(hashes),
        )
        return {row["value_hash"]: row["customer"] for row in rows}

    async def apply(self, connection: Any, links: Mapping[bytes, bytes], unlinked: Set[tuple[bytes, bytes]]) -> None:
        """{identifier hash: customer} and (identifier hash, customer); what is unlinked from one may be linked to another."""
        if unlinked:
            await connection.execute(
                """DELETE FROM identifiers USING unnest($1::int4[], $2::bytea[], $3::bytea[]) AS gone (b, h, c)
                   WHERE bucket = b AND value_hash = h AND customer = c""",
                [partition_of(value_hash, self._partitions) for value_hash, _ in unlinked],
                [value_hash for value_hash, _ in unlinked],
                [customer for _, customer in unlinked],
            )
        if links:
            await connection.execute(
                """INSERT INTO identifiers (bucket, value_hash, customer) SELECT * FROM unnest($1::int4[], $2::bytea[], $3::bytea[])
                   ON CONFLICT (bucket, value_hash) DO UPDATE SET customer = excluded.customer""",
                [partition_of(value_hash, self._partitions) for value_hash in links],
                list(links),
                list(links.values()),
            )
