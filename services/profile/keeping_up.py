"""Follows the log and the tables of the process that owns them, for one that stands by and answers reads from the same tables.

What it keeps in memory is dropped in the order in which the owner does it: first what changed, then it is told as applied. Each answer that isn't ready
looks once more before it is given (`Steady.confirm`): what it was made from is then of one moment, and as new as what was committed meanwhile.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from services.profile.cache import LoadingCache
from services.profile.domain.state import Held
from services.profile.owners import Owners
from services.profile.tables.committed import Committed, Stand
from services.profile.tables.consents import Consents
from services.profile.tables.rulebook import Rulebook
from shared.events import customer as events
from shared.events.consent import PurposeDefined
from shared.log import Record
from shared.positions import Progress

LOOK_S: Final = 0.02  # what is ready may be older than the owner's answer by that
WAITED_S: Final = 0.005  # while somebody waits to read what they wrote
RECENT_S: Final = (
    1.0  # since a look began that is done: what is ready is given out; afterwards each answer is made anew, which takes a look
)
MOST_EVENTS: Final = 10_000  # of one look, and decisions; where there are more all is forgotten


class KeepingUp:
    def __init__(
        self,
        committed: Committed,
        consents: Consents,
        rulebook: Rulebook,
        held: LoadingCache[bytes, Held],
        owners: Owners,
        decisions: LoadingCache[bytes, Any],
        progress: Progress,
        learn: Callable[[dict[str, PurposeDefined]], None],
        on_decided: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        """`clock` in seconds, monotonic."""
        self._committed = committed
        self._consents = consents
        self._rulebook = rulebook
        self._held = held
        self._owners = owners
        self._decisions = decisions
        self._progress = progress
        self._learn = learn
        self._on_decided = on_decided
        self._clock = clock
        self._looked = float("-inf")
        self._turn = asyncio.Lock()
        self._begun = self._done = 0
        self._known: Stand | None = None

    @property
    def next_positions(self) -> Mapping[int, int]:
        """What is applied; empty before anything is known."""
        return self._known.next_positions if self._known else {}

    def is_recent(self) -> bool:
        """Whether it is known what was committed up to a moment ago: the database may be slow, or away."""
        return self._clock() - self._looked < RECENT_S

    async def run(self) -> None:
        """Never returns; raises when the database is down, to be started over."""
        while True:
            await self.look()
            await asyncio.sleep(WAITED_S if self._progress.is_waited_for else LOOK_S)

    async def look(self) -> None:
        """What was committed before the call is applied afterwards. Several who ask at once are served by one look that begins after they asked."""
        asked = self._begun
        async with self._turn:
            if self._done > asked:
                return
            self._begun += 1
            began = self._clock()
            await self._look()
            self._done, self._looked = self._begun, began

    async def _look(self) -> None:
        known, now = self._known, await self._committed.stand()
        if known is None or known.edition != now.edition or _events(known, now) > MOST_EVENTS:
            await self._begin()
        else:
            if _events(known, now):
                self._apply(*await self._committed.changed(known.next_positions, now.next_positions))
            if known.consent < now.consent:
                await self._hear(known.consent, now.consent)
        self._known = now
        self._advance(now)

    async def _begin(self) -> None:
        """From what stands now."""
        await self._rulebook.load()
        self._forget()
        self._learn(await self._consents.purposes())
        self._forget()  # also what was loaded meanwhile

    def _forget(self) -> None:
        self._held.clear()
        self._owners.clear()
        self._decisions.clear()

    def _apply(self, streams: Collection[bytes], told: Sequence[Record]) -> None:
        before = self._rulebook.rules.keeping
        self._rulebook.committed(told)
        if self._rulebook.rules.keeping == before:
            self._held.drop(streams)
        else:
            self._held.clear()
        linked, erased = set[bytes](), set[bytes]()
        for record in told:
            match record.entry.public():
                case events.IdentifierLinked(value_hash=value_hash) | events.IdentifierUnlinked(value_hash=value_hash):
                    linked.add(value_hash)
                case events.CustomerErased(identifier_hashes=hashes):
                    erased.update(hashes)
        self._decisions.drop(erased)
        self._owners.drop(linked | erased)

    async def _hear(self, before: int, now: int) -> None:
        """Of what was decided, up to the position of the consent log that is known from here on."""
        purposes = await self._consents.defined_after(before - 1, now - 1)
        decided = await self._consents.decided_after(before - 1, now - 1, MOST_EVENTS)
        if len(decided) < MOST_EVENTS:
            self._decisions.drop({value_hash for _, value_hash in decided})
        else:
            self._decisions.clear()
        self._learn({purpose.name: purpose for purpose in purposes})

    def _advance(self, now: Stand) -> None:
        for partition, next_pos in now.next_positions.items():
            self._progress.advance(f"profile/{partition}", next_pos - 1)
        self._progress.advance("customer", now.customer - 1)
        if now.ingest:
            self._progress.advance("ingest", now.ingest)
        if self._progress.applied("consent") < now.consent - 1:
            self._progress.advance("consent", now.consent - 1)
            self._on_decided()


def _events(known: Stand, now: Stand) -> int:
    return sum(next_pos - known.next_positions[partition] for partition, next_pos in now.next_positions.items())
