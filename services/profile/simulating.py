"""What other rules would change: every customer's profile and segments by those in force and by these; nothing is written.

It is made for a purpose, and tells nothing that reading every profile for it wouldn't: who refuses it isn't looked at, and what it
may not see isn't compared. Else counts would answer any question about a person to whoever can write a condition.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Final, NamedTuple

import msgspec

from services.profile.batches import Batches, Refused
from services.profile.choosing import Chooser
from services.profile.clusters import cluster_of, joined
from services.profile.domain.clocks import Instant
from services.profile.domain.difference import Change, Difference, changes
from services.profile.domain.golden import GoldenRecord
from services.profile.domain.membership import Move, judged_by_less, moves, standing
from services.profile.domain.rules import Rules
from services.profile.domain.sample import Sample
from services.profile.domain.state import Held, folds_alike
from services.profile.domain.unmet import Hint, Unmet
from services.profile.failures import note
from services.profile.reading import looked_up
from services.profile.sight import Sight
from services.profile.steady import Steady
from services.profile.tables.history import History
from services.profile.tables.states import States
from shared.errors import LimitExceeded
from shared.events.consent import PurposeDefined
from shared.events.profile_rules import ProfileRulesDiffer
from shared.instants import Clock, to_iso

PAGE_STATES: Final = 100
CUSTOMERS_AT_ONCE: Final = 20  # are compared; reads go on between
EVENTS_AT_ONCE: Final = 5_000  # are in memory when the rules need other states than are kept, or those of one customer
WAITING_AT_MOST: Final = 10  # one goes on at a time, as each makes all profiles twice; so many wait for their turn
TOLD_AT_MOST: Final = 100  # times how far it is

Clusters = Mapping[bytes, Mapping[bytes, Held]]


class Progress(NamedTuple):
    """How many of how many states were looked at, and what was found so far. Examples come with the last one only: some of all
    changes of values and some of all moves between segments, spread over all customers; and so do hints."""

    states: int
    of: int
    found: ProfileRulesDiffer
    examples: Sequence[Change] = ()
    moves: Sequence[Move] = ()
    waiting: bool = False  # for its turn
    hints: Sequence[Hint] = ()


class _Report:
    """What was found so far."""

    def __init__(self, purpose: PurposeDefined, sight: Sight, rules: Rules, examples: int, key: bytes) -> None:
        self.sight = sight
        self.unmet = Unmet(rules, sight.segments, sight.sees)
        self.difference = Difference()
        self.changes = Sample[Change](examples, key)
        self.moves = Sample[Move](examples, key)
        self._about = {
            "purpose": purpose.name,
            "purpose_version": purpose.version,
            "withheld_traits": tuple(sight.withheld_traits),
            "withheld_segments": tuple(sight.withheld_segments),
        }

    def add(
        self,
        customer: bytes,
        records: tuple[GoldenRecord, GoldenRecord],
        segments: tuple[frozenset[str], frozenset[str]],
        by_less: frozenset[str],
    ) -> None:
        was, now = (found & self.sight.segments for found in segments)
        changed = [change for change in changes(*records) if self.sight.sees(change.trait)]
        cut = [name for name, trait in records[1].traits.items() if trait.cut and self.sight.sees(name)]
        moved = moves({customer: was}, (), customer, now)
        self.unmet.look(records[1])
        self.difference.add(changed, moved, now, by_less & self.sight.segments, cut)
        for change in changed:
            self.changes.offer(customer + change.trait.encode(), change)
        for move in moved:
            self.moves.offer(customer + move.segment.encode(), move)

    def told(self) -> ProfileRulesDiffer:
        return msgspec.structs.replace(self.difference.told(self.sight.segments), **self._about)


class _Turn:
    """Of who is at work: for what, since when, and how far."""

    def __init__(self, purpose: str, begun_at: int) -> None:
        self.purpose, self.begun_at, self.states, self.of = purpose, begun_at, 0, 0


class Simulation:
    def __init__(
        self,
        batches: Batches,
        chooser: Chooser,
        states: States,
        history: History,
        key: bytes,
        clock: Clock,
        steady: Steady,
    ) -> None:
        self._batches = batches
        self._chooser = chooser
        self._states = states
        self._history = history
        self._key = key
        self._clock = clock
        self._steady = steady
        self._free = asyncio.Lock()
        self._waiting = 0
        self._turn: _Turn | None = None

    async def rules(self, rules: Rules, examples: int, purpose: PurposeDefined) -> AsyncGenerator[Progress, None]:
        """Page by page; the last one has everything. Raises LimitExceeded (SIMULATION_BUSY), Unavailable, EnvelopeBroken."""
        if self._free.locked() and self._waiting < WAITING_AT_MOST:
            yield Progress(0, 0, ProfileRulesDiffer(), waiting=True)
        async with self._next_turn(purpose) as turn, aclosing(self._pages(rules, examples, purpose)) as pages:
            async for progress in pages:
                turn.states, turn.of = progress.states, progress.of
                yield progress

    @asynccontextmanager
    async def _next_turn(self, purpose: PurposeDefined) -> AsyncIterator[_Turn]:
        """In the order of asking, so that nobody who asks again and again keeps others out."""
        if self._waiting >= WAITING_AT_MOST:
            raise self._busy()
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        try:
            self._turn = _Turn(purpose.name, self._clock())
            yield self._turn
        finally:
            self._turn = None
            self._free.release()

    def _busy(self) -> LimitExceeded:
        facts: dict[str, str | int] = {"waiting": self._waiting, "limit": WAITING_AT_MOST}
        at_work = ""
        if (turn := self._turn) is not None:
            begun = to_iso(turn.begun_at)
            facts |= {"running_purpose": turn.purpose, "begin_time": begun, "checked_states": turn.states, "states": turn.of}
            at_work = f", one for {turn.purpose} since {begun}, which has looked at {turn.states} of {turn.of} states"
        message = f"other rules are being tried{at_work}; {self._waiting} wait for their turn; try again later"
        return LimitExceeded(message, reason="SIMULATION_BUSY", **facts)

    async def _pages(self, rules: Rules, examples: int, purpose: PurposeDefined) -> AsyncGenerator[Progress, None]:
        live, done, told = self._chooser.in_force, 0, 0
        report = _Report(purpose, Sight(purpose, live, rules), rules, examples, self._key)
        total = await self._states.count()
        yield Progress(0, total, report.told())
        async with aclosing(self._states.pages(PAGE_STATES)) as pages:
            async for page in pages:
                await self._compare(page, (live, rules), purpose, report)
                done += len(page)
                if done * TOLD_AT_MOST // max(done, total) > told:
                    told = done * TOLD_AT_MOST // max(done, total)
                    yield Progress(done, max(done, total), report.told())
        # Now, not when they were found: the reader may have taken her time, and the customer a decision.
        picked, moved = report.changes.items, report.moves.items
        permit = await self._permitting({one.customer for one in picked} | {one.customer for one in moved}, purpose)
        picked, moved = [one for one in picked if one.customer in permit], [one for one in moved if one.customer in permit]
        hints = report.unmet.hints(self._clock()) if report.difference.customers else []  # else nothing is had by anybody
        yield Progress(done, max(done, total), report.told(), picked, moved, hints=hints)

    async def _compare(self, page: list[bytes], both: tuple[Rules, Rules], purpose: PurposeDefined, report: _Report) -> None:
        """The customers whose canonical stream is in the page; nobody is in two, and who was erased is in none."""
        outcomes = await self._judged(page, purpose)
        permitted = {customer: one for customer, one in outcomes.items() if not isinstance(one, Refused)}
        report.difference.withheld_customers += len(outcomes) - len(permitted)
        for some in _divided(permitted):
            await self._compare_some(some, both, report)

    async def _compare_some(self, permitted: Clusters, both: tuple[Rules, Rules], report: _Report) -> None:
        folded = await self._folded(permitted, both)
        at = self._clock()  # the same for both: some computed traits change with it
        old, new = [
            await self._chooser.records(clusters, rules, Instant(valid_at=at)) for clusters, rules in zip(folded, both, strict=True)
        ]
        for customer in old.keys() & new.keys():
            await asyncio.sleep(0)
            records = (old[customer], new[customer])
            try:
                was, now = (
                    standing((one.state for one in clusters[customer].values()), record, rules, at).segments
                    for clusters, record, rules in zip(folded, records, both, strict=True)
                )
            except Exception as error:
                note(customer, "try rules", error)
                continue
            report.add(customer, records, (was, now), judged_by_less(records[1], both[1]))

    async def _folded(self, clusters: Clusters, both: tuple[Rules, Rules]) -> list[Clusters]:
        """The same events folded for both rules."""
        live, rules = both
        states = (one.state for cluster in clusters.values() for one in cluster.values())
        if folds_alike(states, live.keeping, rules.keeping, self._chooser.in_force.keeping):  # else they may be for others by now
            return [clusters, clusters]
        records = await self._history.read({stream for cluster in clusters.values() for stream in cluster})
        folded = [await self._history.of(one.keeping).fold(records) for one in both]
        return [{c: {s: one[s] for s in cluster} for c, cluster in clusters.items()} for one in folded]

    async def _permitting(self, customers: set[bytes], purpose: PurposeDefined) -> set[bytes]:
        """Also still there: they may have been erased or merged since."""
        outcomes = await self._judged(customers, purpose)
        return {customer for customer, one in outcomes.items() if not isinstance(one, Refused)}

    async def _judged(self, customers: Collection[bytes], purpose: PurposeDefined) -> dict[bytes, dict[bytes, Held] | Refused]:
        """Those of them who answer for themselves, each at a moment of their own."""

        async def load(streams: Collection[bytes]) -> dict[bytes, Held]:
            looked_up(streams)
            return await self._states.load(streams)

        async def judge(some: Collection[bytes]) -> dict[bytes, dict[bytes, Held] | Refused]:
            held = await joined(some, load) if some else {}
            clusters = {customer: cluster_of(customer, held) for customer in some}
            wanted = {customer: cluster for customer, cluster in clusters.items() if _stands_for(customer, cluster)}
            return await self._batches.permitted(wanted, purpose)

        return await self._steady.each(customers, judge)


def _divided(clusters: Clusters) -> Iterator[Clusters]:
    some, events = dict[bytes, Mapping[bytes, Held]](), 0
    for customer, cluster in clusters.items():
        some[customer] = cluster
        events += sum(one.version for one in cluster.values())
        if len(some) >= CUSTOMERS_AT_ONCE or events >= EVENTS_AT_ONCE:
            yield some
            some, events = {}, 0
    if some:
        yield some


def _stands_for(customer: bytes, cluster: Mapping[bytes, Held]) -> bool:
    """Whether it is the canonical one of those who are one."""
    if not cluster or any(h.state.erased for h in cluster.values()):
        return False
    return customer == min(cluster, key=lambda stream: (cluster[stream].state.founding_number, stream))
