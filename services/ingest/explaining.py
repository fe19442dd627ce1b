"""What waits in the quarantine, explained to whoever is to mend the plan or the sender: opened for that moment, told without values."""

from typing import Final

import msgspec

from services.ingest.domain.breaches import Breach, breaches_of
from services.ingest.domain.plan import Judge, place_of
from services.ingest.domain.sources import unknown_source
from services.ingest.judging import judge_by_plan
from services.ingest.quarantine import Quarantine, QuarantinedRow
from services.ingest.views import Sources
from shared.events.wire import RawEvent

OPENED_AT_A_TIME: Final = 50  # whoever sends events meanwhile doesn't wait for hundreds of large ones


class Waiting(msgspec.Struct, frozen=True):
    """`breaches` are of the newest plan; there are none when it would take the event."""

    row: QuarantinedRow
    is_lost: bool = False  # its key is gone
    message_id: str = ""
    kind: str = ""
    name: str = ""  # of a track: the plan names these events
    breaches: list[Breach] = []

    def __repr__(self) -> str:
        return "<Waiting sealed>"


class Explaining:
    def __init__(self, sources: Sources, quarantine: Quarantine) -> None:
        self._sources = sources
        self._quarantine = quarantine

    async def page(self, source: str, after: tuple[int, bytes] | None, limit: int) -> list[Waiting]:
        """In the order in which they came. Raises NotFound (SOURCE_UNKNOWN)."""
        await self._sources.load()
        if (known := self._sources.of_name(source)) is None:
            raise unknown_source(source)
        rows = await self._quarantine.page(source, after, limit)
        found: list[Waiting] = []
        for first in range(0, len(rows), OPENED_AT_A_TIME):
            found += await self._explained(rows[first : first + OPENED_AT_A_TIME], known.plan)
        return found

    async def _explained(self, rows: list[QuarantinedRow], plan: Judge | None) -> list[Waiting]:
        events = await self._quarantine.open(rows)
        return [
            Waiting(row, is_lost=True) if (event := events.get(row.event_id)) is None else _explained(row, event, plan)
            for row in rows
        ]


def _explained(row: QuarantinedRow, event: RawEvent, plan: Judge | None) -> Waiting:
    breaches = breaches_of(plan, event, judge_by_plan(plan, event).findings)
    name = place_of(event.name) if event.kind == "track" else ""
    return Waiting(row, False, event.message_id, event.kind, name, breaches)
