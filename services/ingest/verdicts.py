"""Table `verdicts`: which message ids were rejected, and why, and which came again, and how often; for receipts.

Words and counts only, no content. It is bounded by age and by number, and written behind the answers (`behind`): a flood that
brings more than is kept waiting is forgotten.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec

from services.ingest.behind import Behind
from shared.instants import SECOND, Clock

MAX_UNWRITTEN: Final = 20_000  # message ids
KEPT_S: Final = 7 * 24 * 3600
KEPT_ROWS: Final = 1_000_000  # about 200 MB
TRIM_EVERY_S: Final = 600.0
REJECTED: Final = "rejected"
DUPLICATE: Final = "duplicate"
PROCESSING_REFUSED: Final = "PROCESSING_REFUSED"  # why; not which of its identifiers, nor on what ground
DISCARDED: Final = "DISCARDED"  # why: by hand


class Remembered(msgspec.Struct, frozen=True):
    """`last_at` in microseconds."""

    reason: str
    times: int
    last_at: int


class Verdicts:
    def __init__(self, pool: Any, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock
        self._behind: Behind[tuple[bytes, str], Remembered] = Behind("verdicts", MAX_UNWRITTEN, _merged, self._save)
        self._trimmed_at = 0

    def remember(self, event_id: bytes, status: str, reason: str = "") -> None:
        key = event_id, status
        if self._behind.has_room(key):
            self._behind.add(key, Remembered(reason, 1, self._clock()))

    async def put(self, event_ids: Collection[bytes], status: str, reason: str) -> None:
        """Durable when this returns."""
        now = self._clock()
        await self._save({(event_id, status): Remembered(reason, 1, now) for event_id in event_ids})

    async def of(self, event_id: bytes) -> dict[str, Remembered]:
        """By status."""
        await self._behind.write()
        rows = await self._pool.fetch("SELECT status, reason, times, last_at FROM verdicts WHERE event_id = $1", event_id)
        return {row["status"]: Remembered(row["reason"], row["times"], row["last_at"]) for row in rows}

    async def run(self) -> None:
        """Never returns; raises when the database is down."""
        await self._behind.run(self._trim)

    async def _save(self, notes: Mapping[tuple[bytes, str], Remembered]) -> None:
        rows = sorted(notes.items(), key=lambda note: note[0])  # replicas that write the same rows lock them in the same order
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


def _merged(older: Remembered, newer: Remembered) -> Remembered:
    return Remembered(newer.reason, older.times + newer.times, max(older.last_at, newer.last_at))
