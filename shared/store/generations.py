"""A table of ids that is never trimmed and costs the same however large it is.

Ids are hashes, so an index over them alone is written and read all over: at ten million, half a page of write-ahead log an
id. Here the key begins with a generation, a million ids or so that came one after the other: new ids go to the newest
generation's pages, which fit in the cache, and nothing is ever written to older ones. Which generations to look into, nearly
always none, the sieve in memory tells. Of every finished block of generations its sieve is kept in a table of its own, so
that a start reads that and the rows of the unfinished generation (decision 26).
"""

from collections.abc import Collection
from typing import Any, Final

from shared.sieve import BITS_AN_ID, POSITIONS, Sieve, first_of, place_of

READ_TIMEOUT_S: Final = 120.0  # a million ids or a block
ID_BYTES: Final = 16

# `generations`: how many of the block's generations, from its first on, are in it completely.
TABLE: Final = """
CREATE TABLE {table}_sieve (
    block       int4  PRIMARY KEY,
    generations int4  NOT NULL,
    positions   bytea STORAGE EXTERNAL NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON {table}_sieve TO {role};
"""


class Generations:
    """Over `table` with the primary key (generation, `column`). `size` is how many ids fill a generation, or a few more;
    `positions` of the sieve follow from it."""

    def __init__(self, pool: Any, table: str, column: str, positions: int = POSITIONS) -> None:
        self._pool = pool
        self._table = table
        self._column = column
        self._sieve = Sieve(positions)
        self._loaded = 0  # generations, completely
        self.size = positions // BITS_AN_ID
        self.newest = 0
        self.held = 0  # ids in the newest generation, when it was loaded

    async def load(self) -> None:
        """Reads what was added since it was loaded last, by whomever."""
        if not self._loaded:
            for row in await self._pool.fetch(f"SELECT block, generations FROM {self._table}_sieve ORDER BY block"):  # noqa: S608
                await self._load_block(row["block"], row["generations"])
        newest = await self._pool.fetchval(f"SELECT max(generation) FROM {self._table}")  # noqa: S608
        self.newest = newest or 0
        for generation in range(self._loaded, self.newest + 1):
            ids = await self._pool.fetchval(
                f"SELECT coalesce(string_agg({self._column}, ''::bytea), '') FROM {self._table} WHERE generation = $1",  # noqa: S608
                generation,
                timeout=READ_TIMEOUT_S,
            )
            self._sieve.add_joined(generation, ids)
            self.held = len(ids) // ID_BYTES
        self._loaded = self.newest

    def add(self, generation: int, ids: Collection[bytes]) -> None:
        """Before their rows are committed: one that is looked for in vain does no harm, one that isn't looked for would."""
        self._sieve.add(generation, ids)

    def possible(self, ids: Collection[bytes]) -> list[tuple[int, bytes]]:
        return self._sieve.possible(ids)

    async def known(self, ids: Collection[bytes]) -> set[bytes]:
        """Those of the ids that the table has."""
        possible = self._sieve.possible(ids)
        if not possible:
            return set()
        # A subquery of its own is a look-up in the index for each; a join may become one that reads the whole table.
        rows = await self._pool.fetch(
            f"""SELECT id FROM unnest($1::int4[], $2::bytea[]) AS asked (generation, id)
                WHERE (SELECT true FROM {self._table} AS held
                       WHERE held.generation = asked.generation AND held.{self._column} = asked.id)""",  # noqa: S608
            [generation for generation, _ in possible],
            [identity for _, identity in possible],
        )
        return {row["id"] for row in rows}

    async def finish(self, connection: Any, generation: int) -> None:
        """Part of the transaction that begins the next one."""
        number, place = place_of(generation)
        await connection.execute(
            f"""INSERT INTO {self._table}_sieve (block, generations, positions) VALUES ($1, $2, $3)
                ON CONFLICT (block) DO UPDATE SET generations = excluded.generations, positions = excluded.positions
                WHERE {self._table}_sieve.generations < excluded.generations""",  # noqa: S608
            number,
            place + 1,
            self._sieve.block(number),
        )

    async def _load_block(self, number: int, generations: int) -> None:
        positions = await self._pool.fetchval(
            f"SELECT positions FROM {self._table}_sieve WHERE block = $1",  # noqa: S608
            number,
            timeout=READ_TIMEOUT_S,
        )
        self._sieve.put_block(number, positions)
        self._loaded = first_of(number) + generations
