"""Another edition of the views, made beside the one that is served and exchanged with it: schema `profile_next`, table `editions`.

The tables have the same names in both schemas, so whatever reads or writes a view does so in the other edition through a pool
whose search path begins with NEXT. The service's writer learns of an exchange by the heads it moves (`Head.edition`).
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from shared.ids import partition_of
from shared.store.pool import open_pool

NEXT = "profile_next, profile"  # search path: the views of the next edition, and all else as it is
VIEWS = (
    "states",
    "snapshots",
    "ordered",
    "identifiers",
    "former_links",
    "erased_identifiers",
)  # as `exchange_views` of the migration names them
STATEMENT_TIMEOUT_S = 3600.0  # emptying a large view may have to wait for a dump of the database
WATCH_S = 2.0
EXCHANGE_LOCK_MS = 200  # reads wait behind the exchange while it waits for one that takes long; then it lets them pass


# A writer or a reader of the views took longer than EXCHANGE_LOCK_MS: nothing is exchanged, try again.
Blocked = asyncpg.LockNotAvailableError


class Superseded(Exception):
    """Somebody else has begun to make the next edition."""


class Editions:
    """One maker: whoever began last. `number` is of the edition that is being made."""

    def __init__(self, pool: Any) -> None:
        self.pool = pool
        self.number = 0

    @classmethod
    async def open(cls, url: str) -> "Editions":
        return cls(await open_pool(url, NEXT, STATEMENT_TIMEOUT_S))

    async def begin(self) -> dict[int, int]:
        """Throws away what was half made; whoever was making it is superseded. {partition: next position} as of one moment."""
        async with self.pool.acquire() as connection, connection.transaction():
            self.number = await connection.fetchval("UPDATE editions SET made = made + 1 RETURNING made")
            await self._empty(connection)
        return await heads(self.pool)

    @asynccontextmanager
    async def page(self) -> AsyncIterator[Any]:
        """A connection in a transaction that writes to the next edition. Raises Superseded."""
        async with self.pool.acquire() as connection, connection.transaction():
            await self._require_maker(connection)
            yield connection

    @asynccontextmanager
    async def exchange(self) -> AsyncIterator[Any]:
        """As `page`, while the log stands still; at its end the next edition is served and the former one is gone.

        Raises Blocked: then nothing is exchanged.
        """
        async with self.page() as connection:
            # One that waits for longer than this is no deadlock of ours, which the server would resolve against either side.
            await connection.execute(f"SET LOCAL lock_timeout = {EXCHANGE_LOCK_MS}")
            await connection.execute("SELECT FROM partition_heads ORDER BY partition FOR UPDATE")
            yield connection
            await connection.execute("SELECT profile.exchange_views()")

    async def abandon(self) -> None:
        """Leaves nothing half made, unless somebody else is making it by now."""
        try:
            async with self.page() as connection:
                await self._empty(connection)
        except Superseded:
            return

    async def _require_maker(self, connection: Any) -> None:
        if await connection.fetchval("SELECT made FROM editions FOR SHARE") != self.number:
            raise Superseded("another rebuild has begun")

    async def _empty(self, connection: Any) -> None:
        await connection.execute(f"TRUNCATE {', '.join(f'profile_next.{view}' for view in VIEWS)}")


async def heads(connection: Any) -> dict[int, int]:
    """{partition: next position}, as of one moment."""
    return dict(await connection.fetch("SELECT partition, next_pos FROM partition_heads ORDER BY partition"))


async def watch(pool: Any, on_replaced: Callable[[], None]) -> None:
    """Never returns. The writer notices by itself, at its next unit; this is for readers while none comes."""
    query = "SELECT max(edition) FROM partition_heads"
    served = await pool.fetchval(query)
    while True:
        await asyncio.sleep(WATCH_S)
        if (now := await pool.fetchval(query)) != served:
            served = now
            on_replaced()


async def forget(pool: Any, streams: Sequence[bytes], partitions: int) -> None:
    """Part of an erasure: what an edition that was never finished keeps of these streams goes too."""
    for view in ("states", "snapshots", "ordered"):
        await pool.execute(
            f"""DELETE FROM profile_next.{view} AS held USING unnest($1::int4[], $2::bytea[]) AS gone (p, s)
                WHERE held.partition = p AND held.stream = s""",  # noqa: S608
            [partition_of(stream, partitions) for stream in streams],
            list(streams),
        )
    for view in ("identifiers", "former_links"):
        await pool.execute(f"DELETE FROM profile_next.{view} WHERE customer = ANY($1::bytea[])", list(streams))  # noqa: S608
