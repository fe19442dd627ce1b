"""The single writer of the customer log: takes units of CUSTOMER, appends them and updates the views, as one transaction."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.profile import views
from services.profile.cache import LoadingCache
from services.profile.domain import Held, evolve, fork
from services.profile.views import Identifiers, States
from shared.events import customer as events
from shared.events.catalogue import Entry
from shared.events.wire import CUSTOMER_STREAM, INGEST_STREAM, Unit, encode
from shared.ids import partition_of
from shared.instants import Clock
from shared.log import LogWriter, Record
from shared.log.writer import Versioned
from shared.positions import Progress
from shared.telemetry import EVENTS_APPLIED, EVENTS_PARKED, UNIT_EVENTS, UNIT_SECONDS, logger
from shared.vault import DataKey, EnvelopeBroken, Vault

log = logger("profile")


@dataclass(slots=True)
class Change:
    """What a unit changes: events with their versions, states, links, and what had to be parked."""

    events: list[Versioned] = field(default_factory=list)
    held: dict[bytes, Held] = field(default_factory=dict)
    links: dict[bytes, bytes] = field(default_factory=dict)
    parked: list[tuple[str, int, bytes, str, bytes]] = field(default_factory=list)


class Recorder:
    """`load` first, and again after any error. `on_changed` is told the streams of every unit once it is committed."""

    def __init__(
        self,
        writer: LogWriter,
        states: States,
        identifiers: Identifiers,
        cache: LoadingCache[bytes, Held],
        vault: Vault,
        progress: Progress,
        clock: Clock,
    ) -> None:
        self._writer = writer
        self._states = states
        self._identifiers = identifiers
        self._cache = cache
        self._vault = vault
        self._progress = progress
        self._clock = clock
        self._partitions = len(writer.partitions)
        self.on_changed: Callable[[Sequence[Record]], None] = lambda records: None

    async def load(self) -> int:
        """Up to where CUSTOMER is consumed."""
        await self._writer.claim()
        self._cache.clear()
        self._advance()
        return self._writer.consumed(CUSTOMER_STREAM)

    async def record(self, units: Sequence[tuple[int, Unit]]) -> None:
        """(stream sequence, unit) in order."""
        entries = [(sequence, entry) for sequence, unit in units for entry in unit.entries]
        with UNIT_SECONDS.labels("profile").time():
            keys = await self._vault.keys({entry.stream for _, entry in entries})
            change = await self._fold(entries, keys)
            records = await self._commit(change, keys, _consumed(units))
        self._cache.put(change.held)
        self._advance()
        self.on_changed(records)
        UNIT_EVENTS.labels("profile").observe(len(entries))
        EVENTS_APPLIED.labels("profile").inc(len(entries) - len(change.parked))
        EVENTS_PARKED.labels("profile").inc(len(change.parked))

    async def _fold(self, entries: Sequence[tuple[int, Entry]], keys: Mapping[bytes, DataKey]) -> Change:
        before = await self._cache.get({entry.stream for _, entry in entries})
        change = Change()
        for sequence, entry in entries:
            held = change.held.get(entry.stream) or _forked(before.get(entry.stream))
            try:
                public = entry.public()
                evolve(held.state, entry, public, entry.personal(keys.get(entry.stream)))
            except EnvelopeBroken as error:
                log.error("parked an event that its key doesn't open", sequence=sequence, type=entry.type_id)
                change.parked.append((CUSTOMER_STREAM, sequence, entry.event_id, str(error), encode(entry)))
                continue
            held.version += 1
            change.held[entry.stream] = held
            change.events.append(Versioned(partition_of(entry.stream, self._partitions), held.version, entry))
            if isinstance(public, events.IdentifierLinked):
                change.links[public.value_hash] = entry.stream
        return change

    async def _commit(self, change: Change, keys: Mapping[bytes, DataKey], consumed: dict[str, int]) -> list[Record]:
        async def write_views(connection: Any, records: list[Record]) -> None:
            for record in records:
                change.held[record.entry.stream].pos = record.pos
            await self._states.apply(connection, change.held, keys)
            await self._identifiers.apply(connection, change.links)
            await views.park(connection, change.parked, self._clock())

        return await self._writer.append(change.events, consumed, write_views)

    def _advance(self) -> None:
        """Waiting reads go on: by what is consumed, by what identity had consumed then, and by our own positions."""
        for partition, head in self._writer.heads.items():
            self._progress.advance(f"profile/{partition}", head.next_pos - 1)
        self._progress.advance("customer", self._writer.consumed(CUSTOMER_STREAM) - 1)
        if ingested := self._writer.consumed(INGEST_STREAM):
            self._progress.advance("ingest", ingested)


def _consumed(units: Sequence[tuple[int, Unit]]) -> dict[str, int]:
    """Of CUSTOMER ours, of INGEST what the newest unit tells of identity's. A unit of several messages tells it in its last."""
    told = [unit.consumed[INGEST_STREAM] for _, unit in units if INGEST_STREAM in unit.consumed]
    return {CUSTOMER_STREAM: units[-1][0]} | ({INGEST_STREAM: told[-1]} if told else {})


def _forked(held: Held | None) -> Held:
    return Held(fork(held.state), held.version, held.pos) if held else Held()
