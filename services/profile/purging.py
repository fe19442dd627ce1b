"""Tells identity what profile gave up of an erased customer, after looking again at what it can still read."""

from typing import Any

from services.profile.cache import LoadingCache
from services.profile.domain.state import Held
from services.profile.tables import editions, erasures
from shared.bus.purging import ANSWER_S, Question, Report
from shared.events.erasure import Purge
from shared.ids import partition_of
from shared.log import LogReader
from shared.log.records import readable_fields
from shared.positions import Progress
from shared.vault import Vault


class Purger:
    def __init__(
        self,
        pool: Any,
        reader: LogReader,
        states: LoadingCache[bytes, Held],
        vault: Vault,
        progress: Progress,
        partitions: int,
    ) -> None:
        self._pool = pool
        self._reader = reader
        self._states = states
        self._vault = vault
        self._progress = progress
        self._partitions = partitions

    async def report(self, question: Question) -> Report:
        """Raises NotFreshEnough when the unit that told of the erasure is not applied yet."""
        await self._progress.wait("customer", question.unit, ANSWER_S / 2)
        self._states.drop(question.streams)
        await editions.forget(self._pool, question.streams, self._partitions)
        keys = await self._vault.keys_as_stored(question.streams)
        given = await erasures.given_up(self._pool, question.streams, self._partitions)
        records = await self._reader.streams([(partition_of(stream, self._partitions), stream) for stream in question.streams])
        return Report(
            [
                Purge(store="profile.events", rows=0, checked=len(records), readable=readable_fields(records, keys)),
                Purge(store="profile.states", rows=given.customers, readable=given.states_left),
                Purge(store="profile.identifiers", rows=given.identifiers),
                Purge(store="profile.decisions", rows=given.decisions),
                Purge(store="profile.snapshots", rows=given.snapshots),
                Purge(store="profile.parked", rows=given.parked),
            ]
        )
