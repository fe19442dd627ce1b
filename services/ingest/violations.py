"""How often which rule of a plan was broken: counted in memory, added to a table a second later (`behind`)."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from services.ingest.behind import Behind
from services.ingest.domain.plan import Finding
from shared.telemetry import PLAN_VIOLATIONS

PLACES: Final = 10_000  # counted apart at a time; beyond, a rule is counted without its place

Key = tuple[str, int, str, str, str]  # source, version of its plan, rule, place, action
Count = tuple[int, int]  # events, and the instant of the last


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
        self._behind: Behind[Key, Count] = Behind("violations", PLACES, _merged, self._save)

    def count(self, source: str, plan_version: int, findings: tuple[Finding, ...], at: int) -> None:
        for found in findings:
            key = (source, plan_version, found.rule, found.place, found.action)
            if not self._behind.has_room(key):
                key = (source, plan_version, found.rule, "", found.action)
            self._behind.add(key, (1, at))
            PLAN_VIOLATIONS.labels(source, found.rule, found.action).inc()

    async def run(self) -> None:
        """Never returns; raises when the database is down."""
        await self._behind.run()

    async def all(self, source: str) -> list[ViolationRow]:
        """Newest plan first, and the most frequent rule of each."""
        await self._behind.write()
        rows = await self._pool.fetch(
            """SELECT plan_version, rule, place, action, events, last_seen_at FROM violations WHERE source = $1
               ORDER BY plan_version DESC, events DESC, rule, place""",
            source,
        )
        return [ViolationRow(*row) for row in rows]

    async def _save(self, notes: Mapping[Key, Count]) -> None:
        counts = dict(sorted(notes.items()))  # replicas that write the same rows lock them in the same order
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


def _merged(older: Count, newer: Count) -> Count:
    return older[0] + newer[0], max(older[1], newer[1])
