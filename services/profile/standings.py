"""Where customers belong: which of them are one now, and the segments that each is in, by the rules in force."""

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import msgspec

from services.profile.choosing import Chooser
from services.profile.clusters import joined
from services.profile.domain.clocks import NOW
from services.profile.domain.golden import VerifiedValue, unconfirmed
from services.profile.domain.lineage import canonicals
from services.profile.domain.membership import Standing, standing_by
from services.profile.domain.rules import Rules
from services.profile.domain.segments import Segments
from services.profile.domain.state import Held, reachable
from services.profile.failures import OF_OTHERS, note
from services.profile.tables.history import History
from services.profile.tables.ordered import Ordered
from services.profile.tables.rulebook import Rulebook
from services.profile.tables.snapshots import Snapshots
from services.profile.tables.states import States
from shared.instants import SECOND, Clock
from shared.log import LogReader
from shared.vault import Vault

LOOKED_AT_AGAIN_US: Final = 3_600 * SECOND  # after no answer could be made
AT_ONCE_S: Final = 0.002  # of looking at customers; then reads go on
FOLDED_AT_MOST: Final = 500  # events of a stream, some ten milliseconds, unless it is patient
MANY_TOGETHER: Final = 4  # customers that are one: fewer are loaded in a few queries anyway
REMEMBERED_MEMBERS: Final = 50_000  # some hundred bytes each


class RulesChanged(Exception):
    """Others came into force while customers were looked at: nothing of the step counts."""


class Seen(msgspec.Struct, frozen=True):
    """Customers that were looked at, by canonical: the states that each is, and where it belongs. Of others it could not be told, and they
    are to be looked at `again` at an instant; `unfolded` are streams of those whose state is folded for other rules, which takes long."""

    clusters: Mapping[bytes, Mapping[bytes, Held]]
    standings: Mapping[bytes, Standing]
    again: Mapping[bytes, int] = {}
    unfolded: Collection[bytes] = ()

    def __repr__(self) -> str:
        return f"<Seen {len(self.clusters)} customers sealed>"

    @property
    def erased(self) -> set[bytes]:
        """Streams."""
        return {member for cluster in self.clusters.values() for member, one in cluster.items() if one.state.erased}

    def without(self, canonicals: Collection[bytes]) -> "Seen":
        if not canonicals:
            return self
        clusters = {canonical: cluster for canonical, cluster in self.clusters.items() if canonical not in canonicals}
        return Seen(clusters, {canonical: self.standings[canonical] for canonical in clusters}, self.again, self.unfolded)


class Standings:
    def __init__(self, vault: Vault, chooser: Chooser, rulebook: Rulebook, partitions: int, clock: Clock) -> None:
        self._vault = vault
        self._chooser = chooser
        self._rulebook = rulebook
        self._partitions = partitions
        self._clock = clock
        self._together: dict[bytes, frozenset[bytes]] = {}  # with whom a member of many was one when she was last looked at

    async def look(
        self, pool: Any, rules: Rules, segments: Segments | None, streams: Collection[bytes], *, patient: bool = True
    ) -> Seen:
        """The customers that these streams belong to, as they are now, and where in these segments of the rules. Unless it is `patient`,
        without those of whom a long history would have to be folded. Raises RulesChanged."""
        if not streams:
            return Seen({}, {})
        unfolded = set[bytes]()
        held = await self._held(pool, streams, None if patient or self._rulebook.in_force.settled else unfolded)
        clusters = self._clusters(streams, held, unfolded)
        self._remember(clusters.values())
        states = (one.state for cluster in clusters.values() for one in cluster.values())
        confirmed = await self._chooser.confirmed(unconfirmed(states, rules), NOW)
        if rules is not self._rulebook.rules:  # else some of the states may be folded for others
            raise RulesChanged
        now = self._clock()
        standings = await self._standings(clusters, rules, segments, confirmed, now)
        again = dict.fromkeys(clusters.keys() - standings.keys(), now + LOOKED_AT_AGAIN_US)  # till then they stay where they are
        belong = {member for cluster in clusters.values() for member in cluster}
        left = {stream for stream in streams if stream in unfolded or stream in held.keys() - belong}
        return Seen({canonical: clusters[canonical] for canonical in standings}, standings, again, left)

    def _clusters(
        self, streams: Collection[bytes], held: Mapping[bytes, Held], unfolded: Collection[bytes]
    ) -> dict[bytes, dict[bytes, Held]]:
        clusters: dict[bytes, dict[bytes, Held]] = {}
        for member, canonical in canonicals([stream for stream in streams if stream in held], held).items():
            clusters.setdefault(canonical, {})[member] = held[member]
        if unfolded:
            whole = {c for c, cluster in clusters.items() if reachable(one.state for one in cluster.values()).isdisjoint(unfolded)}
            return {canonical: clusters[canonical] for canonical in whole}
        return clusters

    async def _standings(
        self,
        clusters: Mapping[bytes, Mapping[bytes, Held]],
        rules: Rules,
        segments: Segments | None,
        confirmed: Collection[VerifiedValue],
        now: int,
    ) -> dict[bytes, Standing]:
        """Of those of whom it can be told."""
        standings, since = dict[bytes, Standing](), time.perf_counter()
        for canonical, cluster in clusters.items():
            states = {member: one.state for member, one in cluster.items()}
            if time.perf_counter() - since > AT_ONCE_S:
                await asyncio.sleep(0)
                since = time.perf_counter()
            erased = any(state.erased for state in states.values())
            try:
                standings[canonical] = (
                    Standing() if segments is None or erased else standing_by(states, rules, segments, confirmed, now)
                )
            except Exception as error:
                note(canonical, "segments", error)
        return standings

    def history(self, pool: Any, rules: Rules) -> History:
        snapshots, ordered = Snapshots(pool, self._partitions), Ordered(pool, self._partitions)
        return History(LogReader(pool), self._vault, snapshots, ordered, self._partitions, rules.keeping)

    async def _held(self, pool: Any, streams: Collection[bytes], unfolded: set[bytes] | None) -> dict[bytes, Held]:
        """What can't be opened with its key, or folded, is no reason to stop for all others; it is refused wherever it is read. Of whom
        a long history would have to be folded, the stream goes into `unfolded`, if there is one."""
        states = States(pool, self._vault, self.history(pool, self._rulebook.rules), self._rulebook, self._partitions)
        before = {member for stream in streams for member in self._together.get(stream, ())}

        async def load(ring: Collection[bytes]) -> dict[bytes, Held]:
            if unfolded is None:
                return await states.load(ring)
            unfolded.update(await states.of_other_folds(ring, FOLDED_AT_MOST))
            return await states.load([stream for stream in ring if stream not in unfolded])

        try:
            return await joined(before.union(streams), load)
        except OF_OTHERS:
            raise
        except Exception as error:
            if before:  # perhaps of one who isn't one with any of them any more
                self._together.clear()
                return await self._held(pool, streams, unfolded)
            if len(streams) == 1:
                note(next(iter(streams)), "segments", error)
                return {}
        held: dict[bytes, Held] = {}
        for stream in streams:
            held |= await self._held(pool, [stream], unfolded)
        return held

    def _remember(self, clusters: Iterable[Mapping[bytes, Held]]) -> None:
        """So that a page of events of one who is a thousand customers waits for one query and not for a thousand rings of a chain."""
        for cluster in clusters:
            if len(cluster) >= MANY_TOGETHER:
                self._together |= dict.fromkeys(cluster, frozenset(cluster))
        if len(self._together) > REMEMBERED_MEMBERS:
            self._together.clear()
