"""Makes another edition of the views from the log, beside the one that is served, and exchanges the two.

First whole streams, as far as the log had come when it began; then what came since, page by page in the order in which it became
known; and the last page while the log stands still. An erasure on the way is one of these events, so nothing of it stays.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import msgspec

from services.profile.domain.fold import evolve_to
from services.profile.domain.state import Held, linked
from services.profile.tables import erasures
from services.profile.tables.editions import Blocked, Editions, heads
from services.profile.tables.history import History
from services.profile.tables.identifiers import Identifiers
from services.profile.tables.ordered import Ordered
from services.profile.tables.rulebook import RULES_STREAM, Rulebook
from services.profile.tables.snapshots import SNAPSHOT_EVERY, Past, Snapshot, Snapshots
from services.profile.tables.states import States
from shared.events import customer as events
from shared.events.catalogue import Entry
from shared.ids import partition_of
from shared.log import LogReader, Record
from shared.log.records import COLUMNS, to_record
from shared.vault import DataKey, Vault

PAGE_EVENTS = 5_000  # read, folded and written at once
LAST_EVENTS = 500  # so many at most are folded while the log stands still: some ten milliseconds, more with many computed traits
EXCHANGE_PATIENCE_S = 600.0  # for whoever reads the views for long, such as a dump of the database
EXCHANGE_RETRY_S = 0.5


class Progressed(msgspec.Struct, frozen=True):
    """Events that are in the next edition, of those that the log has."""

    folded: int
    total: int


Report = Callable[[Progressed], Awaitable[None]]


class ExchangeBlocked(Exception):
    """Something reads the views for longer than EXCHANGE_PATIENCE_S."""


@dataclass(slots=True)
class Page:
    """What some events change."""

    past: dict[bytes, Past] = field(default_factory=dict)  # by stream
    touched: set[tuple[bytes, bytes]] = field(default_factory=set)  # (identifier hash, customer) of what was linked or unlinked
    erased: list[Entry] = field(default_factory=list)
    taken: list[Snapshot] = field(default_factory=list)


class Maker:
    def __init__(
        self,
        editions: Editions,
        vault: Vault,
        partitions: int,
        page_events: int = PAGE_EVENTS,
        last_events: int = LAST_EVENTS,
        snapshot_every: int = SNAPSHOT_EVERY,
    ) -> None:
        self._editions = editions
        self._vault = vault
        self._partitions = partitions
        self._page_events = page_events
        self._last_events = last_events
        self._snapshot_every = snapshot_every
        self._reader = LogReader(editions.pool)
        self._rulebook = Rulebook(self._reader, partitions)
        self._since: dict[int, int] = {}  # {partition: position}: what stands before it is in the next edition
        self._folded = 0

    async def make(self, report: Report) -> float:
        """For how long the log stood still, in seconds. Raises EnvelopeBroken, Superseded, ExchangeBlocked: then nothing has changed."""
        self._since, self._folded = await self._editions.begin(), 0
        await self._rulebook.load()
        try:
            await self._fill(report)
            return await self._exchange(report)
        except BaseException:
            await self._editions.abandon()
            raise

    async def _fill(self, report: Report) -> None:
        total, before = sum(self._since.values()), 0
        for partition, end in self._since.items():
            unfinished: dict[bytes, Past] = {}
            async for records, is_last in self._of_streams(partition, end):
                page = Page(unfinished)
                keys = await self._fold(page, records)
                unfinished = {} if is_last else {(stream := records[-1].entry.stream): page.past.pop(stream)}
                page.touched = {
                    (one.value_hash, s) for s, past in page.past.items() for one in past.held.state.identifiers.values()
                }
                async with self._editions.page() as connection:
                    await self._write(connection, page, keys)
                self._folded += len(records)
                await report(Progressed(self._folded, total))
            self._folded = before = before + end  # with what is no customer's

    async def _of_streams(self, partition: int, end: int) -> AsyncIterator[tuple[list[Record], bool]]:
        """Stream by stream in the order of versions, up to position `end`; and whether it is the last page."""
        after: tuple[bytes, int] = (b"", 0)
        query = f"""SELECT {COLUMNS} FROM events WHERE partition = $1 AND (stream, version) > ($2, $3) AND pos < $4 AND stream <> $6
                    ORDER BY stream, version LIMIT $5"""  # noqa: S608
        is_last = False
        while not is_last:
            rows = await self._editions.pool.fetch(query, partition, *after, end, self._page_events, RULES_STREAM)
            records, is_last = [to_record(row) for row in rows], len(rows) < self._page_events
            if records:
                after = (records[-1].entry.stream, records[-1].version)
            yield records, is_last

    async def _fold(self, page: Page, records: Sequence[Record]) -> dict[bytes, DataKey]:
        """Whole streams from their beginning, or from where the page has them. Raises EnvelopeBroken."""
        history = self._history(self._editions.pool)
        keys = await self._vault.keys({record.entry.stream for record in records} | page.past.keys())
        for stream, group in groupby(records, key=lambda record: record.entry.stream):
            own = list(group)
            page.taken += history.advance(page.past.setdefault(stream, Past()), own, keys.get(stream))
            page.erased += [record.entry for record in own if record.entry.type_id == events.ERASED.id]
        return keys

    async def _write(self, connection: Any, page: Page, keys: Mapping[bytes, DataKey]) -> None:
        if page.past:
            held = {stream: past.held for stream, past in page.past.items()}
            await self._states(connection).apply(connection, held, keys)
        links = _links(page)
        unlinked = {pair for pair in page.touched if links.get(pair[0]) != pair[1]} | _taken_back(page)
        await Identifiers(connection, self._partitions).apply(connection, links, unlinked)
        await Snapshots(connection, self._partitions).of(self._rulebook.rules.keeping).keep(page.taken)
        for entry in page.erased:
            hashes = list(entry.public().identifier_hashes)
            buckets = [partition_of(value_hash, self._partitions) for value_hash in hashes]
            await erasures.mark_identifiers(connection, hashes, buckets, entry.occurred_at)
            await erasures.forget_identifiers(connection, hashes, buckets, entry.stream)
            await Snapshots.purge(connection, [entry.stream])

    def _states(self, connection: Any) -> States:
        """As the transaction sees them."""
        return States(connection, self._vault, self._history(connection), self._rulebook, self._partitions)

    def _history(self, connection: Any) -> History:
        snapshots = Snapshots(connection, self._partitions, self._snapshot_every)
        ordered = Ordered(connection, self._partitions, self._snapshot_every)
        return History(LogReader(connection), self._vault, snapshots, ordered, self._partitions, self._rulebook.rules.keeping)

    async def _exchange(self, report: Report) -> float:
        """Catches up with the log until little is left, then takes that and the place of what is served."""
        until = time.monotonic() + EXCHANGE_PATIENCE_S
        while True:
            while sum((now := await heads(self._editions.pool)).values()) - sum(self._since.values()) > self._last_events:
                async with self._editions.page() as connection:
                    await self._catch_up(connection, now)
                await report(Progressed(self._folded, sum(now.values())))
            try:
                return await self._take_the_place(report)
            except Blocked:
                if time.monotonic() > until:
                    raise ExchangeBlocked("something reads the views for long, such as a dump; run it again later") from None
                await asyncio.sleep(EXCHANGE_RETRY_S)

    async def _take_the_place(self, report: Report) -> float:
        before, folded = dict(self._since), self._folded
        try:
            async with self._editions.exchange() as connection:
                started, now = time.perf_counter(), await heads(connection)
                while self._since != now:
                    await self._catch_up(connection, now)
            stood_still = time.perf_counter() - started
        except Blocked:
            self._since, self._folded = before, folded
            raise
        await report(Progressed(self._folded, sum(now.values())))
        return stood_still

    async def _catch_up(self, connection: Any, end: Mapping[int, int]) -> None:
        """A page of what stands from `self._since` to before `end`."""
        records = await self._news(end)
        self._rulebook.committed(records)
        customers = sorted((r for r in records if r.entry.stream != RULES_STREAM), key=lambda r: (r.entry.stream, r.version))
        streams = {record.entry.stream for record in customers}
        keys, held = await self._vault.keys(streams), await self._states(connection).load(streams)
        page = Page({stream: Past(held.get(stream) or Held()) for stream in streams})
        for record in customers:
            self._add(page, record, keys.get(record.entry.stream))
        await self._write(connection, page, keys)
        for record in records:
            self._since[record.partition] = max(record.pos + 1, self._since[record.partition])
        self._folded += len(records)

    def _add(self, page: Page, record: Record, key: DataKey | None) -> None:
        """No snapshot is taken: what a state was like before, it doesn't say."""
        entry, held = record.entry, page.past[record.entry.stream].held
        public, personal = entry.parts(key)
        if isinstance(public, events.IdentifierLinked | events.IdentifierUnlinked):
            page.touched.add((public.value_hash, entry.stream))
        elif isinstance(public, events.CustomerErased):
            page.erased.append(entry)
        if record.version > held.version:  # else its state was folded anew from the log, which is further
            evolve_to(record.version, held.state, entry, public, personal, self._rulebook.rules.keeping)
            held.version, held.pos = record.version, record.pos

    async def _news(self, end: Mapping[int, int]) -> list[Record]:
        """The earliest units, some thousand events together, each whole."""
        limit = self._page_events
        while True:
            found = {p: await self._reader.partition(p, first, limit, end[p] - 1) for p, first in self._since.items()}
            if (units := whole_units(found, limit)) or not any(found.values()):
                return units
            limit *= 2  # a unit that is larger than a page


def whole_units(found: Mapping[int, Sequence[Record]], limit: int) -> list[Record]:
    """Of the earliest up to `limit` events of each partition, those whose units are here with all their parts.

    What became known together has one recorded instant, and later ones are larger. An identifier that moves from customer to customer
    does so within one: between two of them it is never two customers'.
    """
    ends = [records[-1].recorded_at for records in found.values() if len(records) >= limit]
    return [r for records in found.values() for r in records if not ends or r.recorded_at < min(ends)]


def _links(page: Page) -> dict[bytes, bytes]:
    """Of what was touched, {identifier hash: customer} as the states have it in the end: partitions have no order among each other."""
    held = {stream: linked(page.past[stream].held.state) for _, stream in page.touched}
    return {value_hash: stream for value_hash, stream in page.touched if value_hash in held[stream]}


def _taken_back(page: Page) -> set[tuple[bytes, bytes]]:
    """Of what was touched, also what was linked again."""
    states = {stream: page.past[stream].held.state for _, stream in page.touched}
    cut = {(one.value_hash, s) for s, state in states.items() for link, one in state.identifiers.items() if link in state.cut}
    return cut & page.touched
