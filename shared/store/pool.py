"""Pools of connections: opened with patience for a server that is not up yet, and read from as of one moment."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import asyncpg
import psycopg

from shared.telemetry import logger

RETRY_S = 0.5
COMMAND_TIMEOUT_S = 30.0  # a statement that takes longer is stuck, not slow
# A process that was paused in the middle of a transaction must not keep its locks from the one that takes over.
IDLE_IN_TRANSACTION_MS = 5_000
# The server notices a client that was cut off: 10 s of silence, then three questions 5 s apart. Locks don't wait for hours.
KEEPALIVES = {"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"}
MIN_CONNECTIONS = 1
MAX_CONNECTIONS = 8

# A server that is down, starting, or shutting down, or whose tables have got other columns since a statement was prepared (the driver
# prepares it anew): try again.
DOWN = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # the driver's state after its connection broke in the middle of an operation
    asyncpg.InvalidCachedStatementError,
    asyncio.TimeoutError,
)
STORE_ERRORS = (*DOWN, asyncpg.PostgresError)  # also those after which a transaction can't go on

log = logger("store")


def cannot_be_stored(error: Exception) -> bool:
    """A text that somebody sent has a character that PostgreSQL takes in none: U+0000."""
    return isinstance(error, asyncpg.CharacterNotInRepertoireError) or (
        isinstance(error, psycopg.DataError) and "NUL" in str(error)
    )


async def _nothing_to_reset(connection: Any) -> None:
    """We leave no setting, lock, cursor or listener in a session, so its return to the pool needs no round trip.

    An open transaction is rolled back by the driver all the same.
    """


async def open_pool(
    url: str, search_path: str, command_timeout_s: float = COMMAND_TIMEOUT_S, most: int = MAX_CONNECTIONS, *, waits: bool = True
) -> Any:
    """An asyncpg pool whose connections see the tables of `search_path` first.

    A statement without a limit of its own ends with TimeoutError after `command_timeout_s`; None as its limit means this one. One that
    doesn't wait for its server connects when it is asked.
    """
    waited = False
    while True:
        try:
            return await asyncpg.create_pool(
                url,
                min_size=MIN_CONNECTIONS if waits else 0,
                max_size=most,
                command_timeout=command_timeout_s,
                reset=_nothing_to_reset,
                server_settings={
                    **KEEPALIVES,
                    "search_path": search_path,
                    "application_name": f"c360 {search_path}",
                    "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_MS),
                },
            )
        except DOWN as error:
            if not waited:
                log.warning("waiting for postgres", error=type(error).__name__)
                waited = True
            await asyncio.sleep(RETRY_S)


_is_short: ContextVar[bool] = ContextVar("is_short", default=False)


@asynccontextmanager
async def short_transaction(pool: Any) -> AsyncIterator[Any]:
    """A connection in a transaction that others wait for: nothing that takes long may be done in it (`not_in_a_short_transaction`)."""
    token = _is_short.set(True)
    try:
        async with pool.acquire() as connection, connection.transaction():
            yield connection
    finally:
        _is_short.reset(token)


def not_in_a_short_transaction() -> None:
    """For whatever takes as long as a customer has events."""
    assert not _is_short.get(), "others wait for this transaction: what takes long comes before it"


@asynccontextmanager
async def snapshot(pool: Any) -> AsyncIterator[Any]:
    """A connection that reads all as it was at one moment, and writes nothing; writers go on meanwhile."""
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        yield connection
