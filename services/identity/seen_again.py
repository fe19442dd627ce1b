"""Hears again what events saw together, where rows of `sightings` were lost: an event of profile's log names its identifiers by their
hashes, in the clear. What is missing waits like any late fact, and is settled behind the events.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from services.identity.domain.sighting import ITSELF, Suppression
from services.identity.graph.facts import Evidence
from services.identity.tables import erasures, waiting
from services.identity.tables.regions import sighting_id
from services.identity.tables.waiting import Waiting
from shared.events.catalogue import Entry
from shared.events.customer import ACTIVITY_IDS, Activity
from shared.instants import Clock


class SeenAgain:
    def __init__(self, pool: Any, clock: Clock, tell: Callable[[], None]) -> None:
        self._pool = pool
        self._clock = clock
        self._tell = tell

    async def hear(self, entries: Iterable[Entry]) -> int:
        """Events in any order, as often as one likes; how many facts were missing, or had later evidence.

        What is erased is in none: neither whom an erasure forbids by when it happened, nor whom nothing is known of. Values aren't said
        again: they stand where the identifiers were linked.
        """
        told = [(entry, entry.public()) for entry in entries if entry.type_id in ACTIVITY_IDS]
        hashes = {value_hash for _, said in told for value_hash in _named(said)}
        rows = await self._pool.fetch(
            "SELECT value_hash, namespace FROM identifiers WHERE value_hash = ANY($1::bytea[])", list(hashes)
        )
        names = {row["value_hash"]: row["namespace"] for row in rows if row["namespace"] != ITSELF}
        forbidden = await erasures.suppressions(self._pool, hashes)
        found: dict[bytes, Waiting] = {}
        for entry, said in told:
            one = _waiting(entry, said, names, forbidden, self._clock())
            if len(one.value_hashes) > 1 and (one.sighting_id not in found or _evidence(one) < _evidence(found[one.sighting_id])):
                found[one.sighting_id] = one
        missing = await self._missing(found)
        async with self._pool.acquire() as connection, connection.transaction():
            await waiting.put(connection, missing)
        self._tell()
        return len(missing)

    async def _missing(self, found: Mapping[bytes, Waiting]) -> Sequence[Waiting]:
        rows = await self._pool.fetch(
            "SELECT sighting_id, occurred_at, event_id FROM sightings WHERE sighting_id = ANY($1::bytea[])", list(found)
        )
        known = {row["sighting_id"]: Evidence(row["occurred_at"], row["event_id"]) for row in rows}
        return [one for one in found.values() if one.sighting_id not in known or _evidence(one) < known[one.sighting_id]]


def _named(said: Activity) -> Collection[bytes]:
    return {said.resolved_by, *said.also_named}


def _evidence(one: Waiting) -> Evidence:
    return Evidence(one.occurred_at, one.event_id)


def _waiting(entry: Entry, said: Activity, names: Mapping[bytes, str], forbidden: Mapping[bytes, Suppression], now: int) -> Waiting:
    at = min(entry.occurred_at, said.received_at)
    left = [h for h in sorted(_named(said)) if h in names and not (h in forbidden and forbidden[h].forbids(at))]
    return Waiting(
        sighting_id(left), left, [names[h] for h in left], [b""] * len(left), entry.stream, at, entry.event_id, said.source, now
    )
