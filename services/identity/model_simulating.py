"""What another model would change: all records are compared by it, in pages, on copies of what is stored; nothing is written."""

from collections.abc import AsyncGenerator, Collection
from typing import Any

from services.identity.comparing import Comparing
from services.identity.graph.difference import Amend, Tally, unchanged
from services.identity.graph.facts import Match, Node, Pair
from services.identity.graph.region import Region
from services.identity.graph.rules import Rules
from services.identity.matching.blocking import MAX_BLOCK_RECORDS
from services.identity.matching.model import Model
from services.identity.records.likeness import Comparer, Likeness, RecordPair, best
from services.identity.simulating import PAGE_IDENTIFIERS, Progress
from services.identity.tables import record_tables, regions, resettling
from services.identity.tables.regions import Loaded
from shared.errors import TooLarge
from shared.ids import NewId
from shared.store.pool import snapshot
from shared.vault import Vault

MAX_LINKED = 20_000  # identifiers that links of a model would hang together with a page: no model of people makes as many


class ModelSimulation:
    """Compares by the rules that it is given: only what would be a link changes customers."""

    def __init__(self, pool: Any, vault: Vault, new_id: NewId, cap: int = MAX_BLOCK_RECORDS) -> None:
        self._pool = pool
        self._vault = vault
        self._new_id = new_id
        self._cap = cap

    async def run(self, model: Model, rules: Rules) -> AsyncGenerator[Progress, None]:
        """As `Simulation.rules`."""
        comparer = Comparer(model, rules.matching.review_weight, rules.matching.exclusive)
        comparing = Comparing(self._pool, self._vault, comparer, self._cap)
        tally, done, page = Tally(), 0, [b""]
        total = await resettling.count(self._pool)
        yield Progress(0, total, tally.found)
        while page := await resettling.page_after(self._pool, page[-1], PAGE_IDENTIFIERS):
            region: Region | None = None
            amend: Amend = unchanged
            if left := tally.left(page):
                async with snapshot(self._pool) as connection:
                    loaded, likenesses = await _closed(connection, left, comparing, rules)
                region, amend = loaded.region, _matching(loaded, likenesses)
            tally.take(page, region, rules, self._new_id, amend)
            done += len(page)
            yield Progress(done, max(done, total), tally.found)


def _matching(loaded: Loaded, likenesses: dict[RecordPair, Likeness]) -> Amend:
    nodes = loaded.nodes()
    inside = [like for like in likenesses.values() if nodes.keys() >= {like.one, like.other}]

    def amend(region: Region) -> None:
        region.facts.matched = best(inside, nodes)

    return amend


async def _closed(
    connection: Any, page: Collection[bytes], comparing: Comparing, rules: Rules
) -> tuple[Loaded, dict[RecordPair, Likeness]]:
    """Whole components, of what links now and of what would by this model; with all that their records match by it.

    Raises TooLarge (REGION_TOO_LARGE).
    """
    touched, compared, likenesses = set(page), set[bytes](), dict[RecordPair, Likeness]()
    while True:
        loaded = await regions.load(connection, touched, 0, rules)
        fresh = {node.value_hash for node in loaded.region.facts.recorded_by} - compared
        compared |= fresh
        if len(compared) > MAX_LINKED:
            raise TooLarge(
                f"this model would link more than {MAX_LINKED} identifiers to each other",
                reason="REGION_TOO_LARGE",
                most=MAX_LINKED,
            )
        likenesses |= await comparing.likenesses(await record_tables.of_identifiers(connection, fresh))
        nodes = {end: Node("", end) for like in likenesses.values() for end in (like.one, like.other)}
        would = {end.value_hash for ends in _links(best(likenesses.values(), nodes), rules) for end in ends}
        if would <= touched | compared:
            return loaded, likenesses
        touched |= would


def _links(matched: dict[Pair, Match], rules: Rules) -> dict[Pair, Match]:
    """A question leads to nobody who need be loaded, unless its ends are rivals of somebody."""
    if rules.matching.one_per_source:
        return matched
    return {ends: match for ends, match in matched.items() if rules.matching.band(match.weight, match.witnessed_weight) == "link"}
