"""An auditor's replay: version by version through the eventsourcing library, apart from the code that serves reads.

The library is synchronous and slow beside the hot path, and knows nothing of our caches, views and snapshots: that makes it an
independent witness of what they answer.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
from eventsourcing.application import Repository
from eventsourcing.persistence import EventStore, InterfaceError, JSONTranscoder, OperationalError

from services.profile.domain.fold import evolve
from services.profile.domain.rules import Keeping
from services.profile.domain.state import State, fork, state_hash
from shared.errors import TooLarge, Unavailable
from shared.ids import partition_of
from shared.log.seam import LogEvent, PartitionRecorder, Replayed, SealingMapper, projector
from shared.log.seam.datastore import Datastore
from shared.vault import DataKey, Vault

MOST_EVENTS = 20_000  # of a customer; each costs a hash over its whole state

Project = Callable[[Replayed[State] | None, Iterable[LogEvent]], Replayed[State] | None]


class Step(msgspec.Struct, frozen=True):
    """One version of a stream, and the hash of the state that it made."""

    event: LogEvent
    state_hash: str


class Replayer:
    def __init__(self, database_url: str, vault: Vault, partitions: int) -> None:
        self._datastore = Datastore(database_url, "profile")
        self._vault = vault
        self._partitions = partitions

    async def replay(self, versions: Mapping[bytes, int], keeping: Keeping) -> tuple[list[Step], dict[bytes, State]]:
        """{stream: version to replay to} as steps, with what the rules need, and the states at the end. Raises TooLarge (TOO_MANY_EVENTS)."""
        if sum(versions.values()) > MOST_EVENTS:
            raise TooLarge(f"more than {MOST_EVENTS} events", reason="TOO_MANY_EVENTS", limit=MOST_EVENTS)
        keys = await self._vault.keys(versions)
        try:
            return await asyncio.to_thread(self._replay, versions, keys, keeping)
        except (OperationalError, InterfaceError):
            raise Unavailable("the database is down; try again", reason="DEPENDENCY_DOWN") from None

    def close(self) -> None:
        self._datastore.close()

    def _replay(
        self, versions: Mapping[bytes, int], keys: Mapping[bytes, DataKey], keeping: Keeping
    ) -> tuple[list[Step], dict[bytes, State]]:
        as_customer = projector(State, fork, partial(evolve, keeping=keeping))
        steps: list[Step] = []
        states: dict[bytes, State] = {}
        for stream, version in versions.items():
            recorder = PartitionRecorder(self._datastore, partition_of(stream, self._partitions), self._partitions)
            store = EventStore(SealingMapper(JSONTranscoder(), keys.get), recorder)
            steps += _steps(store, UUID(bytes=stream), version, as_customer)
            whole: Replayed[State] = Repository(store).get(UUID(bytes=stream), version=version, projector_func=as_customer)
            states[stream] = whole.state
        return steps, states


def _steps(store: EventStore[UUID], customer: UUID, version: int, as_customer: Project) -> list[Step]:
    steps: list[Step] = []
    replayed: Replayed[State] | None = None
    events: Any = store.get(customer, lte=version)
    for event in events:
        replayed = as_customer(replayed, [event])
        assert replayed is not None
        steps.append(Step(event, state_hash(replayed.state)))
    return steps
