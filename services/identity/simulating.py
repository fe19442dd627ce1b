"""What other rules or a decision would change: the pure function on copies of what is stored, in pages; nothing is written."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Final, NamedTuple

from services.identity import recall, replayed
from services.identity.domain.decision import Act, Kind, are_one
from services.identity.graph.asked_anew import AskedAnew
from services.identity.graph.difference import Difference, Tally, difference
from services.identity.graph.facts import Evidence, Node, pair
from services.identity.graph.ownership import contests
from services.identity.graph.region import Region, settle
from services.identity.graph.rules import Rules
from services.identity.nobody import nobody
from services.identity.recall import NOW, Instants
from services.identity.tables import regions, resettling, sharing
from services.identity.tables.regions import Loaded
from services.identity.taking import take
from shared.ids import NewId
from shared.instants import END_OF_TIME
from shared.store.pool import snapshot

PAGE_IDENTIFIERS = 200  # and what their components hold besides: bounds memory, and how long the loop is kept
KNOWN_VERDICTS = 100_000  # on shared identifiers, about 100 bytes each

NOT_DECIDED: Final = Evidence(0, bytes(16))  # no event tells of it


class Progress(NamedTuple):
    """How many of how many identifiers were looked at, and what was found so far."""

    identifiers: int
    of: int
    found: Difference


class Simulation:
    """`pool`'s search path names identity's schema."""

    def __init__(self, pool: Any, new_id: NewId) -> None:
        self._pool = pool
        self._new_id = new_id

    async def rules(self, rules: Rules, asked: AskedAnew | None = None) -> AsyncGenerator[Progress, None]:
        """Page by page; the last one has everything, and `asked` the questions. Keeps the loop as long as the largest component takes: not for a process
        that answers others (`checks`). Raises TooLarge (REGION_TOO_LARGE)."""
        tally, verdicts, done, page = Tally(), dict[bytes, bool](), 0, [b""]
        total = await resettling.count(self._pool)
        yield Progress(0, total, tally.found)
        while page := await resettling.page_after(self._pool, page[-1], PAGE_IDENTIFIERS):
            loaded = None
            if left := tally.left(page):
                async with snapshot(self._pool) as connection:
                    loaded = await self._closed(connection, left, rules, verdicts)
            settled = tally.take(page, loaded.region if loaded else None, rules, self._new_id)
            if asked is not None and loaded is not None and settled is not None:
                asked.take(loaded.proposals, loaded.resting, settled[0].known, settled[1].partition, rules)
            done += len(page)
            yield Progress(done, max(done, total), tally.found)

    async def decision(
        self, kind: Kind, one: Node, other: Node, rules: Rules, instants: Instants = NOW, former: bool = False
    ) -> Difference:
        """Of a decision about two under these rules; `former`: they aren't in force any more.

        Raises what `take` does; of a past instant also NotFound (as of `nobody`), TooLarge (TOO_MANY_SIGHTINGS).
        """
        async with snapshot(self._pool) as connection:
            if instants == NOW:
                loaded = await regions.load(connection, {one.value_hash, other.value_hash}, 0, rules)
            else:
                loaded = await self._then(connection, (one, other), rules, instants, former)
        if instants != NOW:
            await asyncio.to_thread(self._conclude, loaded.region, rules, instants)
            for end in (one, other):
                if end not in loaded.region.known.links:
                    raise await nobody(self._pool, end, rules, instants, former)
        act: Act = "merge" if kind == "merge" else "split" if are_one(loaded.region, one, other) else "forbid"
        decided = pair(*take(act, loaded, rules, one, other, NOT_DECIDED, move_others=True).cut)
        loaded.undecide(kind, decided)

        def amend(region: Region) -> None:
            (region.facts.forced if kind == "merge" else region.facts.forbidden).add(decided)

        return await asyncio.to_thread(difference, loaded.region, rules, self._new_id, amend)

    async def _then(self, connection: Any, ends: tuple[Node, Node], rules: Rules, instants: Instants, former: bool) -> Loaded:
        """What `regions.load` would have found of what had happened and was known by then, but for what follows from it."""
        recalled = await recall.recall(connection, {e.value_hash for e in ends}, rules, instants, former, between=False)
        facts, shared = recalled.facts, recalled.shared
        inside = (facts.nodes() - shared).union(ends, *facts.forced)
        region = Region(facts, await replayed.concluded_at(connection, inside, instants.known_at), shared)
        region.resolving = await replayed.resolving_among(connection, region.known)
        loaded = Loaded(region)
        for (kind, decided), decision_id in recalled.decisions.items():
            loaded.decide(kind, decided, Evidence(0, decision_id))
        return loaded

    def _conclude(self, region: Region, rules: Rules, instants: Instants) -> None:
        """As of an instant, what these rules make of what had happened by then."""
        region.contested = contests(region.facts, rules, region.shared).open
        if instants.as_of != END_OF_TIME:
            settle(region, [], rules, self._new_id)

    async def _closed(self, connection: Any, page: list[bytes], rules: Rules, verdicts: dict[bytes, bool]) -> Loaded:
        """Whole components, of what links now and of what would under these rules."""
        if len(verdicts) > KNOWN_VERDICTS:
            verdicts.clear()
        returning: set[bytes] = set()
        while True:
            loaded = await regions.load(connection, page, 0, rules, returning)
            edge = await sharing.edge(connection, loaded.region)
            shared = edge.shared - returning
            if asked := shared - verdicts.keys():
                back = await sharing.returning(connection, asked, rules)
                await sharing.check_sizes(connection, back)
                verdicts |= dict.fromkeys(asked, False) | dict.fromkeys(back, True)
            more = {value_hash for value_hash in shared if verdicts[value_hash]}
            more |= (edge.borders | regions.differing(loaded.region)) - returning
            if not more:
                return loaded
            returning |= more
