"""Identity's use cases: unify a unit of events, and replay what was parked."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.identity.activities import Placed, activity_entry, statements_of
from services.identity.domain.erasure import evolve as evolve_erasure
from services.identity.domain.familiar import Familiar
from services.identity.domain.sighting import Sighting, Suppression, Understanding, admit
from services.identity.drafting import Drafting
from services.identity.graph.facts import Evidence, Node
from services.identity.graph.region import Seen, earliest_of
from services.identity.graph_writer import GraphWriter
from services.identity.intake import Intake, Taken
from services.identity.ledger import IDENTITY_PARTITION, Also, Ledger
from services.identity.tables import alone, erasures, known
from services.identity.tables.waiting import Waiting
from shared.events.catalogue import make_entry
from shared.events.erasure import REIMPORT_REFUSED, ReimportRefused
from shared.events.said import seal
from shared.events.wire import INGEST_STREAM, Batch, RawEvent, Statement, encode, event_id_of
from shared.evidence_key import EvidenceKey
from shared.identifiers import Identifier
from shared.ids import NewId
from shared.instants import END_OF_TIME, Clock
from shared.log.writer import Versioned
from shared.parked import Parked
from shared.telemetry import EVENTS_APPLIED, EVENTS_DUPLICATE, EVENTS_PARKED, EVENTS_SUPPRESSED, UNIT_EVENTS, UNIT_SECONDS, logger
from shared.vault import DataKey, EnvelopeBroken, Vault

log = logger("identity")

CUSTOMER_KEY_LOST = "CUSTOMER_KEY_LOST"


@dataclass(slots=True)
class Unit:
    """A unit being made: what is new in the graph, the events in their places, and what is refused."""

    taken: Taken = field(default_factory=Taken)
    placed: list[Placed] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)  # of what is placed
    refusals: list[tuple[bytes, Suppression]] = field(default_factory=list)  # (event id, why)
    news: set[bytes] = field(default_factory=set)  # events that say what wasn't known, the first that says so
    values: dict[bytes, Identifier] = field(default_factory=dict)  # of what they name
    suppressions: dict[bytes, Suppression] = field(default_factory=dict)  # of all that isn't familiar
    alone: dict[bytes, int] = field(default_factory=dict)  # when what resolves was seen, by events that are in no sighting
    fresh: dict[tuple[Node, ...], tuple[Evidence, bytes]] = field(default_factory=dict)  # to be remembered

    def written_to(self) -> set[bytes]:
        """The customers whose keys it takes, but for those that it founds."""
        return self.taken.linked_to().union(item.customer for item in self.placed) - self.taken.founded_customers()

    def take_alone(self, seen: Iterable[Seen], before: Mapping[bytes, int]) -> None:
        """What waits to be settled is in no sighting yet. `before` is known already."""
        for one in seen:
            if len(one.nodes) == 1 or one.by is not None or one.evidence.event_id in self.taken.waits:
                found, at = one.resolving.value_hash, one.evidence.occurred_at
                if at < min(before.get(found, END_OF_TIME), self.alone.get(found, END_OF_TIME)):
                    self.alone[found] = at
        self.taken.loaded.alone = self.taken.apart.alone = self.alone


class Unifier:
    """Events come in here; `graph` is also written by what is no event."""

    def __init__(self, pool: Any, ledger: Ledger, vault: Vault, clock: Clock, new_id: NewId) -> None:
        self._pool = pool
        self._ledger = ledger
        self._vault = vault
        self._clock = clock
        self._new_id = new_id
        self.graph = GraphWriter(pool, ledger, vault, clock, new_id)
        self._intake = Intake(pool, self.graph, clock, new_id)
        self._familiar = Familiar()
        self._understanding = Understanding(vault.lookup_key)
        self._evidence_key = EvidenceKey(vault.lookup_key).data_key

    async def load(self) -> int:
        """Up to where INGEST is consumed."""
        async with self._ledger.turn():
            return self._ledger.consumed

    async def unify(self, raw: Sequence[RawEvent], sequence: int, parked: Sequence[Parked]) -> None:
        """Finds each event's customer and commits conclusions, hand-over, what is parked and the consumed position as one.

        An event of a customer whose key is there and can't be unwrapped is parked. Raises Halted (POISON_RUN).
        """
        aside = list(parked)

        async def park(connection: Any) -> None:
            await self._ledger.parked.put(connection, aside)

        async with self._ledger.turn():
            try:
                await self._unify(raw, sequence, park)
            except EnvelopeBroken:  # before anything was written
                aside += await self._unify_what_can_be(raw, sequence)
                await self._unify([], sequence, park)

    async def replay(self, raw: Sequence[RawEvent], parked: Parked) -> int:
        """Unifies the events of a parked message as if they had come now; the number of the unit.

        Raises NotParked, and EnvelopeBroken when a customer's key can't be unwrapped.
        """

        async def take(connection: Any) -> None:
            await self._ledger.parked.take(connection, parked.parked_id)

        async with self._ledger.turn():
            await self._unify(raw, self._ledger.consumed, take)
            return self._ledger.next_unit - 1

    def forget(self) -> None:
        """Something was erased: what it was known by is looked up again."""
        self._familiar.clear()
        self._understanding.clear()
        self.graph.forget()

    async def _unify(self, raw: Sequence[RawEvent], sequence: int, also: Also) -> None:
        with UNIT_SECONDS.labels("identity").time():
            fresh = await self._not_seen(raw)
            unit, keys = await self._place_all(fresh)
            drafting = Drafting(keys=keys)
            sources = {event_id: event.source for event_id, event in fresh.items()}
            waits = await self._intake.draft(unit.taken, unit.values, sources, drafting)
            for item in unit.placed:
                drafting.entries.append(activity_entry(item, drafting.keys[item.customer]))
            await self._refuse(drafting, unit.refusals)
            await self._commit(drafting, unit, waits, sequence, also)
        UNIT_EVENTS.labels("identity").observe(len(raw))
        EVENTS_APPLIED.labels("identity").inc(len(unit.placed))
        EVENTS_DUPLICATE.labels("identity").inc(len(raw) - len(fresh))
        EVENTS_SUPPRESSED.inc(len(unit.refusals))

    async def _unify_what_can_be(self, raw: Sequence[RawEvent], sequence: int, part: int = 1) -> list[Parked]:
        """Halves the unit until what can't be sealed is alone; that is set aside. `part` numbers what is in the unit."""
        try:
            await self._unify(raw, self._ledger.consumed, _nothing)
        except EnvelopeBroken:
            if len(raw) == 1:
                return [await self._set_aside(raw[0], sequence, part)]
            half = len(raw) // 2
            first = await self._unify_what_can_be(raw[:half], sequence, part)
            return first + await self._unify_what_can_be(raw[half:], sequence, part + half)
        self._ledger.run.good()
        return []

    async def _set_aside(self, event: RawEvent, sequence: int, part: int) -> Parked:
        epoch, key = await self._vault.epoch_key(self._clock())
        event_id, run = event_id_of(event.source, event.message_id), self._ledger.run.poison()
        log.error("parked an event of a customer whose key can't be unwrapped", sequence=sequence, part=part)
        EVENTS_PARKED.labels("identity").inc()
        data = encode(Batch(epoch, 1, key.seal(encode([event]), epoch)))
        return Parked(
            stream=INGEST_STREAM,
            sequence=sequence,
            part=part,
            reason=CUSTOMER_KEY_LOST,
            data=data,
            event_id=event_id,
            epoch=epoch,
            run=run,
        )

    async def _not_seen(self, raw: Sequence[RawEvent]) -> dict[bytes, RawEvent]:
        """By event id, which follows from source and message id: a repeated message is the same event."""
        by_id: dict[bytes, RawEvent] = {}
        for event in raw:
            by_id.setdefault(event_id_of(event.source, event.message_id), event)
        for event_id in await self._ledger.seen.known(by_id.keys()) if by_id else ():
            del by_id[event_id]
        return by_id

    async def _place_all(self, fresh: dict[bytes, RawEvent]) -> tuple[Unit, dict[bytes, DataKey]]:
        """And the keys of those that are written to. Of a customer whose key is destroyed nothing is taken, as of one that is
        erased: data that is restored from a backup may not know of it yet (`Eraser` closes it).

        Raises EnvelopeBroken when a key is missing all the same.
        """
        gone: dict[bytes, Suppression] = {}
        while True:
            unit = await self._place(fresh, gone)
            wanted = unit.written_to()
            keys = await self._vault.keys(wanted)
            if len(keys) == len(wanted):
                return unit, keys
            more = await self._of_destroyed(wanted - keys.keys())
            if more.keys() <= gone.keys():
                raise EnvelopeBroken("a customer has no key")
            gone |= more

    async def _of_destroyed(self, customers: Collection[bytes]) -> dict[bytes, Suppression]:
        """By identifier hash. What was asked for when they were erased isn't known here, so nothing of theirs comes back."""
        destroyed = await self._vault.destroyed(customers)
        hashes = await erasures.identifiers_of(self._pool, destroyed)
        return {h: Suppression(b"", "refuse", at) for customer, at in destroyed.items() for h in hashes[customer]}

    async def _place(self, fresh: dict[bytes, RawEvent], gone: Mapping[bytes, Suppression]) -> Unit:
        """An event belongs to its strongest identifier's customer, whoever that turns out to be joined with."""
        unit = Unit()
        sightings = self._understanding.sightings_of(fresh, self.graph.rules)
        seen = {sighting.event_id: sighting.seen() for sighting in sightings}
        familiar = self._familiar.customers_of(seen)
        sightings = await self._admit(sightings, familiar, unit, gone)
        if unit.suppressions:
            seen = {sighting.event_id: sighting.seen() for sighting in sightings}
            familiar = self._familiar.customers_of(seen)
        customer_of = await self._settle(seen, familiar, unit)
        for sighting in sightings:
            if sighting.event_id in unit.news:
                unit.values |= sighting.values()
        unit.taken.loaded.sources = {event_id: fresh[event_id].source for event_id in seen}
        for event_id, one in seen.items():
            resolving = one.resolving
            others = tuple([node.value_hash for node in one.nodes if node != resolving])
            unit.placed.append(Placed(fresh[event_id], event_id, resolving.value_hash, others, customer_of[event_id]))
            unit.statements += statements_of(event_id, fresh[event_id], one, self.graph.rules)
        return unit

    async def _admit(
        self, sightings: list[Sighting], familiar: Collection[bytes], unit: Unit, gone: Mapping[bytes, Suppression]
    ) -> list[Sighting]:
        """What was erased may have been seen often before, so this comes first. Nothing that is familiar is suppressed."""
        unsure = [sighting for sighting in sightings if sighting.event_id not in familiar]
        hashes = {value_hash for sighting in unsure for value_hash, _ in sighting.identifiers}
        unit.suppressions = (await erasures.suppressions(self._pool, hashes) if hashes else {}) | dict(gone)
        if not unit.suppressions:
            return sightings
        admitted = []
        for sighting in sightings:
            found = admit(unit.suppressions, sighting, self.graph.rules)
            if isinstance(found, Suppression):
                unit.refusals.append((sighting.event_id, found))
            else:
                admitted.append(found)
        return admitted

    async def _settle(self, seen: dict[bytes, Seen], familiar: dict[bytes, bytes], unit: Unit) -> dict[bytes, bytes]:
        """{event id: customer}. What was seen like this before changes nothing, unless a question waits for who is seen; the rest changes
        a region of the graph.
        """
        resting = await self._ledger.resting.about({one.resolving.value_hash for one in seen.values()})
        stirring = {event_id for event_id, one in seen.items() if one.resolving.value_hash in resting} if resting else set()
        customer_of = {event_id: found for event_id, found in familiar.items() if event_id not in stirring}
        rest = {event_id: one for event_id, one in seen.items() if event_id not in customer_of}
        stored = await known.known(self._pool, list(rest.values())) if rest else known.Known({}, {})
        customer_of |= {event_id: customer for event_id, customer in stored.customers.items() if event_id not in stirring}
        news = earliest_of(one for event_id, one in rest.items() if event_id not in customer_of)
        if news:
            unit.news = {one.evidence.event_id for one in news}
            unit.taken = await self._intake.take(news)
            own = unit.taken.own()
            customer_of |= {event_id: own[one.resolving] for event_id, one in rest.items() if event_id not in customer_of}
            unit.taken.loaded.here = set(customer_of.values())
            unit.taken.stirred = set().union(*resting.values())
        fresh = earliest_of(rest.values())
        unit.take_alone(fresh, stored.alone)
        for one in fresh:
            if one.by is not None:
                continue  # nothing else resolves by this event
            evidence = unit.taken.loaded.region.facts.together.get(frozenset(one.nodes), one.evidence)
            unit.fresh[one.nodes] = min(evidence, one.evidence), customer_of[one.evidence.event_id]
        return customer_of

    async def _refuse(self, drafting: Drafting, refusals: Sequence[tuple[bytes, Suppression]]) -> None:
        """What is dropped is counted in the log of its erasure, and never seen again."""
        dropped = Counter(suppression.erasure_id for _, suppression in refusals)
        for erasure in await erasures.get(self._pool, dropped) if dropped else ():
            event = ReimportRefused(events=dropped[erasure.erasure_id])
            entry = make_entry(REIMPORT_REFUSED, erasure.erasure_id, self._new_id(), self._clock(), event)
            drafting.own.append(Versioned(IDENTITY_PARTITION, erasure.version + 1, entry))
            drafting.erasures.append(evolve_erasure(erasure, event, entry.occurred_at))

    async def _commit(self, drafting: Drafting, unit: Unit, waits: Sequence[Waiting], sequence: int, also: Also) -> None:
        refused = [event_id for event_id, _ in unit.refusals]
        messages = refused + [item.event_id for item in unit.placed]

        async def write_views(connection: Any, records: Any) -> None:
            await self._intake.save(connection, unit.taken, drafting, waits, records)
            await alone.keep(connection, unit.alone, self._ledger.recording)
            await self._ledger.seen.remember(connection, messages)
            await also(connection)
            for erasure in drafting.erasures:
                await erasures.save(connection, erasure)

        number = unit.taken.next_founding_number
        statements = seal(unit.statements, self._evidence_key)
        await self._ledger.commit(drafting.own, drafting.entries, sequence, write_views, refused, number, statements)
        self._familiar.remember(unit.fresh, unit.suppressions)
        if waits or unit.taken.stirred:
            self.graph.tell_behind()


async def _nothing(_: Any) -> None:
    """Nothing else is part of the transaction."""
