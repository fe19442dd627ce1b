"""Gives up what waits in the quarantine, by hand."""

from collections.abc import Sequence
from typing import Final

from services.ingest.quarantine import PAGE_EVENTS, Quarantine
from services.ingest.verdicts import DISCARDED, REJECTED, Verdicts
from services.ingest.views import Sources
from shared.errors import InvalidInput
from shared.events.wire import event_id_of
from shared.ids import to_text
from shared.telemetry import logger

MAX_DISCARDED: Final = PAGE_EVENTS  # at a time: as many as a list shows
MAX_REASON: Final = 200  # characters
MAX_NAME: Final = 100  # characters

log = logger("quarantine")


class Discarding:
    def __init__(self, sources: Sources, quarantine: Quarantine, verdicts: Verdicts) -> None:
        self._sources = sources
        self._quarantine = quarantine
        self._verdicts = verdicts

    async def discard(self, source: str, message_ids: Sequence[str], reason: str, discarded_by: str) -> list[str]:
        """Which of them were waiting, and are gone for ever; their receipts say so, the log who did it, and why.

        Raises NotFound (SOURCE_UNKNOWN), InvalidInput (REASON_INVALID, NAME_INVALID, MESSAGE_ID_MISSING, TOO_MANY_IDS).
        """
        _check(message_ids, reason, discarded_by)
        await self._sources.one(source)
        by_id = {event_id_of(source, message_id.strip()): message_id for message_id in message_ids}
        waiting = await self._quarantine.waiting_among(by_id)
        # What waits says so before its verdict does, so nothing is told too early.
        await self._verdicts.put(waiting, REJECTED, DISCARDED)
        for event_id in await self._quarantine.remove(waiting):
            log.warning("discarded", event_id=to_text(event_id), source=source, discarded_by=discarded_by, reason=reason)
        return [by_id[event_id] for event_id in by_id if event_id in waiting]


def _check(message_ids: Sequence[str], reason: str, discarded_by: str) -> None:
    if not reason or len(reason) > MAX_REASON or not reason.isprintable():
        raise InvalidInput(f"a reason is 1 to {MAX_REASON} printable characters", reason="REASON_INVALID")
    if not discarded_by or len(discarded_by) > MAX_NAME or not discarded_by.isprintable():
        raise InvalidInput(f"who does it is 1 to {MAX_NAME} printable characters", reason="NAME_INVALID")
    if not message_ids:
        raise InvalidInput("name what to discard, by message id", reason="MESSAGE_ID_MISSING")
    if len(message_ids) > MAX_DISCARDED:
        raise InvalidInput(f"at most {MAX_DISCARDED} message ids a call", reason="TOO_MANY_IDS", limit=MAX_DISCARDED)
