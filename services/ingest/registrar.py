"""Changes sources and plans through the eventsourcing library: its Repository replays one, its Application saves what was decided.

The library is synchronous, so this runs in a thread; a change is rare, and the events that sources send never come here.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from eventsourcing.application import AggregateNotFoundError, Application
from eventsourcing.persistence import InterfaceError, OperationalError
from eventsourcing.utils import get_topic

from services.ingest.domain.sources import PARTITION
from services.ingest.views import apply
from shared.errors import Unavailable
from shared.events.catalogue import Public
from shared.events.source import KINDS
from shared.ids import NewId
from shared.instants import Clock
from shared.log.seam import LogEvent, PartitionRecorder, Replayed
from shared.telemetry import logger
from shared.vault import DataKey

log = logger("registrar")

SCHEMA = "ingest"
# A server that restarts, or a session that was ended in the middle: whoever asks again decides on what is stored by then, so that
# nothing is written twice.
RETRY_DELAYS_S = (0.2, 1.0)
Decide = Callable[[list[Any]], Public | None]  # from the events of a stream to the next one; None: there is nothing new


def no_key(stream: bytes, /) -> DataKey | None:
    """Nothing of a source is personal."""
    return None


class Registrar:
    """The caller lets one change in at a time. Of several replicas, the one that claims the log last decides."""

    def __init__(self, database_url: str, clock: Clock, new_id: NewId) -> None:
        self._application = Application[UUID](
            env={
                "PERSISTENCE_MODULE": "shared.log.seam",
                "LOG_DATABASE_URL": database_url,
                "LOG_SCHEMA": SCHEMA,
                "LOG_PARTITION": str(PARTITION),
                "LOG_PARTITIONS": "1",
                "LOG_KEYS_TOPIC": get_topic(no_key),
            }
        )
        recorder = self._application.recorder
        assert isinstance(recorder, PartitionRecorder)
        recorder.views = apply
        self._recorder = recorder
        self._clock = clock
        self._new_id = new_id

    async def carry_out(self, stream: bytes, decide: Decide) -> None:
        """Raises what `decide` does, Fenced, and Unavailable (DEPENDENCY_DOWN)."""
        for delay_s in (*RETRY_DELAYS_S, None):
            try:
                return await asyncio.to_thread(self._carry_out, UUID(bytes=stream), decide)
            except (OperationalError, InterfaceError) as error:
                # The driver's class and the SQLSTATE, without what the statement carried.
                log.warning("the database is down", error=str(error), tries_again=delay_s is not None)
            if delay_s is not None:
                await asyncio.sleep(delay_s)
        raise Unavailable("the database is down; try again", reason="DEPENDENCY_DOWN")

    def close(self) -> None:
        self._application.close()

    def _carry_out(self, stream: UUID, decide: Decide) -> None:
        self._recorder.claim()  # so that nobody decides about the same in between
        found = self._find(stream)
        version, events = (found.version, found.state) if found else (0, [])
        if (decided := decide(events)) is not None:
            event = LogEvent.new(KINDS[type(decided)], stream, version + 1, self._new_id(), self._clock(), decided)
            self._application.save(event)

    def _find(self, stream: UUID) -> Replayed[list[Any]] | None:
        try:
            return self._application.repository.get(stream, projector_func=_collect)
        except AggregateNotFoundError:
            return None


def _collect(before: Replayed[list[Any]] | None, events: Iterable[Any]) -> Replayed[list[Any]] | None:
    """The domain folds the events itself."""
    found = before
    for event in events:
        found = Replayed(event.originator_id, event.originator_version, [*(found.state if found else ()), event.public])
    return found
