"""Places in the whole log, for whoever follows: pages of who changed, each once while catching up; and places amid them."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple, TypeVar

from services.profile.batches import Batches
from services.profile.tables.consents import Consents
from services.profile.tables.identifiers import Identifiers
from services.profile.tables.memberships import Memberships
from services.profile.tables.rulebook import RULES_STREAM
from shared.events.consent import PurposeDefined
from shared.ids import partition_of
from shared.log import LogReader
from shared.positions import Progress

PAGE_EVENTS = 1_000  # of each partition
PAGE_DECISIONS = 500
PAGE_MOVES = 500
CONSENT: Final = "consent"
SEGMENTS: Final = "segments"
SETTLED: Final = "settled"  # the newest version of the rules that everybody was looked at by for segments
NOTHING: Final = -1  # the place before everything
RULES: Final = "rules"  # in the place of one who follows everybody: up to where rules were in force for all that was told
CONSENT_TOLD: Final = "told/consent"  # as Progress knows it: up to where watchers of those whom a decision is about were woken
DEFINED: Final = "defined"  # and up to which definition of the purpose
PASSED: Final = "passed"  # and the instant up to which it was told of whom time alone may show or hide
SLID: Final = "slid"  # and of whose traits it may change
MARKS: Final = frozenset({RULES, DEFINED, PASSED, SLID})  # are no positions of a log
CUSTOMERS: Final = "customers"  # in the place of one who watches some: those of a smaller number were told

T = TypeVar("T")
Places = dict[str, int]  # by the names of `Progress`, and these, what is included


class Step(NamedTuple):
    """Whom to look at; when that was told, a log is included up to a number, if all before it in this log was told too."""

    log: str
    number: int
    customer: bytes


def first_of_each(steps: Iterable[Step]) -> list[Step]:
    """Each customer once: all that is applied is in that look."""
    found: dict[bytes, Step] = {}
    for step in steps:
        found.setdefault(step.customer, step)
    return list(found.values())


def told_by_log(steps: Sequence[Step], before: Places) -> dict[bytes, Places]:
    """Behind whom it can be gone on where, in the order of the steps."""
    at = before
    return {step.customer: (at := at | {step.log: step.number}) for step in steps}


def chunks(ordered: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    return (ordered[first : first + most] for first in range(0, len(ordered), most))


def together(places_of: Iterable[Callable[[], Places]]) -> Places:
    return {name: number for one in places_of for name, number in one().items()}


def behind(newest: Places, reached: Places) -> int:
    """How many events of the customer log."""
    log = partition_name(0).removesuffix("0")
    return sum(max(0, number - reached.get(name, NOTHING)) for name, number in newest.items() if name.startswith(log))


def amid(after: Places | None) -> tuple[int | None, Places | None]:
    """How far a look was told, and the places that hold for those who were told; None: no look was."""
    if after is None or CUSTOMERS not in after:
        return None, after
    return after[CUSTOMERS], {name: number for name, number in after.items() if name != CUSTOMERS}


def told_in_order(customers: Sequence[bytes], places: Places) -> Mapping[bytes, Places]:
    """Behind whom it can be gone on, in a look of these places at customers in the order of their ids: behind the last it is whole."""
    return {one: places | {CUSTOMERS: _number(after)} for one, after in pairwise(customers)}


def told_before(bound: int, customers: Collection[bytes]) -> set[bytes]:
    return {one for one in customers if _number(one) < bound}


def _number(customer: bytes) -> int:
    """In the order of ids. Two may have the same, and then one is told again."""
    return int.from_bytes(customer[:8], "big") >> 1


def partition_name(partition: int) -> str:
    return f"profile/{partition}"


def told_by_now(progress: Progress, partitions: int) -> Places:
    """Behind which nobody is who is watched and whose watchers weren't woken yet: a place that a watcher is given may hold no more."""
    log = {partition_name(partition): progress.applied(partition_name(partition)) for partition in range(partitions)}
    return log | {CONSENT: progress.applied(CONSENT_TOLD)}


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
        self._rules_seen = applied[self._rules_name] if after is None else after.get(RULES, self._included[self._rules_name])
        self._defined = NOTHING if after is None else after.get(DEFINED, NOTHING)
        self._goal = dict(self._included)  # where the log ended when catching up began
        self._version: int | None = None
        self.catches_up = False

    def places(self) -> Places:
        return self._included | {CONSENT: self._consent, RULES: self._rules_seen, DEFINED: self._defined}

    def is_behind(self, applied: Places) -> bool:
        return behind(applied, self._included) > 0 or self._consent < applied[CONSENT]

    def begin_again(self, applied: Places) -> None:
        """Everybody may be shown something else now; what they are shown is by the rules of now."""
        self._included = dict.fromkeys(self._included, NOTHING)
        self._goal = dict(self._included)
        self._rules_seen = applied[self._rules_name]

    async def learn(self, purpose: str, applied: Places) -> None:
        """Begins again when it was defined anew since."""
        defined = await self._consents.defined_at(purpose)
        if defined > max(self._consent, self._defined):
            self.begin_again(applied)
        self._defined = defined

    async def page(self, applied: Places, purpose: PurposeDefined) -> list[Step]:
        """Whom to look at, of what is applied, log by log; the place is behind them then."""
        if self._version not in (None, purpose.version):
            self.begin_again(applied)
        self._version, self.catches_up = purpose.version, False
        steps: list[Step] = []
        for partition, name in enumerate(self._included):
            rows = await self._rows(partition, name, applied) if self._included[name] < applied[name] else []
            if any(stream == RULES_STREAM and pos > self._rules_seen for pos, stream in rows):
                self.begin_again(applied)
                return []
            last = await self._without_later(name, rows, applied)
            steps += [Step(name, pos, stream) for stream, pos in sorted(last.items(), key=lambda one: one[1])]
        return steps + await self._decided(applied[CONSENT])

    async def _rows(self, partition: int, name: str, applied: Places) -> list[tuple[int, bytes]]:
        """What is committed and not applied yet is left: caches may be older."""
        rows = await self._reader.changes(partition, self._included[name] + 1, PAGE_EVENTS)
        return [row for row in rows if row[0] <= applied[name]]

    async def _without_later(self, name: str, rows: list[tuple[int, bytes]], applied: Places) -> dict[bytes, int]:
        """{stream: the last of these}. While catching up, who changes again before its end is looked at then."""
        streams = {stream: pos for pos, stream in rows if stream != RULES_STREAM}
        if rows:
            self._included[name] = rows[-1][0]
        if len(rows) < PAGE_EVENTS:
            return streams
        self.catches_up, last = True, self._included[name]
        if last >= self._goal[name]:
            self._goal[name] = applied[name]
        newest = await self._scans.newest(streams)
        return {stream: pos for stream, pos in streams.items() if not last < newest.get(stream, last) <= self._goal[name]}

    async def _decided(self, applied: int) -> list[Step]:
        """Whom new decisions are about."""
        if self._consent >= applied:
            return []
        rows = await self._consents.decided_after(self._consent, applied, PAGE_DECISIONS)
        self._consent = rows[-1][0] if len(rows) >= PAGE_DECISIONS else applied
        customers = await self._identifiers.customers_of({value_hash for _, value_hash in rows})
        last = {customers[value_hash]: pos for pos, value_hash in rows if value_hash in customers}
        return [Step(CONSENT, pos, customer) for customer, pos in sorted(last.items(), key=lambda one: one[1])]


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

    async def page(self, applied: Places) -> list[Step]:
        """Whom to look at; the place is behind them then."""
        if not self.is_behind(applied):
            return []
        rows = await self._memberships.changed_after(self._segment, self._included, applied[SEGMENTS], PAGE_MOVES)
        self._included = rows[-1][0] if len(rows) >= PAGE_MOVES else applied[SEGMENTS]
        last = {customer: number for number, customer in rows}
        return [Step(SEGMENTS, number, customer) for customer, number in sorted(last.items(), key=lambda one: one[1])]
