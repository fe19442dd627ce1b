"""Of whom something was so long ago by now: who follows everybody looks at each of them by then, however much is due at once, and after a break again."""

import asyncio
from bisect import bisect_right
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from services.profile import sliding
from services.profile.following import SLID
from services.profile.sliding import LATEST, SLACK, Sliding
from shared.instants import SECOND

PARTITIONS = 2
DELAYS = (SECOND, 30 * SECOND, 3_600 * SECOND)


class Log:
    """When each event of each partition was recorded; each is of a stream of its own."""

    def __init__(self, recorded: list[list[int]]) -> None:
        self.recorded = [sorted(one) for one in recorded]

    async def position_after(self, partition: int, known_at: int) -> int:
        return bisect_right(self.recorded[partition], known_at)

    async def changes(self, partition: int, first: int, limit: int) -> list[tuple[int, bytes]]:
        positions = range(first, min(first + limit, len(self.recorded[partition])))
        return [(position, self.stream(partition, position)) for position in positions]

    def stream(self, partition: int, position: int) -> bytes:
        return bytes([partition, position])

    def due(self, since: int, until: int) -> set[bytes]:
        """Of which any of these times passed after one instant and by another."""
        return {
            self.stream(partition, position)
            for partition, recorded in enumerate(self.recorded)
            for position, at in enumerate(recorded)
            if any(since < at + delay <= until for delay in DELAYS)
        }


class Follower:
    """Looks from time to time, and may break off."""

    def __init__(self, log: Log, since: int) -> None:
        self.log, self.now = log, since
        self.begin(since)

    def begin(self, since: int) -> None:
        self.sliding = Sliding(cast(Any, self.log), PARTITIONS, lambda: self.now, since)

    async def look(self) -> set[bytes]:
        found = set[bytes]()
        while True:
            steps = await self.sliding.page(DELAYS)
            assert all(step.log == SLID and step.number <= self.sliding.places()[SLID] for step in steps)
            found |= {step.customer for step in steps}
            if not self.sliding.is_behind:
                return found


recorded = st.lists(st.integers(0, 4_000).map(lambda seconds: seconds * SECOND), max_size=30)
passing = st.tuples(st.integers(0, 2_000).map(lambda seconds: seconds * SECOND), st.booleans())


@given(st.lists(recorded, min_size=PARTITIONS, max_size=PARTITIONS), st.lists(passing, min_size=1, max_size=8))
def test_each_is_looked_at_in_time(events: list[list[int]], rounds: list[tuple[int, bool]]) -> None:
    async def play() -> None:
        sliding.PAGE_SLID = 3
        log, begun, found = Log(events), 1_000 * SECOND, set[bytes]()
        follower = Follower(log, begun)
        for passed, breaks in rounds:
            follower.now += passed
            found |= await follower.look()
            if breaks:
                follower.begin(follower.sliding.places()[SLID])
            assert found >= log.due(begun, follower.now - LATEST), "each in time"
            assert found <= log.due(begun - SLACK, follower.now), "and none before"

    asyncio.run(play())


@given(st.lists(recorded, min_size=PARTITIONS, max_size=PARTITIONS))
def test_amid_many_the_place_is_behind_none_who_was_not_looked_at(events: list[list[int]]) -> None:
    async def play() -> None:
        sliding.PAGE_SLID = 3
        log, begun = Log(events), 0
        follower = Follower(log, begun)
        follower.now, found = 5_000 * SECOND, set[bytes]()
        while True:
            found |= {step.customer for step in await follower.sliding.page(DELAYS)}
            assert found >= log.due(begun, follower.sliding.places()[SLID])
            if not follower.sliding.is_behind:
                break
        assert found == log.due(begun, follower.now)

    asyncio.run(play())
