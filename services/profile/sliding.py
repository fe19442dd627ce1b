"""Whose traits the passing of time may have changed: an event leaves a window, or is so long ago that a score falls, a fixed time after it happened.

No event tells that who follows everybody. So the log is walked once more for each such time, that much later.
"""

from collections.abc import Callable, Collection
from typing import Final

import msgspec

from services.profile.domain.rules import Rules
from services.profile.following import SLID, Places, Step
from services.profile.tables.rulebook import RULES_STREAM
from shared.instants import SECOND, Clock
from shared.log import LogReader

PAGE_SLID = 200  # events of a partition; whose traits are the same after all is looked at, and not told
SOONEST: Final = SECOND  # it is asked again, in a thousandth of the time that has to pass
LATEST: Final = 60 * SECOND
SLACK: Final = 10 * SECOND  # an event is seen so much later than it was recorded at most; who comes back is told of these again

TellsOf = Callable[[Collection[str]], bool]  # whether what is told may change with traits of these names


class _Walk(msgspec.Struct):
    """At an event of a partition, behind which no time has passed; when that was so, and whether more was to be looked at then."""

    position: int
    until: int
    is_behind: bool = True


class Sliding:
    """A place in time, up to which it was told whose traits time changed. It goes by when events were recorded, which is when they happened or
    later: so what came late is told late, and never before it is true."""

    def __init__(self, reader: LogReader, partitions: int, clock: Clock, since: int) -> None:
        self._reader = reader
        self._partitions = partitions
        self._clock = clock
        self._since = since
        self._walks: dict[tuple[int, int], _Walk] = {}

    def places(self) -> Places:
        return {SLID: self._since}

    @property
    def is_behind(self) -> bool:
        return any(walk.is_behind for walk in self._walks.values())

    async def page(self, delays: Collection[int]) -> list[Step]:
        """Whom to look at, of whom something was so long ago by now; the place is behind them once there are no more."""
        now, before = self._clock(), self._since
        await self._begin(delays)
        streams = dict[bytes, None]()
        for (partition, delay), walk in self._walks.items():
            if walk.is_behind or now >= walk.until + min(max(delay // 1_000, SOONEST), LATEST):
                streams |= dict.fromkeys(await self._passed(partition, walk, now - delay))
                walk.until = walk.until if walk.is_behind else now
        self._since = max(before, min((walk.until for walk in self._walks.values()), default=now) - SLACK)
        return [Step(SLID, before, stream) for stream in streams]

    async def _begin(self, delays: Collection[int]) -> None:
        """Where other rules came everybody is told of anyway."""
        self._walks = {place: walk for place, walk in self._walks.items() if place[1] in delays}
        wanted = [(partition, delay) for delay in delays for partition in range(self._partitions)]
        for partition, delay in wanted:
            if (partition, delay) not in self._walks:
                position = await self._reader.position_after(partition, self._since - delay)
                self._walks[partition, delay] = _Walk(position, self._since)

    async def _passed(self, partition: int, walk: _Walk, recorded_by: int) -> list[bytes]:
        end = await self._reader.position_after(partition, recorded_by)
        rows = await self._reader.changes(partition, walk.position, PAGE_SLID) if walk.position < end else []
        rows = [(position, stream) for position, stream in rows if position < end]
        walk.position = rows[-1][0] + 1 if rows else walk.position
        walk.is_behind = walk.position < end
        return [stream for _, stream in rows if stream != RULES_STREAM]


def delays_of(rules: Rules, tells_of: TellsOf) -> set[int]:
    """After what times of an event something that is told may be another."""
    if rules.computed is None:
        return set()
    return {delay for name in rules.moved_by_time if tells_of([name]) for delay in rules.computed.all[name].delays_us}
