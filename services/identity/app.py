"""Identity's use cases: unify a unit of events, and replay what was parked."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from services.identity import erasures, views
from services.identity.domain import (
    Conclusion,
    Founded,
    Graph,
    Linked,
    Merged,
    Proposed,
    Sighting,
    Suppression,
    admit,
    decide,
)
from services.identity.erasure import Erasure
from services.identity.erasure import evolve as evolve_erasure
from services.identity.ledger import IDENTITY_PARTITION, Also, Ledger
from shared.events import customer as events
from shared.events.catalogue import Entry, EventType, make_entry
from shared.events.erasure import REIMPORT_REFUSED, ReimportRefused
from shared.events.promotion import identifiers_of
from shared.events.wire import RawEvent, event_id_of
from shared.identifiers import Identifier, hash_of
from shared.ids import NewId
from shared.instants import Clock
from shared.log.writer import Versioned
from shared.parked import Parked
from shared.privacy import Personal
from shared.telemetry import EVENTS_APPLIED, EVENTS_DUPLICATE, EVENTS_SUPPRESSED, UNIT_EVENTS, UNIT_SECONDS
from shared.vault import DataKey, Vault


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
    erasures: list[Erasure] = field(default_factory=list)  # that had events to refuse
    messages: list[bytes] = field(default_factory=list)  # refused, by event id

    def conclude(self, entry: Entry) -> None:
        self.versions[entry.stream] = self.versions.get(entry.stream, 0) + 1
        self.own.append(Versioned(IDENTITY_PARTITION, self.versions[entry.stream], entry))
        self.entries.append(entry)


class Unifier:
    """The single writer of the graph."""

    def __init__(self, pool: Any, ledger: Ledger, vault: Vault, clock: Clock, new_id: NewId) -> None:
        self._pool = pool
        self._ledger = ledger
        self._vault = vault
        self._clock = clock
        self._new_id = new_id

    async def load(self) -> int:
        """Up to where INGEST is consumed."""
        async with self._ledger.turn():
            return self._ledger.consumed

    async def unify(self, raw: Sequence[RawEvent], sequence: int, parked: Sequence[Parked]) -> None:
        """Finds each event's customer and commits conclusions, hand-over, what is parked and the consumed position as one."""

        async def park(connection: Any) -> None:
            await self._ledger.parked.put(connection, parked)

        async with self._ledger.turn():
            await self._unify(raw, sequence, park)

    async def replay(self, raw: Sequence[RawEvent], parked: Parked) -> int:
        """Unifies the events of a parked message as if they had come now; the number of the unit. Raises NotParked."""

        async def take(connection: Any) -> None:
            await self._ledger.parked.take(connection, parked.parked_id)

        async with self._ledger.turn():
            await self._unify(raw, self._ledger.consumed, take)
            return self._ledger.next_unit - 1

    async def _unify(self, raw: Sequence[RawEvent], sequence: int, also: Also) -> None:
        with UNIT_SECONDS.labels("identity").time():
            fresh = await self._not_seen(raw)
            graph, placed, versions, refusals = await self._place(fresh)
            draft = await self._draft(graph, placed, versions)
            await self._refuse(draft, refusals)
            await self._commit(draft, graph, placed, sequence, also)
        UNIT_EVENTS.labels("identity").observe(len(raw))
        EVENTS_APPLIED.labels("identity").inc(len(placed))
        EVENTS_DUPLICATE.labels("identity").inc(len(raw) - len(fresh))
        EVENTS_SUPPRESSED.inc(len(refusals))

    async def _not_seen(self, raw: Sequence[RawEvent]) -> dict[bytes, RawEvent]:
        """By event id, which follows from source and message id: a repeated message is the same event."""
        by_id: dict[bytes, RawEvent] = {}
        for event in raw:
            by_id.setdefault(event_id_of(event.source, event.message_id), event)
        for event_id in await self._ledger.seen.known(by_id.keys()) if by_id else ():
            del by_id[event_id]
        return by_id

    async def _place(
        self, fresh: dict[bytes, RawEvent]
    ) -> tuple[Graph, list[Placed], dict[bytes, int], list[tuple[bytes, Suppression]]]:
        """The last are (event id, suppression) of the events that are about someone who was erased."""
        sightings = [self._sighting(event_id, event) for event_id, event in fresh.items()]
        graph, versions = await views.load_graph(self._pool, sightings, self._ledger.next_founding_number)
        placed, refusals = [], []
        for seen, event in zip(sightings, fresh.values(), strict=True):
            sighting = admit(graph, seen)
            if isinstance(sighting, Suppression):
                refusals.append((seen.event_id, sighting))
                continue
            customer, conclusions = decide(graph, sighting, self._new_id)
            placed.append(Placed(event, sighting.event_id, sighting.identifiers[0][0], customer, conclusions))
        return graph, placed, versions, refusals

    def _sighting(self, event_id: bytes, event: RawEvent) -> Sighting:
        # An event without any usable identifier was accepted all the same: it founds a customer of its own.
        identifiers = identifiers_of(event) or [Identifier("event", event_id.hex())]
        hashed = [(hash_of(identifier, self._vault.lookup_key), identifier) for identifier in identifiers]
        return Sighting(event_id, hashed, min(event.occurred_at, event.received_at))

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

    async def _refuse(self, draft: Draft, refusals: Sequence[tuple[bytes, Suppression]]) -> None:
        """What is dropped is counted in the log of its erasure, and never seen again."""
        dropped = Counter(suppression.erasure_id for _, suppression in refusals)
        for erasure in await erasures.get(self._pool, dropped) if dropped else ():
            event = ReimportRefused(events=dropped[erasure.erasure_id])
            entry = make_entry(REIMPORT_REFUSED, erasure.erasure_id, self._new_id(), self._clock(), event)
            draft.own.append(Versioned(IDENTITY_PARTITION, erasure.version + 1, entry))
            draft.erasures.append(evolve_erasure(erasure, event, entry.occurred_at))
        draft.messages += [event_id for event_id, _ in refusals]

    async def _commit(
        self,
        draft: Draft,
        graph: Graph,
        placed: Sequence[Placed],
        sequence: int,
        also: Also,
    ) -> None:
        now = self._clock()
        conclusions = [(item.event_id, conclusion) for item in placed for conclusion in item.conclusions]

        async def write_views(connection: Any, records: Any) -> None:
            first = records[0].pos if records else 0
            await views.apply(connection, conclusions, graph, draft.versions, (first, now))
            await self._ledger.seen.remember(connection, draft.messages + [item.event_id for item in placed])
            await also(connection)
            for erasure in draft.erasures:
                await erasures.save(connection, erasure)

        await self._ledger.commit(draft.own, draft.entries, sequence, write_views)
        self._ledger.next_founding_number = max(self._ledger.next_founding_number, graph.next_founding_number)


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
        flags=event.flags,
    )
    return make_entry(ACTIVITIES[event.kind], item.customer, item.event_id, event.occurred_at, public, _personal(event), key)


def _personal(event: RawEvent) -> Personal:
    match event.kind:
        case "identify":
            return events.Identified(traits=event.traits, context=event.context, raw=event.raw, extra=event.extra)
        case "track":
            return events.Tracked(
                name=event.name, properties=event.properties, context=event.context, raw=event.raw, extra=event.extra
            )
        case "page" | "screen":
            return events.Viewed(
                name=event.name,
                category=event.category,
                properties=event.properties,
                context=event.context,
                raw=event.raw,
                extra=event.extra,
            )
        case "group":
            return events.Grouped(
                group_id=event.target_id, traits=event.traits, context=event.context, raw=event.raw, extra=event.extra
            )
        case "alias":
            return events.Aliased(previous_id=event.target_id, context=event.context, extra=event.extra)
