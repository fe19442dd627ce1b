"""What other rules or a decision would change: the pure function on copies of what is stored, in pages; nothing is written."""

from collections.abc import AsyncGenerator, Callable, Collection
from typing import Any, NamedTuple

from services.identity.domain.decision import Cut, Kind
from services.identity.graph.difference import Difference, difference
from services.identity.graph.facts import pair
from services.identity.graph.region import Region
from services.identity.graph.rules import Rules
from services.identity.tables import regions, resettling, sharing
from services.identity.tables.regions import Loaded
from shared.ids import NewId
from shared.store.pool import snapshot

PAGE_IDENTIFIERS = 200  # and what their components hold besides: bounds memory, and how long the loop is kept
KNOWN_VERDICTS = 100_000  # on shared identifiers, about 100 bytes each

Take = Callable[[Loaded], Cut]  # adds a decision to the facts, or refuses


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

    async def rules(self, rules: Rules) -> AsyncGenerator[Progress, None]:
        """Page by page; the last one has everything. Raises TooLarge (REGION_TOO_LARGE)."""
        found, verdicts, done, settled_to = Difference(), dict[bytes, bool](), 0, b""
        total = await resettling.count(self._pool)
        yield Progress(0, total, found)
        while page := await resettling.page_after(self._pool, settled_to, PAGE_IDENTIFIERS):
            async with snapshot(self._pool) as connection:
                loaded = await self._closed(connection, page, rules, verdicts)
            found.add(difference(loaded.region, rules, self._new_id, within=(settled_to, page[-1])))
            done, settled_to = done + len(page), page[-1]
            yield Progress(done, max(done, total), found)

    async def decision(self, touched: Collection[bytes], kind: Kind, take: Take, rules: Rules) -> Difference:
        """Of a decision about these value hashes, under the rules in force. Raises what `take` does."""
        async with snapshot(self._pool) as connection:
            loaded = await regions.load(connection, touched, 0, rules)
        decided = pair(*take(loaded))
        loaded.undecide(kind, decided)

        def amend(region: Region) -> None:
            (region.facts.forced if kind == "merge" else region.facts.forbidden).add(decided)

        return difference(loaded.region, rules, self._new_id, amend)

    async def _closed(self, connection: Any, page: list[bytes], rules: Rules, verdicts: dict[bytes, bool]) -> Loaded:
        """Whole components, of what links now and of what would under these rules."""
        if len(verdicts) > KNOWN_VERDICTS:
            verdicts.clear()
        returning: set[bytes] = set()
        while True:
            loaded = await regions.load(connection, page, 0, rules, returning)
            shared = {node.value_hash for node in loaded.region.shared} - returning
            if asked := shared - verdicts.keys():
                back = await sharing.returning(connection, asked, rules)
                await sharing.check_sizes(connection, back)
                verdicts |= dict.fromkeys(asked, False) | dict.fromkeys(back, True)
            more = {value_hash for value_hash in shared if verdicts[value_hash]} | regions.crowded(loaded.region) - returning
            if not more:
                return loaded
            returning |= more
