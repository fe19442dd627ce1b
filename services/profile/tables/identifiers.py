"""Tables `identifiers`: which customer's stream an identifier is linked to; `former_links`: the streams whose links of it were taken back.

Since when, and until when, is in those streams.
"""

from collections.abc import Collection, Mapping, Set
from typing import Any

from shared.ids import partition_of


class Identifiers:
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

    async def ever(self, value_hash: bytes) -> list[bytes]:
        """Customers whom an identifier names, or named once: the one of now first. Of an erased person's, only that one."""
        bucket = partition_of(value_hash, self._partitions)
        rows = await self._pool.fetch(
            """SELECT customer FROM (SELECT customer, 0 AS former FROM identifiers WHERE bucket = $1 AND value_hash = $2
                                     UNION ALL SELECT customer, 1 FROM former_links WHERE bucket = $1 AND value_hash = $2
                                     AND NOT EXISTS (SELECT FROM erased_identifiers WHERE bucket = $1 AND value_hash = $2)) AS links
               GROUP BY customer ORDER BY min(former), customer""",
            bucket,
            value_hash,
        )
        return [row["customer"] for row in rows]

    async def apply(self, connection: Any, links: Mapping[bytes, bytes], unlinked: Set[tuple[bytes, bytes]]) -> None:
        """{identifier hash: customer} and (identifier hash, customer); what is unlinked from one may be linked to another."""
        if unlinked:
            await connection.execute(
                """WITH gone AS (SELECT * FROM unnest($1::int4[], $2::bytea[], $3::bytea[]) AS gone (b, h, c)),
                   former AS (INSERT INTO former_links (bucket, value_hash, customer) SELECT * FROM gone ON CONFLICT DO NOTHING)
                   DELETE FROM identifiers USING gone WHERE bucket = b AND value_hash = h AND customer = c""",
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
