"""Identity's use cases: unify a unit of events, and replay what was parked (the single writer)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from services.identity import views
from services.identity.domain import (
    Conclusion,
    Founded,
    Graph,
    Linked,
    Merged,
    Proposed,
    Sighting,
    decide,
    identifiers_of,
)
from services.identity.outbox import Outbox
from shared.events import customer as events
from shared.events.catalogue import Entry, EventType, make_entry
from shared.events.wire import INGEST_STREAM, RawEvent
from shared.identifiers import Identifier, hash_of
from shared.ids import NewId, derived_id
from shared.instants import Clock
from shared.log import LogWriter
from shared.log.writer import Versioned
from shared.parked import Parked, ParkedTable
from shared.poison import Run
from shared.positions import Progress
from shared.privacy import Personal
from shared.telemetry import EVENTS_APPLIED, EVENTS_DUPLICATE, UNIT_EVENTS, UNIT_SECONDS
from shared.vault import DataKey, Vault

IDENTITY_PARTITION = 0


@dataclass(frozen=True, slots=True)
class Placed:
    """An event whose customer is found, and what that taught us."""

    event: RawEvent
    event_id: bytes
    resolved_by: bytes
    customer: bytes
    conclusions: list[Conclusion]


@dataclass(slots=True)
class Draft:
    """A unit being made: entries in order, those that belong to identity's own log, and the streams' versions."""

    versions: dict[bytes, int]
    entries: list[Entry] = field(default_factory=list)
    own: list[Versioned] = field(default_factory=list)

    def conclude(self, entry: Entry) -> None:
        self.versions[entry.stream] = self.versions.get(entry.stream, 0) + 1
        self.own.append(Versioned(IDENTITY_PARTITION, self.versions[entry.stream], entry))
        self.entries.append(entry)


class Unifier:
    """The single writer of the graph. `load` first; one turn at a time, and after a turn that failed the next loads anew."""

    def __init__(
        self,
        pool: Any,
        writer: LogWriter,
        outbox: Outbox,
        parked: ParkedTable,
        vault: Vault,
        progress: Progress,
        clock: Clock,
        new_id: NewId,
    ) -> None:
        self._pool = pool
        self._writer = writer
        self._outbox = outbox
        self._parked = parked
        self._vault = vault
        self._progress = progress
        self._clock = clock
        self._new_id = new_id
        self._next_founding_number = 0
        self._turns = asyncio.Lock()
        self._loaded = False
        self.run = Run()
        self.on_committed: Callable[[], None] = lambda: None

    @property
    def consumed(self) -> int:
        return self._writer.consumed(INGEST_STREAM)

    async def load(self) -> None:
        async with self._turns:
            await self._load()

    async def _load(self) -> None:
        await self._writer.claim()
        await self._outbox.load()
        self._next_founding_number = await views.next_founding_number(self._pool)
        self.run.length = await self._parked.trailing_run(INGEST_STREAM, self.consumed)
        self._progress.advance("ingest", self.consumed)
        self._progress.advance("customer", self._outbox.next_number - 1)
        self._loaded = True

    async def unify(self, raw: Sequence[RawEvent], sequence: int, parked: Sequence[Parked]) -> None:
        """Finds each event's customer and commits conclusions, hand-over, what is parked and the consumed position as one."""

        async def park(connection: Any) -> None:
            await self._parked.put(connection, parked)

        async with self._turn():
            await self._unify(raw, sequence, park)

    async def replay(self, raw: Sequence[RawEvent], parked: Parked) -> int:
        """Unifies the events of a parked message as if they had come now; the number of the unit. Raises NotParked."""

        async def take(connection: Any) -> None:
            await self._parked.take(connection, parked.parked_id)

        async with self._turn():
            await self._unify(raw, self.consumed, take)
            return self._outbox.next_number - 1

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        async with self._turns:
            if not self._loaded:
                await self._load()
            self._loaded = False
            yield
            self._loaded = True

    async def _unify(self, raw: Sequence[RawEvent], sequence: int, also: Callable[[Any], Awaitable[None]]) -> None:
        with UNIT_SECONDS.labels("identity").time():
            fresh = await self._not_seen(raw)
            graph, placed, versions = await self._place(fresh)
            draft = await self._draft(graph, placed, versions)
            await self._commit(draft, graph, placed, sequence, also)
        UNIT_EVENTS.labels("identity").observe(len(raw))
        EVENTS_APPLIED.labels("identity").inc(len(fresh))
        EVENTS_DUPLICATE.labels("identity").inc(len(raw) - len(fresh))

    async def _not_seen(self, raw: Sequence[RawEvent]) -> dict[bytes, RawEvent]:
        """By event id, which follows from source and message id: a repeated message is the same event."""
        by_id: dict[bytes, RawEvent] = {}
        for event in raw:
            by_id.setdefault(derived_id(b"event", event.source.encode(), event.message_id.encode()), event)
        for event_id in await views.seen(self._pool, by_id.keys()) if by_id else ():
            del by_id[event_id]
        return by_id

    async def _place(self, fresh: dict[bytes, RawEvent]) -> tuple[Graph, list[Placed], dict[bytes, int]]:
        sightings = [self._sighting(event_id, event) for event_id, event in fresh.items()]
        graph, versions = await views.load_graph(self._pool, sightings, self._next_founding_number)
        placed = []
        for sighting, event in zip(sightings, fresh.values(), strict=True):
            customer, conclusions = decide(graph, sighting, self._new_id)
            placed.append(Placed(event, sighting.event_id, sighting.identifiers[0][0], customer, conclusions))
        return graph, placed, versions

    def _sighting(self, event_id: bytes, event: RawEvent) -> Sighting:
        # An event without any usable identifier was accepted all the same: it founds a customer of its own.
        identifiers = identifiers_of(event) or [Identifier("event", event_id.hex())]
        return Sighting(event_id, [(hash_of(identifier, self._vault.lookup_key), identifier) for identifier in identifiers])

    async def _draft(self, graph: Graph, placed: Sequence[Placed], versions: dict[bytes, int]) -> Draft:
        founded = [x.customer for item in placed for x in item.conclusions if isinstance(x, Founded)]
        keys = await self._vault.create_keys(founded, self._clock())
        linked = {x.customer for item in placed for x in item.conclusions if isinstance(x, Linked)}
        keys |= await self._vault.keys((linked | {item.customer for item in placed}) - keys.keys())
        draft = Draft(versions)
        for item in placed:
            for conclusion in item.conclusions:
                for entry in self._conclusion_entries(item, conclusion, graph, keys):
                    draft.conclude(entry)
            draft.entries.append(_activity_entry(item, keys[item.customer]))
        return draft

    def _conclusion_entries(self, item: Placed, conclusion: Conclusion, graph: Graph, keys: dict[bytes, DataKey]) -> list[Entry]:
        """A merge and a proposal concern two customers and stand in both streams."""
        at, cause = item.event.occurred_at, item.event_id

        def entry(kind: EventType, stream: bytes, public: Any, personal: Personal | None = None) -> Entry:
            return make_entry(kind, stream, self._new_id(), at, public, personal, keys.get(stream))

        match conclusion:
            case Founded(customer, number):
                return [entry(events.FOUNDED, customer, events.CustomerFounded(founding_number=number))]
            case Linked(customer, value_hash, identifier):
                public = events.IdentifierLinked(namespace=identifier.namespace, value_hash=value_hash, cause=cause)
                return [entry(events.LINKED, customer, public, events.LinkedValue(value=identifier.value))]
            case Merged(merge_id, one, two):
                numbers = graph.founding_numbers
                return [
                    entry(
                        events.MERGED,
                        stream,
                        events.CustomersMerged(merge_id=merge_id, other=other, other_founding_number=numbers[other], cause=cause),
                    )
                    for stream, other in ((one, two), (two, one))
                ]
            case Proposed(proposal_id, one, two, reason):
                return [
                    entry(
                        events.MERGE_PROPOSED,
                        stream,
                        events.MergeProposed(proposal_id=proposal_id, other=other, reason=reason, cause=cause),
                    )
                    for stream, other in ((one, two), (two, one))
                ]

    async def _commit(
        self,
        draft: Draft,
        graph: Graph,
        placed: Sequence[Placed],
        sequence: int,
        also: Callable[[Any], Awaitable[None]],
    ) -> None:
        now = self._clock()
        units = self._outbox.messages(draft.entries, {INGEST_STREAM: sequence})
        conclusions = [(item.event_id, conclusion) for item in placed for conclusion in item.conclusions]

        async def write_views(connection: Any, records: Any) -> None:
            first = records[0].pos if records else 0
            await views.apply(connection, conclusions, graph, draft.versions, (first, now))
            await views.remember(connection, [item.event_id for item in placed])
            await also(connection)
            await self._outbox.put(connection, units, now)

        await self._writer.append(draft.own, {INGEST_STREAM: sequence}, write_views)
        self._next_founding_number = max(self._next_founding_number, graph.next_founding_number)
        self._outbox.committed(units)
        self._progress.advance("ingest", sequence)
        self._progress.advance("customer", self._outbox.next_number - 1)
        self.on_committed()


ACTIVITIES: dict[str, EventType] = {
    "identify": events.IDENTIFIED,
    "track": events.TRACKED,
    "page": events.PAGE_VIEWED,
    "screen": events.SCREEN_VIEWED,
    "group": events.GROUPED,
    "alias": events.ALIASED,
}


def _activity_entry(item: Placed, key: DataKey) -> Entry:
    event = item.event
    public = events.Activity(
        source=event.source,
        resolved_by=item.resolved_by,
        original_at=event.original_at,
        sent_at=event.sent_at,
        received_at=event.received_at,
    )
    return make_entry(ACTIVITIES[event.kind], item.customer, item.event_id, event.occurred_at, public, _personal(event), key)


def _personal(event: RawEvent) -> Personal:
    match event.kind:
        case "identify":
            return events.Identified(traits=event.traits, context=event.context)
        case "track":
            return events.Tracked(name=event.name, properties=event.properties, context=event.context)
        case "page" | "screen":
            return events.Viewed(name=event.name, category=event.category, properties=event.properties, context=event.context)
        case "group":
            return events.Grouped(group_id=event.target_id, traits=event.traits, context=event.context)
        case "alias":
            return events.Aliased(previous_id=event.target_id, context=event.context)
