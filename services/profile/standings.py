"""Where customers belong: which of them are one now, and the segments that each is in, by the rules in force."""

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import msgspec

from services.profile.choosing import Chooser
from services.profile.clusters import joined
from services.profile.domain.clocks import NOW
from services.profile.domain.golden import unconfirmed
from services.profile.domain.lineage import canonicals
from services.profile.domain.membership import Standing, standing_by
from services.profile.domain.rules import Rules
from services.profile.domain.segments import Segments
from services.profile.domain.state import Held
from services.profile.failures import OF_OTHERS, note
from services.profile.tables.history import History
from services.profile.tables.memberships import set_due_by
from services.profile.tables.ordered import Ordered
from services.profile.tables.rulebook import Rulebook
from services.profile.tables.snapshots import Snapshots
from services.profile.tables.states import States
from shared.instants import SECOND, Clock
from shared.log import LogReader
from shared.vault import Vault

LOOKED_AT_AGAIN_US: Final = 3_600 * SECOND  # after no answer could be made
AT_ONCE_S: Final = 0.002  # of looking at customers; then reads go on
MANY_TOGETHER: Final = 4  # customers that are one: fewer are loaded in a few queries anyway
REMEMBERED_MEMBERS: Final = 50_000  # some hundred bytes each


class RulesChanged(Exception):
    """Others came into force while customers were looked at: nothing of the step counts."""


class Seen(msgspec.Struct, frozen=True):
    """Customers that were looked at, by canonical: the states that each is, and where it belongs."""

    clusters: Mapping[bytes, Mapping[bytes, Held]]
    standings: Mapping[bytes, Standing]

    def __repr__(self) -> str:
        return f"<Seen {len(self.clusters)} customers sealed>"


class Standings:
    def __init__(self, vault: Vault, chooser: Chooser, rulebook: Rulebook, partitions: int, clock: Clock) -> None:
        self._vault = vault
        self._chooser = chooser
        self._rulebook = rulebook
        self._partitions = partitions
        self._clock = clock
        self._together: dict[bytes, frozenset[bytes]] = {}  # with whom a member of many was one when she was last looked at

    async def look(self, connection: Any, rules: Rules, segments: Segments | None, streams: Collection[bytes]) -> Seen:
        """The customers that these streams belong to, as they are now, and where in these segments of the rules. Raises RulesChanged."""
        if not streams:
            return Seen({}, {})
        held = await self._held(connection, streams)
        lineage = canonicals([stream for stream in streams if stream in held], held)
        clusters: dict[bytes, dict[bytes, Held]] = {}
        for member, canonical in lineage.items():
            clusters.setdefault(canonical, {})[member] = held[member]
        self._remember(clusters.values())
        confirmed = await self._chooser.confirmed(unconfirmed((held[member].state for member in lineage), rules), NOW)
        if rules is not self._rulebook.rules:  # else some of the states may be folded for others
            raise RulesChanged
        now, standings, since = self._clock(), dict[bytes, Standing](), time.perf_counter()
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
        if failed := clusters.keys() - standings.keys():  # they stay where they are, until a release that can look at them
            await set_due_by(connection, dict.fromkeys(failed, now + LOOKED_AT_AGAIN_US))
        return Seen({canonical: clusters[canonical] for canonical in standings}, standings)

    def history(self, connection: Any, rules: Rules) -> History:
        snapshots = Snapshots(connection, self._partitions)
        ordered = Ordered(connection, self._partitions)
        return History(LogReader(connection), self._vault, snapshots, ordered, self._partitions, rules.keeping)

    async def _held(self, connection: Any, streams: Collection[bytes]) -> dict[bytes, Held]:
        """What can't be opened with its key, or folded, is no reason to stop for all others; it is refused wherever it is read."""
        history = self.history(connection, self._rulebook.rules)
        states = States(connection, self._vault, history, self._rulebook, self._partitions)
        before = {member for stream in streams for member in self._together.get(stream, ())}
        try:
            return await joined(before.union(streams), states.load)
        except OF_OTHERS:
            raise
        except Exception as error:
            if before:  # perhaps of one who isn't one with any of them any more
                self._together.clear()
                return await self._held(connection, streams)
            if len(streams) == 1:
                note(next(iter(streams)), "segments", error)
                return {}
        held: dict[bytes, Held] = {}
        for stream in streams:
            held |= await self._held(connection, [stream])
        return held

    def _remember(self, clusters: Iterable[Mapping[bytes, Held]]) -> None:
        """So that a page of events of one who is a thousand customers waits for one query and not for a thousand rings of a chain."""
        for cluster in clusters:
            if len(cluster) >= MANY_TOGETHER:
                self._together |= dict.fromkeys(cluster, frozenset(cluster))
        if len(self._together) > REMEMBERED_MEMBERS:
            self._together.clear()
