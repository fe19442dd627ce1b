"""What events bring into the graph: all of it within their unit, but for what hangs together with too much (`graph/gathering`).

That waits (`settling`). Its events stand where they always will: with the customer of what they resolve by, founded here.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from services.identity.drafting import Drafting
from services.identity.graph.conclude import Conclusion, Founded, Linked
from services.identity.graph.facts import Evidence, Node
from services.identity.graph.founding import found, joined_by
from services.identity.graph.gathering import Group, gathered, is_small
from services.identity.graph.region import Seen, Settled
from services.identity.graph.resolve import Partition
from services.identity.graph_writer import GraphWriter
from services.identity.tables import bounds, placing, regions, waiting
from services.identity.tables.bounds import PAGE_UNSETTLED, RegionTooLarge
from services.identity.tables.regions import Loaded
from shared.identifiers import Identifier
from shared.ids import NewId
from shared.instants import Clock
from shared.log import Record


@dataclass(slots=True)
class Taken:
    """`resolved` is the earliest event at hand that resolves by an identifier. Of those in `waits`, by event id, customers are in `apart`."""

    loaded: Loaded = field(default_factory=Loaded)
    settled: Settled | None = None
    apart: Loaded = field(default_factory=Loaded)
    founded: Settled | None = None
    waits: dict[bytes, Seen] = field(default_factory=dict)
    resolved: dict[Node, Evidence] = field(default_factory=dict)
    stirred: set[bytes] = field(default_factory=set)  # questions that rest, about those with whom the events stand

    def conclusions(self) -> list[Conclusion]:
        return [conclusion for settled in (self.settled, self.founded) if settled for conclusion in settled.conclusions]

    def linked_to(self) -> set[bytes]:
        """The customers whose keys it takes."""
        return {one.customer for one in self.conclusions() if isinstance(one, Linked)}

    def founded_customers(self) -> set[bytes]:
        return {one.customer for one in self.conclusions() if isinstance(one, Founded)}

    def own(self) -> dict[Node, bytes]:
        """Customers, by what founded them."""
        return self.loaded.elsewhere | self.apart.region.known.own | self.loaded.region.known.own

    @property
    def next_founding_number(self) -> int:
        return max(self.loaded.region.known.next_founding_number, self.apart.region.known.next_founding_number)


class Intake:
    def __init__(self, pool: Any, graph: GraphWriter, clock: Clock, new_id: NewId) -> None:
        self._pool = pool
        self._graph = graph
        self._clock = clock
        self._new_id = new_id

    async def take(self, news: Sequence[Seen]) -> Taken:
        """What events that aren't known yet change; nothing is written."""
        taken = Taken()
        for one in news:
            taken.resolved[one.resolving] = min(one.evidence, taken.resolved.get(one.resolving, one.evidence))
        groups = gathered(news, {}, ())
        busy = self._graph.busy()  # who begins to be settled from here on is looked at anew
        free = busy.isdisjoint(node.value_hash for one in news for node in one.nodes)
        if free and all(is_small(group, {}, {}, self._graph.most) for group in groups):
            with suppress(RegionTooLarge):
                taken.loaded, taken.settled = await self._graph.settle(news, self._graph.bound(len(groups), busy, PAGE_UNSETTLED))
                return taken
        small = {one for group in await self._small(news, busy) for one in group}
        now = [one for one in news if one in small]  # as they came
        taken.waits = {one.evidence.event_id: one for one in news if one not in small}
        if now:
            taken.loaded, taken.settled = await self._graph.settle(now, self._graph.bound(None, busy))
        await self._place(taken)
        return taken

    async def draft(
        self, taken: Taken, values: Mapping[bytes, Identifier], sources: Mapping[bytes, str], drafting: Drafting
    ) -> list[waiting.Waiting]:
        """As `GraphWriter.draft`; what of it waits."""
        for loaded, settled in ((taken.loaded, taken.settled), (taken.apart, taken.founded)):
            if settled is not None:
                await self._graph.draft(loaded, settled, taken.resolved, values, drafting)
        own, now = taken.own(), self._clock()
        said = {value_hash: identifier.value for value_hash, identifier in values.items()}
        return [
            waiting.waiting(one, said, own[one.resolving], drafting.keys[own[one.resolving]], sources[event_id], now)
            for event_id, one in taken.waits.items()
            if len(one.nodes) > 1
        ]

    async def save(
        self, connection: Any, taken: Taken, drafting: Drafting, rows: Sequence[waiting.Waiting], records: Sequence[Record]
    ) -> None:
        """In the transaction that appends what was drafted."""
        if taken.founded is not None:
            await self._graph.save_founded(connection, taken.apart, taken.founded)
            await waiting.put(connection, rows)
        if taken.settled is not None:
            await self._graph.save(connection, taken.loaded, taken.settled, drafting, records)
        await self._graph.save_woken(connection, taken.stirred - taken.loaded.resting.keys())

    async def _small(self, news: Sequence[Seen], busy: frozenset[bytes]) -> list[Group]:
        """By what is stored: what hangs together with few, and loads no more than they are."""
        hashes = {node.value_hash for one in news for node in (*one.nodes, one.resolving)}
        rows = await regions.identifiers_of(self._pool, hashes)
        component_of = {Node(row["namespace"], row["value_hash"]): row["component"] for row in rows if row["component"]}
        founding = {one.resolving.value_hash for one in news}
        outside = {
            Node(row["namespace"], row["value_hash"])
            for row in regions.outside(rows, news)
            if row["resolving"] or row["value_hash"] not in founding
        }
        sizes = await bounds.sizes(self._pool, set(component_of.values()), self._graph.most)
        small = []
        inside = {node: component for node, component in component_of.items() if node not in outside}
        for group in gathered(news, inside, outside):
            nodes = {node for one in group for node in one.nodes if node not in outside}
            if is_small(group, inside, sizes, self._graph.most) and not any(node.value_hash in busy for node in nodes):
                small.append(group)
        return await self._fitting(small, busy)

    async def _fitting(self, groups: list[Group], busy: frozenset[bytes]) -> list[Group]:
        """Of these, those that lead to no more by what they share with others, or by what is looked at again."""
        if not groups:
            return []
        try:
            await self._graph.load([one for group in groups for one in group], self._graph.bound(len(groups), busy))
        except RegionTooLarge:
            half = len(groups) // 2
            return [*await self._fitting(groups[:half], busy), *await self._fitting(groups[half:], busy)] if half else []
        return groups

    async def _place(self, taken: Taken) -> None:
        """Founds customers for what waits."""
        came = list(dict.fromkeys(one.resolving for one in taken.waits.values()))
        nodes = set(came)
        number = max(taken.loaded.region.known.next_founding_number, self._graph.ledger.next_founding_number)
        taken.apart = apart = await placing.load(self._pool, nodes, number)
        known, resolving = apart.region.known, set(apart.region.resolving)
        conclusions = found(known, came, self._new_id)
        apart.region.resolving |= nodes
        for node in nodes - resolving - apart.region.component_of.keys():
            if node not in apart.region.shared and node not in apart.region.contested:
                apart.region.component_of[node] = self._new_id()
        apart.said_anew = {node: taken.resolved[node] for node in nodes}
        partition = Partition(links=joined_by(conclusions, known, taken.resolved))
        taken.founded = Settled(conclusions, partition, set(), {*nodes - resolving, *_linked(conclusions)}, set())


def _linked(conclusions: Iterable[Conclusion]) -> set[Node]:
    return {one.node for one in conclusions if isinstance(one, Linked)}
