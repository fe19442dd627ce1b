"""Since when customers are, or aren't, in segments: by when things happened, as the past is asked for, and not by when they came."""

from collections.abc import Collection, Iterator, Mapping
from itertools import groupby, islice
from typing import Final

import msgspec

from services.profile.choosing import Chooser
from services.profile.domain.fold import is_timeless
from services.profile.domain.golden import unconfirmed
from services.profile.domain.membership import by_events_alone
from services.profile.domain.rules import Rules
from services.profile.domain.runs import Interval, Piece, Runs, pieces
from services.profile.domain.segments import only
from services.profile.domain.state import Held
from services.profile.failures import note
from services.profile.tables.history import History
from services.profile.tables.snapshots import Past
from services.profile.walking import add
from shared.events import customer as events
from shared.ids import partition_of
from shared.instants import END_OF_TIME
from shared.log import LogReader, Record, Stretch
from shared.log.reader import Happened
from shared.pieces import AT_ONCE, Pieces
from shared.vault import Vault

WALKED_EVENTS: Final = (
    500  # of a customer, those that happened last: some ten milliseconds. Who has more may be in for longer than is told
)
LOOKS_AT_MOST: Final = 500  # at a customer, each a millisecond or ten: with many computed traits time changes more than events do

Cluster = Mapping[bytes, Held]


class Mover(msgspec.Struct, frozen=True):
    """A customer of whom something changed: the streams it is, and by segment whether it is in now.

    `since` is where to begin when nothing else than what happened, or passed, then can have changed it.
    """

    cluster: Cluster
    wanted: Mapping[str, bool]
    since: int | None = None

    def __repr__(self) -> str:
        return f"<Mover in {len(self.wanted)} segments sealed>"


class Beginnings:
    def __init__(self, vault: Vault, chooser: Chooser, partitions: int, walked_events: int = WALKED_EVENTS) -> None:
        self._vault = vault
        self._chooser = chooser
        self._partitions = partitions
        self._walked_events = walked_events

    def takes_long(self, mover: Mover) -> bool:
        """To find since when, beside customers as most are."""
        return mover.since is None and self._events(mover.cluster) > self._walked_events

    async def of(
        self, history: History, reader: LogReader, rules: Rules, movers: Mapping[bytes, Mover], now: int, turns: Pieces
    ) -> dict[tuple[bytes, str], int]:
        """By customer and segment; of one to whom nothing has happened that has an instant there is nothing. `history` is for these rules.

        `turns` hears of each event that is folded, and of each look at a customer as of AT_ONCE events.
        """
        found: dict[tuple[bytes, str], int] = {}
        long = {customer for customer, mover in movers.items() if self._events(mover.cluster) > self._walked_events}
        for page in self._pages({customer: one for customer, one in movers.items() if one.since is None and customer not in long}):
            records = await reader.history([whole for mover in page.values() for whole in self._stretches(mover.cluster)])
            for customer, mover in page.items():
                own = [record for record in records if record.entry.stream in mover.cluster]
                intervals = await self._intervals(history, {}, own, turns)
                found |= await self._runs(customer, mover, intervals, rules, now, turns)
        for customer, mover in movers.items():
            if mover.since is not None and by_events_alone(rules, mover.wanted):
                found |= dict.fromkeys(((customer, segment) for segment in mover.wanted), min(mover.since, now))
            elif mover.since is not None:
                states = {member: one.state for member, one in mover.cluster.items()}
                found |= await self._runs(customer, mover, [Interval(mover.since, states)], rules, now, turns)
            elif customer in long:
                intervals = await self._latest(history, reader, mover.cluster, turns)
                found |= await self._runs(customer, mover, intervals, rules, now, turns)
        return found

    def _pages(self, movers: Mapping[bytes, Mover]) -> Iterator[dict[bytes, Mover]]:
        """Of as many events together as one may have."""
        page: dict[bytes, Mover] = {}
        held = 0
        for customer, mover in movers.items():
            if page and held + self._events(mover.cluster) > self._walked_events:
                yield page
                page, held = {}, 0
            page[customer] = mover
            held += self._events(mover.cluster)
        if page:
            yield page

    def _events(self, cluster: Cluster) -> int:
        return sum(one.version for one in cluster.values())

    def _stretches(self, cluster: Cluster) -> list[Stretch]:
        return [Stretch(partition_of(stream, self._partitions), stream, 1, one.version) for stream, one in cluster.items()]

    async def _latest(self, history: History, reader: LogReader, cluster: Cluster, turns: Pieces) -> list[Interval]:
        """Of what happened last, in whole instants, and of what was before it."""
        placed = [(partition_of(stream, self._partitions), stream) for stream in cluster]
        records = await reader.happened(placed, Happened(types=events.TIMED_IDS), self._walked_events)
        if not records:
            return []
        first = records[-1].entry.occurred_at  # of it there may be more
        past = await history.past(list(cluster), first, END_OF_TIME)
        before = Interval(first, {stream: one.held.state for stream, one in past.items()})
        after = [record for record in records if record.entry.occurred_at > first]
        return [before, *await self._intervals(history, past, after, turns)]

    async def _intervals(
        self, history: History, past: dict[bytes, Past], records: Collection[Record], turns: Pieces
    ) -> list[Interval]:
        """One for each instant at which anything happened."""
        keys = await self._vault.keys({record.entry.stream for record in records})
        await add(history, past, (record for record in records if is_timeless(record.entry)), keys, turns)
        timed = [record for record in records if not is_timeless(record.entry)]
        found = []
        for at, group in groupby(sorted(timed, key=_happened_at), _happened_at):
            await add(history, past, group, keys, turns)
            found.append(Interval(at, {stream: one.held.state for stream, one in past.items()}))
        return found

    async def _runs(
        self, customer: bytes, mover: Mover, intervals: list[Interval], rules: Rules, now: int, turns: Pieces
    ) -> dict[tuple[bytes, str], int]:
        if rules.segments is None:
            return {}
        states = (state for interval in intervals for state in interval.states.values())
        confirmations = await self._chooser.confirmations(unconfirmed(states, rules))
        verified_at = {value: made[0].decided_at for value, made in confirmations.items()}
        runs, until, left = Runs(mover.wanted), now + 1, LOOKS_AT_MOST
        for interval in reversed(intervals):
            begun, segments = Interval(min(interval.at, now), interval.states), only(rules.segments, runs.open)
            found: list[Piece] = []
            has_failed = False
            for piece in _noted(customer, islice(pieces(begun, until, rules, segments, verified_at), left + 1)):
                if piece is None:  # what is told is told from where it went well
                    has_failed = True
                    break
                found.append(piece)
                await turns.done(AT_ONCE)
            left -= len(found)
            if has_failed or left < 0 or not runs.told(found):  # of an interval that wasn't looked through the end isn't known
                break
            until = begun.at
        return {(customer, segment): at for segment, at in runs.began.items()}


def _noted(customer: bytes, looks: Iterator[Piece]) -> Iterator[Piece | None]:
    """None where it fails, and then nothing."""
    try:
        yield from looks
    except Exception as error:
        note(customer, "begin", error)
        yield None


def _happened_at(record: Record) -> int:
    return record.entry.occurred_at
