"""Taking partitions over from a writer that may still hold their heads.

A transaction that idles ends by itself (`shared/store/pool.py`). One that waits for its client inside a COPY doesn't: neither
idle_in_transaction_session_timeout nor statement_timeout nor transaction_timeout ends it while its client is paused or cut off.
Whoever takes over ends it: the new owner is decided, and what the old one hasn't committed is lost to it anyway.
"""

import asyncio
from typing import Any

from shared.telemetry import logger
from shared.waiting import end

PATIENCE_S = 6.0  # for what still commits; longer than a transaction may idle (IDLE_IN_TRANSACTION_MS)

log = logger("takeover")


TAKEN = "UPDATE partition_heads SET owner_epoch = owner_epoch + 1 WHERE partition = ANY($1::int4[]) RETURNING *"
LOCKED = "SELECT * FROM partition_heads WHERE partition = ANY($1::int4[]) FOR UPDATE"


async def take_over(pool: Any, partitions: list[int]) -> list[Any]:
    """The rows of the heads, with an owner epoch of our own. Ends the sessions that keep them from us for PATIENCE_S."""
    async with pool.acquire() as connection:
        return await _patiently(pool, connection, TAKEN, partitions)


async def lock(pool: Any, connection: Any, partitions: list[int]) -> list[Any]:
    """The rows of the heads, which nobody else moves until the connection's transaction ends. Ends sessions as `take_over` does."""
    return await _patiently(pool, connection, LOCKED, partitions)


async def _patiently(pool: Any, connection: Any, statement: str, partitions: list[int]) -> list[Any]:
    taking = asyncio.create_task(connection.fetch(statement, partitions))
    try:
        while not (await asyncio.wait({taking}, timeout=PATIENCE_S))[0]:
            await _end_holders(pool, connection.get_server_pid())
        rows: list[Any] = taking.result()
        return rows
    finally:
        await end([taking])


async def _end_holders(pool: Any, waiting_pid: int) -> None:
    """They have the same role, so we may. One that waits before us is ended too and asks again."""
    ended = await pool.fetch("SELECT pg_terminate_backend(pid) FROM unnest(pg_blocking_pids($1)) AS holder (pid)", waiting_pid)
    if ended:
        log.warning("ended the session of a writer that kept its partitions without writing", sessions=len(ended))
