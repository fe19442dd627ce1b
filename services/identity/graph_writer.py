"""The single writer of the graph: what settles a region of it and writes down what that concludes.

Events come through `settle` and `draft`, in a unit (`intake`); whatever else changes facts or rules comes through `resettle`. All of
it belongs into a turn of the ledger, but for what is settled behind the events (`settling`): that tells by a `Flight` what it is at.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.identity.domain.flight import Flight
from services.identity.drafting import Drafting, draft_conclusions
from services.identity.graph.causes import NOBODY
from services.identity.graph.facts import Evidence, Node
from services.identity.graph.gathering import MOST_WITHIN_A_UNIT
from services.identity.graph.region import Seen, Settled, settle
from services.identity.graph.rules import Rules
from services.identity.ledger import Also, Ledger
from services.identity.tables import bounds, region_saving, regions, resting, views
from services.identity.tables.bounds import Bound, RegionTooLarge
from services.identity.tables.regions import Loaded
from shared.events.catalogue import Entry
from shared.identifiers import Identifier
from shared.ids import NewId
from shared.instants import Clock
from shared.log import Record
from shared.vault import Vault

# Changes the facts of what is loaded; what it returns is written to customers' streams ahead of what follows from it.
Amend = Callable[[Loaded], Sequence[Entry]]


@dataclass(frozen=True, slots=True)
class Change:
    """By what people decide about those whose value hashes are `touched`.

    `amend` changes the facts of what is loaded, in a thread, and raises what refuses it. What is `told` is written ahead of what follows, in
    the turn in which it and `also` are.
    """

    touched: Collection[bytes]
    amend: Callable[[Loaded], None]
    told: Callable[[Loaded], Awaitable[Sequence[Entry]]]
    also: Also
    cause: Evidence


# Of a region: settling more of them takes more than ten milliseconds, and would keep others from the loop. Traffic has some tens.
AT_ONCE: Final = 200


class GraphWriter:
    """`rules` are those in force, as the ledger loaded them from its log."""

    most: int = MOST_WITHIN_A_UNIT  # identifiers that hang together

    def __init__(self, pool: Any, ledger: Ledger, vault: Vault, clock: Clock, new_id: NewId) -> None:
        self._pool = pool
        self.ledger = ledger
        self._vault = vault
        self._clock = clock
        self._new_id = new_id
        self.flight: Flight | None = None  # at most one
        self.beside = asyncio.Lock()  # held by whose flight it is; nobody waits for it in a turn
        self.tell_behind: Callable[[], None] = lambda: None  # something is left to be settled behind the events

    @property
    def rules(self) -> Rules:
        return self.ledger.rules

    def busy(self) -> frozenset[bytes]:
        """Value hashes of what is being settled behind the events."""
        return self.flight.hashes if self.flight is not None else frozenset()

    def bound(self, parts: int | None, busy: frozenset[bytes], unsettled: int = 0) -> Bound:
        """Of what is settled in a turn, for so many things that need not hang together; None: it was looked at before."""
        return Bound(self.most, None if parts is None else self.most * max(parts, 1), busy, unsettled)

    def forget(self) -> None:
        """Something was erased."""
        if self.flight is not None:
            self.flight.lost = True

    async def load(self, seen: Sequence[Seen], bound: Bound) -> Loaded:
        """Raises RegionTooLarge."""
        touched = {node.value_hash for one in seen for node in one.nodes}
        return await regions.load(self._pool, touched, self.ledger.next_founding_number, self.rules, again=seen, bound=bound)

    async def settle(self, seen: Sequence[Seen], bound: Bound) -> tuple[Loaded, Settled]:
        """What events that aren't known yet change; nothing is written. Raises RegionTooLarge."""
        loaded = await self.load(seen, bound)
        return loaded, await self._settle(loaded, seen)

    async def _settle(self, loaded: Loaded, seen: Sequence[Seen]) -> Settled:
        if len(loaded.region.facts.together) <= AT_ONCE:
            return settle(loaded.region, seen, self.rules, self._new_id)
        return await asyncio.to_thread(settle, loaded.region, seen, self.rules, self._new_id)  # nobody else has this region

    async def draft(
        self,
        loaded: Loaded,
        settled: Settled,
        resolved: Mapping[Node, Evidence],
        values: Mapping[bytes, Identifier],
        drafting: Drafting | None = None,
        cause: Evidence = NOBODY,
    ) -> Drafting:
        """As `draft_conclusions`; goes on with `drafting`."""
        drafting = drafting or Drafting()
        await draft_conclusions(
            drafting,
            loaded,
            settled,
            resolved,
            values,
            self._vault,
            self.ledger.reader,
            self._clock(),
            self._new_id,
            self.rules,
            cause,
        )
        return drafting

    async def save(self, connection: Any, loaded: Loaded, settled: Settled, drafting: Drafting, records: Sequence[Record]) -> None:
        """In the transaction that appends what was drafted."""
        await region_saving.save(connection, loaded, settled, self.ledger.recording)
        self._tell(node.value_hash for node in settled.nodes.union(*settled.sightings))
        now = self._clock()
        if drafting.withdrawn:  # before the new ones: only one is open for two customers
            await views.close_proposals(connection, drafting.withdrawn, "withdrawn", now)
        await resting.wake(connection, drafting.woken, self.ledger.recording)
        await views.amend_proposals(connection, drafting.amended)
        await views.save_proposals(connection, drafting.proposals, records[0].pos if records else 0, now)

    async def save_founded(self, connection: Any, loaded: Loaded, founded: Settled) -> None:
        """Customers for identifiers of which nothing else is settled yet: whoever settles them goes on from there."""
        await region_saving.save(connection, loaded, founded, self.ledger.recording)
        if self.flight is not None:
            self.flight.founded |= {node.value_hash for node in founded.nodes}

    async def save_woken(self, connection: Any, proposal_ids: Collection[bytes]) -> None:
        """Of questions that expired and may be asked again: their two are settled behind the events."""
        left = await resting.leave(connection, proposal_ids, self.ledger.recording)
        if self.flight is not None:
            self.flight.left |= left

    def _tell(self, changed: Iterable[bytes]) -> None:
        if self.flight is not None:
            self.flight.changed.update(changed)

    async def settle_left(self) -> bool:
        """What erasures left unsettled, a page of it; whether there may be more. Events settle it too, as they come.

        What hangs together with too much is left to who settles behind the events.
        """
        async with self.ledger.turn():
            if not await self._pool.fetchval("SELECT EXISTS (TABLE unsettled)"):
                return False
            try:
                loaded = await self._load((), bound=self.bound(bounds.PAGE_UNSETTLED, self.busy(), bounds.PAGE_UNSETTLED))
            except RegionTooLarge:
                loaded = Loaded()
            if loaded.unsettled:
                await self._write(loaded, (), lambda _: (), _nothing)
            else:
                self.tell_behind()
            return bool(loaded.unsettled)

    async def settle_or_leave(self, touched: Collection[bytes], amend: Amend, also: Also) -> None:
        """As `resettle`; what hangs together with too much is left to who settles behind the events, by what `also` writes."""
        large = await self._large(touched)
        try:
            loaded = await self._load(set(touched) - large, bound=self.bound(len(touched), self.busy()))
        except RegionTooLarge:
            large, loaded = set(touched), Loaded()
            loaded.region.known.next_founding_number = self.ledger.next_founding_number

        async def leave(connection: Any) -> None:
            await also(connection)
            await bounds.leave(connection, large)

        await self._write(loaded, set(touched) - large, amend, leave)
        if large:
            self.tell_behind()
            if self.flight is not None:
                self.flight.left |= large

    async def resettle(
        self, touched: Collection[bytes], amend: Amend, also: Also, *, cause: Evidence = NOBODY, reconsider: Collection[bytes] = ()
    ) -> None:
        """Changes the graph without events, in one transaction with `also`; `touched` are value hashes.

        `cause` is when and by what (a decision, a version of the rules) that is changed which no event explains. What
        `reconsider` names may link otherwise than its component tells: the sightings that it takes part in are looked at again.
        """
        await self._write(await self._load(touched, reconsider), touched, amend, also, cause)

    async def change(self, change: Change, bound: Bound | None) -> bool:
        """Whether it isn't too large for a turn; if it is, nothing was done."""
        try:
            loaded = await self._load(change.touched, bound=bound)
        except RegionTooLarge:
            return False
        await asyncio.to_thread(change.amend, loaded)
        drafting = Drafting()
        for entry in await change.told(loaded):
            drafting.take(loaded.versions, entry)
        await self.write_change(change, loaded, await self._settle(loaded, []), drafting)
        return True

    async def write_change(self, change: Change, loaded: Loaded, settled: Settled, drafting: Drafting) -> None:
        await self.commit(loaded, settled, drafting, change.touched, change.also, change.cause)

    async def _write(self, loaded: Loaded, touched: Collection[bytes], amend: Amend, also: Also, cause: Evidence = NOBODY) -> None:
        drafting = Drafting()
        for entry in amend(loaded):
            drafting.take(loaded.versions, entry)
        await self.commit(loaded, await self._settle(loaded, []), drafting, touched, also, cause)

    async def commit(
        self, loaded: Loaded, settled: Settled, drafting: Drafting, touched: Collection[bytes], also: Also, cause: Evidence
    ) -> None:
        """What follows from what changed without events, in one transaction with `also`."""
        await self.draft(loaded, settled, {}, {}, drafting, cause)

        async def write_views(connection: Any, records: Sequence[Record]) -> None:
            self._tell(touched)
            await also(connection)  # first: what a decision answers is closed before it may be asked anew
            await self.save(connection, loaded, settled, drafting, records)

        number = loaded.region.known.next_founding_number
        await self.ledger.commit(drafting.own, drafting.entries, write_views=write_views, next_founding_number=number)

    async def _load(self, touched: Collection[bytes], reconsider: Collection[bytes] = (), bound: Bound | None = None) -> Loaded:
        """Raises RegionTooLarge."""
        number = self.ledger.next_founding_number
        return await regions.load(self._pool, touched, number, self.rules, reconsider, bound=bound)

    async def _large(self, touched: Collection[bytes]) -> set[bytes]:
        """Of these, what is in components that aren't settled in a turn."""
        rows, busy = await regions.identifiers_of(self._pool, touched), self.busy()
        sizes = await bounds.sizes(self._pool, {row["component"] for row in rows} - {None}, self.most)
        large = {row["value_hash"] for row in rows if sizes.get(row["component"], 0) > self.most}
        return large | busy.intersection(touched)


async def _nothing(_: Any) -> None:
    """Nothing else is part of the transaction."""
