"""A log of one partition that is written often and an event at a time: a unit is one statement, so that it costs one round trip and no
transaction.

Its values are single ones, and what follows from the head reads the row that moved: with arrays and counts, as a unit of many
partitions needs them, the statement costs the server and us half as much again.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
import msgspec

from shared.errors import Fenced
from shared.instants import Clock
from shared.log.placing import NODE_COLUMNS, Placed
from shared.log.records import STORED_COLUMNS, Record, to_row
from shared.log.takeover import lock
from shared.log.writer import LogWriter, Views, to_heads

HEAD: Final = ("partition", "old_pos", "owner_epoch", "next_pos", "last_recorded_at", "merkle_frontier")
FIRST_OF_EVENT: Final = len(HEAD) + 1
FIRST_OF_VIEWS: Final = FIRST_OF_EVENT + len(STORED_COLUMNS)
EVENT_TYPES: Final = ("int4", "int8", "int8", "int8", "bytea", "bytea", "text", "int4", "int8", "bytea", "bytea", "bytea")
MOVED: Final = """
    moved AS (
        UPDATE partition_heads SET next_pos = $4, last_recorded_at = $5, merkle_frontier = $6
        WHERE partition = $1 AND next_pos = $2 AND owner_epoch = $3
        RETURNING edition
    )"""
WRITTEN: Final = f"""
    written AS (
        INSERT INTO events ({", ".join(STORED_COLUMNS)})
        SELECT {", ".join(f"${place}::{kind}" for place, kind in enumerate(EVENT_TYPES, FIRST_OF_EVENT))} FROM moved
    )"""  # noqa: S608
KEPT: Final = f"""
    kept AS (
        INSERT INTO merkle_nodes ({", ".join(NODE_COLUMNS)})
        SELECT $1, node.* FROM moved, unnest(${{}}::int4[], ${{}}::int8[], ${{}}::bytea[]) AS node
    )"""  # noqa: S608

Parameters = Callable[[Record], Sequence[Any]]


class AtOnce(LogWriter):
    """`views` are further parts of the statement, with `parameters` from FIRST_OF_VIEWS on; each writes only what it takes from `moved`,
    which is empty where the head has not moved.

    Several processes may write it: each from `locked`, and without as long as nobody else does. Nobody claims it, and nobody is fenced for good."""

    def __init__(self, pool: Any, partition: int, clock: Clock, views: Sequence[str], parameters: Parameters) -> None:
        super().__init__(pool, [partition], clock)
        self._views = views
        self._parameters = parameters
        self._connection: Any = None

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[bool]:
        """Whether the head stands where this process left it. Others who write wait until what is appended meanwhile is committed.

        Raises what the driver does: then nothing is known to be written."""
        connection, left = await self._held(), self.heads
        try:
            async with connection.transaction():
                self.heads = to_heads(await lock(self._pool, connection, self.partitions))
                yield self.heads == left
        except BaseException:
            await self._give_back()
            raise

    async def close(self) -> None:
        """Gives the connection back to the pool, which can't be closed before."""
        await self._idle.wait()
        await self._give_back()

    async def _commit(self, placed: Placed, views: Views | None) -> None:
        assert views is None, "they are part of the statement"
        [(partition, head)], [record], [leaf] = placed.heads.items(), placed.records, placed.leaves
        before = self.heads[partition]
        moved = (partition, before.next_pos, head.owner_epoch, head.next_pos, head.last_recorded_at, head.merkle_frontier)
        values = [*moved, *to_row(record, leaf), *self._parameters(record)]
        try:
            connection = await self._held()
            await self._check_versions(connection, placed.to_check(self._newest))
            edition = await connection.fetchval(*self._statement(values, placed))
        except BaseException:
            await self._give_back()
            raise
        if edition is None:
            raise Fenced("another writer has moved the head of this partition")
        placed.heads[partition] = msgspec.structs.replace(head, edition=edition)

    async def _held(self) -> Any:
        """To take one of the pool and give it back would take a fifth of what a unit costs us."""
        if not _is_open(self._connection):
            self._connection = await self._pool.acquire()
        return self._connection

    async def _give_back(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._pool.release(connection)

    def _statement(self, values: list[Any], placed: Placed) -> list[Any]:
        """With its values. Nodes of the tree are completed by one event in 256."""
        parts = [MOVED, WRITTEN, *self._views]
        if placed.nodes:
            first = len(values) + 1
            parts.append(KEPT.format(first, first + 1, first + 2))
            nodes = [node for _, node in placed.nodes]
            values = [*values, [node.height for node in nodes], [node.number for node in nodes], [node.hash for node in nodes]]
        return [f"WITH {', '.join(parts)} SELECT edition FROM moved", *values]  # noqa: S608


def _is_open(connection: Any) -> bool:
    try:
        return connection is not None and not connection.is_closed()
    except asyncpg.InterfaceError:  # its server went away, and the pool has taken it back by itself
        return False
