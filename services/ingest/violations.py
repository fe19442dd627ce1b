"""How often which rule of a plan was broken: counted in memory, added to a table every second.

A process that is killed loses at most the last second of its counts; the events themselves don't depend on them.
"""

import asyncio
from typing import Any, Final

import msgspec

from services.ingest.domain.plan import Finding
from shared.store.pool import DOWN
from shared.telemetry import PLAN_VIOLATIONS, logger

FLUSH_S: Final = 1.0
PLACES: Final = 10_000  # counted apart at a time; beyond, a rule is counted without its place

log = logger("violations")


class ViolationRow(msgspec.Struct, frozen=True):
    """`last_seen_at` in microseconds."""

    plan_version: int
    rule: str
    place: str
    action: str
    events: int
    last_seen_at: int


class Violations:
    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._counts: dict[tuple[str, int, str, str, str], tuple[int, int]] = {}

    def count(self, source: str, plan_version: int, findings: tuple[Finding, ...], at: int) -> None:
        for found in findings:
            place = found.place if len(self._counts) < PLACES else ""
            key = (source, plan_version, found.rule, place, found.action)
            events, last = self._counts.get(key, (0, 0))
            self._counts[key] = events + 1, max(last, at)
            PLAN_VIOLATIONS.labels(source, found.rule, found.action).inc()

    async def run(self) -> None:
        """Never returns; raises when the database is down."""
        while True:
            await asyncio.sleep(FLUSH_S)
            await self.flush()

    async def flush(self) -> None:
        """Keeps the counts while the database is down. What it refuses is dropped: counting never ends the door."""
        counts, self._counts = self._counts, {}
        if not counts:
            return
        try:
            await self._add(counts)
        except (*DOWN, asyncio.CancelledError):
            for key, (events, last) in counts.items():
                more, later = self._counts.get(key, (0, 0))
                self._counts[key] = events + more, max(last, later)
            raise
        except Exception as error:
            log.error("counts of violations were refused, and dropped", places=len(counts), error=type(error).__name__)

    async def all(self, source: str) -> list[ViolationRow]:
        """Newest plan first, and the most frequent rule of each."""
        await self.flush()
        rows = await self._pool.fetch(
            """SELECT plan_version, rule, place, action, events, last_seen_at FROM violations WHERE source = $1
               ORDER BY plan_version DESC, events DESC, rule, place""",
            source,
        )
        return [ViolationRow(*row) for row in rows]

    async def _add(self, counts: dict[tuple[str, int, str, str, str], tuple[int, int]]) -> None:
        columns = list(zip(*counts, strict=True))
        await self._pool.execute(
            """INSERT INTO violations (source, plan_version, rule, place, action, events, last_seen_at)
               SELECT * FROM unnest($1::text[], $2::int4[], $3::text[], $4::text[], $5::text[], $6::int8[], $7::int8[])
               ON CONFLICT (source, plan_version, rule, place, action) DO UPDATE
               SET events = violations.events + excluded.events,
                   last_seen_at = greatest(violations.last_seen_at, excluded.last_seen_at)""",
            *map(list, columns),
            [events for events, _ in counts.values()],
            [last for _, last in counts.values()],
        )
