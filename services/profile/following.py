"""A place in the whole log, for whoever follows everybody: pages of who changed, each once while catching up."""

from typing import Final

from services.profile.batches import Batches
from services.profile.tables.consents import Consents
from services.profile.tables.identifiers import Identifiers
from services.profile.tables.memberships import Memberships
from services.profile.tables.rulebook import RULES_STREAM
from shared.events.consent import PurposeDefined
from shared.ids import partition_of
from shared.log import LogReader

PAGE_EVENTS = 1_000  # of each partition
PAGE_DECISIONS = 500
PAGE_MOVES = 500
CONSENT: Final = "consent"
SEGMENTS: Final = "segments"
SETTLED: Final = "settled"  # the newest version of the rules that everybody was looked at by for segments
NOTHING: Final = -1  # the place before everything

Places = dict[str, int]  # by the names of `Progress`, what is included


def partition_name(partition: int) -> str:
    return f"profile/{partition}"


def looked_at(log: str) -> str:
    """As Progress knows how far membership has followed a log."""
    return f"segments/{log}"


class Follower:
    """A place in the whole log and in that of consent; from `after` on, or of what there is now."""

    def __init__(
        self,
        reader: LogReader,
        consents: Consents,
        identifiers: Identifiers,
        scans: Batches,
        partitions: int,
        applied: Places,
        after: Places | None,
    ) -> None:
        self._reader = reader
        self._consents = consents
        self._identifiers = identifiers
        self._scans = scans
        self._rules_name = partition_name(partition_of(RULES_STREAM, partitions))
        self._included = {
            partition_name(p): NOTHING if after is None else after.get(partition_name(p), NOTHING) for p in range(partitions)
        }
        self._consent = applied[CONSENT] if after is None else after.get(CONSENT, NOTHING)
        self._rules_seen = applied[self._rules_name] if after is None else self._included[self._rules_name]
        self._goal = dict(self._included)  # where the log ended when catching up began
        self._version: int | None = None
        self.catches_up = False

    def places(self) -> Places:
        return self._included | {CONSENT: self._consent}

    def behind(self, applied: Places) -> int:
        return sum(max(0, applied[name] - number) for name, number in self._included.items())

    def is_behind(self, applied: Places) -> bool:
        return self.behind(applied) > 0 or self._consent < applied[CONSENT]

    def begin_again(self, applied: Places) -> None:
        """Everybody may be shown something else now; what they are shown is by the rules of now."""
        self._included = dict.fromkeys(self._included, NOTHING)
        self._goal = dict(self._included)
        self._rules_seen = applied[self._rules_name]

    async def page(self, applied: Places, purpose: PurposeDefined) -> set[bytes]:
        """Streams to look at, of what is applied; the place is behind them then."""
        if self._version not in (None, purpose.version):
            self.begin_again(applied)
        self._version, self.catches_up = purpose.version, False
        streams: set[bytes] = set()
        for partition, name in enumerate(self._included):
            rows = await self._rows(partition, name, applied) if self._included[name] < applied[name] else []
            if any(stream == RULES_STREAM and pos > self._rules_seen for pos, stream in rows):
                self.begin_again(applied)
                return set()
            streams |= await self._without_later(name, rows, applied)
        return streams | await self._decided(applied[CONSENT])

    async def _rows(self, partition: int, name: str, applied: Places) -> list[tuple[int, bytes]]:
        """What is committed and not applied yet is left: caches may be older."""
        rows = await self._reader.changes(partition, self._included[name] + 1, PAGE_EVENTS)
        return [row for row in rows if row[0] <= applied[name]]

    async def _without_later(self, name: str, rows: list[tuple[int, bytes]], applied: Places) -> set[bytes]:
        """While catching up, who changes again before its end is looked at then."""
        streams = {stream for _, stream in rows} - {RULES_STREAM}
        if rows:
            self._included[name] = rows[-1][0]
        if len(rows) < PAGE_EVENTS:
            return streams
        self.catches_up, last = True, self._included[name]
        if last >= self._goal[name]:
            self._goal[name] = applied[name]
        newest = await self._scans.newest(streams)
        return {stream for stream in streams if not last < newest.get(stream, last) <= self._goal[name]}

    async def _decided(self, applied: int) -> set[bytes]:
        """Whom new decisions are about."""
        if self._consent >= applied:
            return set()
        rows = await self._consents.decided_after(self._consent, applied, PAGE_DECISIONS)
        self._consent = rows[-1][0] if len(rows) >= PAGE_DECISIONS else applied
        return set((await self._identifiers.customers_of({value_hash for _, value_hash in rows})).values())


class Moves:
    """A place in what is written of who entered and left a segment: what no event tells, above all the passing of time."""

    def __init__(self, memberships: Memberships, segment: str, applied: Places, after: Places | None) -> None:
        """Of no segment there are none."""
        self._memberships = memberships
        self._segment = segment
        start = applied if after is None else after
        self._included, self._settled = start.get(SEGMENTS, 0), start.get(SETTLED, 0)

    def places(self) -> Places:
        return {SEGMENTS: self._included, SETTLED: self._settled} if self._segment else {}

    def is_behind(self, applied: Places) -> bool:
        return bool(self._segment) and self._included < applied[SEGMENTS]

    def settle(self, applied: Places) -> bool:
        """Whether everybody was looked at by newer rules since: of who came and went before that look nothing is written."""
        before, self._settled = self._settled, max(self._settled, applied[SETTLED])
        return bool(self._segment) and before < self._settled

    async def page(self, applied: Places) -> set[bytes]:
        """Whom to look at; the place is behind them then."""
        if not self.is_behind(applied):
            return set()
        rows = await self._memberships.changed_after(self._segment, self._included, applied[SEGMENTS], PAGE_MOVES)
        self._included = rows[-1][0] if len(rows) >= PAGE_MOVES else applied[SEGMENTS]
        return {customer for _, customer in rows}
