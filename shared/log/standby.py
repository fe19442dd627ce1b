"""Reads of a log from a streaming standby, never older than what this process has committed itself (decision 81).

A standby is behind its primary by some milliseconds, or by minutes. So each statement asks, on the connection that it uses, how far the
heads are there; a server never goes back, so what follows on that connection is at least as new. Where the standby is behind, away,
or takes a statement back because it must follow, the primary answers.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import asyncpg

from shared.log.placing import Head
from shared.store.pool import DOWN
from shared.telemetry import LOG_READS, logger

CONNECT_TIMEOUT_S: Final = 1.0
REST_S: Final = 5.0  # nobody waits for a standby that was away just now
HEADS: Final = "SELECT partition, next_pos FROM partition_heads WHERE partition = ANY($1::int4[])"
# Also what a standby does to a statement that keeps it from following for too long.
GIVES_UP: Final = (*DOWN, asyncpg.SerializationError, asyncpg.QueryCanceledError)

Committed = Callable[[], Mapping[int, int]]  # {partition: next position}

log = logger("standby")


class StandbyReads:
    """What `LogReader` asks of a pool. Whatever is read must be bounded by what `committed` tells, by an instant or by positions: of what
    is committed at this moment the one server may tell and the other not yet."""

    def __init__(self, primary: Any, standby: Any, committed: Committed, clock: Callable[[], float] = time.monotonic) -> None:
        self._primary = primary
        self._standby = standby
        self._committed = committed
        self._clock = clock
        self._rests_until = 0.0

    async def fetch(self, query: str, *arguments: Any, timeout: float | None = None) -> Any:
        return await self._ask("fetch", query, arguments, timeout)

    async def fetchrow(self, query: str, *arguments: Any, timeout: float | None = None) -> Any:
        return await self._ask("fetchrow", query, arguments, timeout)

    async def fetchval(self, query: str, *arguments: Any, timeout: float | None = None) -> Any:
        return await self._ask("fetchval", query, arguments, timeout)

    async def _ask(self, how: str, query: str, arguments: tuple[Any, ...], timeout_s: float | None) -> Any:
        if self._clock() >= self._rests_until:
            try:
                async with self._standby.acquire(timeout=CONNECT_TIMEOUT_S) as connection:
                    if await self._has_all(connection):
                        answer = await getattr(connection, how)(query, *arguments, timeout=timeout_s)
                        LOG_READS.labels("standby").inc()
                        return answer
            except GIVES_UP as error:
                self._rests_until = self._clock() + REST_S
                log.warning("read from the primary meanwhile", error=type(error).__name__)
        LOG_READS.labels("primary").inc()
        return await getattr(self._primary, how)(query, *arguments, timeout=timeout_s)

    async def _has_all(self, connection: Any) -> bool:
        if not (committed := self._committed()):
            return False
        found = {row["partition"]: row["next_pos"] for row in await connection.fetch(HEADS, list(committed))}
        return all(found.get(partition, -1) >= next_pos for partition, next_pos in committed.items())


def committed(heads: Mapping[int, Head]) -> dict[int, int]:
    """Of a writer."""
    return {partition: head.next_pos for partition, head in heads.items()}
