"""Tells identity what profile gave up of an erased customer, after looking again at what it can still read."""

from collections.abc import Mapping, Sequence
from typing import Any

from services.profile import erasures
from services.profile.cache import LoadingCache
from services.profile.domain import Held
from services.profile.snapshots import Snapshots
from shared.bus.purging import ANSWER_S, Question, Report
from shared.events.erasure import Purge
from shared.ids import partition_of
from shared.log import LogReader
from shared.positions import Progress
from shared.privacy import Personal
from shared.vault import DataKey, Vault


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
        await Snapshots.purge(self._pool, question.streams)  # one that a read was keeping meanwhile
        keys = await self._vault.keys_as_stored(question.streams)
        given = await erasures.given_up(self._pool, question.streams, self._partitions)
        checked, readable = await self._replay(question.streams, keys)
        return Report(
            [
                Purge(store="profile.events", rows=0, checked=checked, readable=readable),
                Purge(store="profile.states", rows=given.customers, readable=given.states_left),
                Purge(store="profile.identifiers", rows=given.identifiers),
                Purge(store="profile.decisions", rows=given.decisions),
                Purge(store="profile.snapshots", rows=given.snapshots),
                Purge(store="profile.parked", rows=given.parked),
            ]
        )

    async def _replay(self, streams: Sequence[bytes], keys: Mapping[bytes, DataKey]) -> tuple[int, int]:
        """How many events a replay reads, and of how many it could read what is personal."""
        records = await self._reader.streams([(partition_of(stream, self._partitions), stream) for stream in streams])
        readable = sum(isinstance(record.entry.personal(keys.get(record.entry.stream)), Personal) for record in records)
        return len(records), readable
