"""Registers sources through the eventsourcing library: its Repository replays a source, its Application saves what was decided.

The library is synchronous, so this runs in a thread; a registration is rare, and the events that sources send never come here.
"""

import asyncio
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from eventsourcing.application import AggregateNotFoundError, Application
from eventsourcing.persistence import InterfaceError, OperationalError
from eventsourcing.utils import get_topic

from services.ingest.domain import sources as rules
from services.ingest.domain.sources import PARTITION, RegisterSource, Source
from services.ingest.views import insert_sources
from shared.errors import Unavailable
from shared.events.source import SOURCE_REGISTERED, SourceRegistered
from shared.ids import NewId
from shared.instants import Clock
from shared.log.seam import LogEvent, PartitionRecorder, Replayed
from shared.vault import DataKey

SCHEMA = "ingest"


def no_key(stream: bytes, /) -> DataKey | None:
    """Nothing of a source is personal."""
    return None


class Registrar:
    """One registration at a time. Of several replicas, the one that claims the log last decides."""

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
        recorder.views = insert_sources
        self._recorder = recorder
        self._clock = clock
        self._new_id = new_id

    async def register(self, command: RegisterSource) -> SourceRegistered | None:
        """None: this very request was answered before. Raises AlreadyExists (SOURCE_EXISTS), Fenced, Unavailable."""
        try:
            return await asyncio.to_thread(self._register, command)
        except (OperationalError, InterfaceError):
            raise Unavailable("the database is down; try again", reason="DEPENDENCY_DOWN") from None

    def close(self) -> None:
        self._application.close()

    def _register(self, command: RegisterSource) -> SourceRegistered | None:
        self._recorder.claim()  # so that nobody decides on the same name in between
        stream = UUID(bytes=rules.stream_of(command.name))
        source = self._find(stream)
        decided = rules.decide(source.state if source else None, command)
        if decided is not None:
            version = source.version + 1 if source else 1
            self._application.save(
                LogEvent.new(SOURCE_REGISTERED, stream, version, self._new_id(), self._clock(), decided),
            )
        return decided

    def _find(self, stream: UUID) -> Replayed[Source] | None:
        try:
            return self._application.repository.get(stream, projector_func=_as_source)
        except AggregateNotFoundError:
            return None


def _as_source(before: Replayed[Source] | None, events: Iterable[Any]) -> Replayed[Source] | None:
    source = before
    for event in events:
        state = rules.evolve(source.state if source else None, event.public)
        source = Replayed(event.originator_id, event.originator_version, state)
    return source
