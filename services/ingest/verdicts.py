"""Table `verdicts`: which message ids were rejected, and why, and which came again, and how often; for receipts.

Words and counts only, no content. It is bounded by age and by number, and written behind the answers: a crash forgets what
the last second brought, and so does a flood that brings more than is kept waiting.
"""

import asyncio
from typing import Any, Final

import msgspec

from shared.instants import SECOND, Clock
from shared.store.pool import DOWN as STORE_DOWN
from shared.telemetry import logger

WRITE_EVERY_S: Final = 1.0
MAX_UNWRITTEN: Final = 20_000  # message ids
KEPT_S: Final = 7 * 24 * 3600
KEPT_ROWS: Final = 1_000_000  # about 200 MB
TRIM_EVERY_S: Final = 600.0
REJECTED: Final = "rejected"
DUPLICATE: Final = "duplicate"

TABLE: Final = """
CREATE TABLE verdicts (
    event_id bytea NOT NULL,
    status   text  NOT NULL,
    reason   text  NOT NULL,
    times    int8  NOT NULL,
    last_at  int8  NOT NULL,
    PRIMARY KEY (event_id, status)
);
CREATE INDEX verdicts_by_age ON verdicts (last_at);
GRANT SELECT, INSERT, UPDATE, DELETE ON verdicts TO c360_ingest;
"""

log = logger("verdicts")


class Remembered(msgspec.Struct):
    """`last_at` in microseconds."""

    reason: str
    times: int
    last_at: int


class Verdicts:
    def __init__(self, pool: Any, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock
        self._unwritten: dict[tuple[bytes, str], Remembered] = {}
        self._trimmed_at = 0

    def remember(self, event_id: bytes, status: str, reason: str = "") -> None:
        now, found = self._clock(), self._unwritten.get((event_id, status))
        if found is not None:
            found.reason, found.times, found.last_at = reason, found.times + 1, now
        elif len(self._unwritten) < MAX_UNWRITTEN:
            self._unwritten[event_id, status] = Remembered(reason, 1, now)

    async def of(self, event_id: bytes) -> dict[str, Remembered]:
        """By status."""
        await self.write()
        rows = await self._pool.fetch("SELECT status, reason, times, last_at FROM verdicts WHERE event_id = $1", event_id)
        return {row["status"]: Remembered(row["reason"], row["times"], row["last_at"]) for row in rows}

    async def run(self) -> None:
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            try:
                await self.write()
                await self._trim()
            except STORE_DOWN as error:
                log.warning("cannot write verdicts yet", error=type(error).__name__)

    async def write(self) -> None:
        """What a failure keeps from being written is forgotten."""
        if not self._unwritten:
            return
        written, self._unwritten = self._unwritten, {}
        rows = sorted(written.items())  # two replicas that write the same rows take their locks in the same order
        await self._pool.execute(
            """INSERT INTO verdicts (event_id, status, reason, times, last_at)
               SELECT * FROM unnest($1::bytea[], $2::text[], $3::text[], $4::int8[], $5::int8[])
               ON CONFLICT (event_id, status) DO UPDATE
               SET reason = excluded.reason, times = verdicts.times + excluded.times, last_at = excluded.last_at""",
            [event_id for (event_id, _), _ in rows],
            [status for (_, status), _ in rows],
            [remembered.reason for _, remembered in rows],
            [remembered.times for _, remembered in rows],
            [remembered.last_at for _, remembered in rows],
        )

    async def _trim(self) -> None:
        now = self._clock()
        if now - self._trimmed_at < TRIM_EVERY_S * SECOND:
            return
        self._trimmed_at = now
        await self._pool.execute(
            """DELETE FROM verdicts WHERE last_at < greatest(
                   $1, (SELECT last_at FROM verdicts ORDER BY last_at DESC OFFSET $2 LIMIT 1))""",
            now - KEPT_S * SECOND,
            KEPT_ROWS,
        )
