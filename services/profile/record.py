"""The single writer of the customer log: takes units of CUSTOMER, appends them and updates the views, as one transaction."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from services.profile.cache import LoadingCache
from services.profile.counted import recorded
from services.profile.domain.decided import KnownDecision
from services.profile.domain.fold import evolve_to
from services.profile.domain.state import Held, fork
from services.profile.owners import Owners
from services.profile.snapshotting import Snapshotter
from services.profile.tables import erasures
from services.profile.tables.identifiers import Identifiers
from services.profile.tables.rulebook import Rulebook
from services.profile.tables.snapshots import Due
from services.profile.tables.states import States
from shared.events import customer as events
from shared.events.catalogue import Entry
from shared.events.wire import CUSTOMER_STREAM, INGEST_STREAM, Unit, decode_entry, decode_unit, encode
from shared.ids import partition_of
from shared.log import LogWriter, Record
from shared.log.turns import Turns
from shared.log.writer import Versioned, ViewsReplaced
from shared.parked import Parked, ParkedTable
from shared.pieces import AT_ONCE
from shared.poison import Poison, Run
from shared.positions import Progress
from shared.telemetry import EVENTS_APPLIED, UNIT_SECONDS, logger
from shared.vault import DataKey, EnvelopeBroken, Vault

ENVELOPE_BROKEN = "ENVELOPE_BROKEN"  # a live key doesn't open it: an alarm, and never an erasure

log = logger("profile")
T = TypeVar("T")

Also = Callable[[Any], Awaitable[None]]  # what else is part of the transaction


class Taken(msgspec.Struct, frozen=True):
    """A message of CUSTOMER; `unit` is None when it isn't one."""

    sequence: int
    data: bytes
    unit: Unit | None


@dataclass(slots=True)
class Change:
    """What a unit changes: events with their versions, states, links, and what had to be parked."""

    events: list[Versioned] = field(default_factory=list)
    held: dict[bytes, Held] = field(default_factory=dict)
    links: dict[bytes, bytes] = field(default_factory=dict)
    unlinked: set[tuple[bytes, bytes]] = field(default_factory=set)
    parked: list[Parked] = field(default_factory=list)
    erased: list[Entry] = field(default_factory=list)
    due: list[Due] = field(default_factory=list)


class Recorder:
    """Appends in turns (`shared.log.turns`): after one that failed the next loads anew, after a fence there is none.

    `on_changed` is told the streams of every unit once it is committed; `on_replaced` forgets what was loaded from the views.
    """

    def __init__(
        self,
        writer: LogWriter,
        states: States,
        rulebook: Rulebook,
        identifiers: Identifiers,
        owners: Owners,
        parked: ParkedTable,
        cache: LoadingCache[bytes, Held],
        decisions: LoadingCache[bytes, list[KnownDecision]],
        vault: Vault,
        progress: Progress,
        run: Run,
        on_changed: Callable[[Sequence[Record]], None],
        on_replaced: Callable[[], None],
        snapshotter: Snapshotter,
    ) -> None:
        self.writer = writer
        self._states = states
        self._rulebook = rulebook
        self._identifiers = identifiers
        self._owners = owners
        self._parked = parked
        self._cache = cache
        self._decisions = decisions
        self._vault = vault
        self._progress = progress
        self._partitions = len(writer.partitions)
        self.turn = Turns(self._load).turn
        self._run = run
        self._on_changed = on_changed
        self._on_replaced = on_replaced
        self._snapshotter = snapshotter

    async def load(self) -> int:
        """Up to where CUSTOMER is consumed."""
        async with self.turn():
            return self.writer.consumed(CUSTOMER_STREAM)

    async def record(self, messages: Sequence[tuple[int, bytes]]) -> None:
        """(stream sequence, data) in order. Raises Halted (POISON_RUN, UNKNOWN_EVENT); then nothing of them is recorded."""
        taken = [Taken(sequence, data, _decode(data)) for sequence, data in messages]
        async with self.turn():
            with UNIT_SECONDS.labels("profile").time():
                entries = [entry for message in taken if message.unit for entry in message.unit.entries]
                change = await self._by_views_of_now(lambda: self._take(taken, entries))
        recorded(entries, len(change.events), len(change.parked))

    async def replay(self, parked: Parked) -> list[tuple[str, int, int]]:
        """Appends what was parked as if it had come now. Raises Poison, NotParked, Halted (UNKNOWN_EVENT)."""
        entries = _entries_of(parked)

        async def take(connection: Any) -> None:
            await self._parked.take(connection, parked.parked_id)

        async def append() -> list[Record]:
            keys = await self._vault.keys({entry.stream for entry in entries})
            before = await self._cache.get({entry.stream for entry in entries})
            change = Change()
            for entry in entries:
                self._fold(entry, keys, before, change)
            return await self._commit(change, keys, {}, take)

        async with self.turn():
            records = await self._by_views_of_now(append)
        EVENTS_APPLIED.labels("profile").inc(len(records))
        return sorted({record.partition: ("profile", record.partition, record.pos) for record in records}.values())

    async def _by_views_of_now(self, work: Callable[[], Awaitable[T]]) -> T:
        """Does the work anew when the views were replaced since it began: what it loaded of them may have been wrong."""
        poisoned = self._run.length
        while True:
            try:
                return await work()
            except ViewsReplaced:
                self._run.length = poisoned
                self._on_replaced()

    async def _take(self, taken: Sequence[Taken], entries: Sequence[Entry]) -> Change:
        keys = await self._vault.keys({entry.stream for entry in entries})
        change = await self._fold_messages(taken, keys)

        async def park(connection: Any) -> None:
            await self._parked.put(connection, change.parked)

        await self._commit(change, keys, _consumed(taken), park)
        return change

    async def append_rules(self, entry: Entry) -> None:
        """An event of the rules, in a turn. States that are folded for others are loaded anew when they are asked for."""
        before, number = self._rulebook.rules.keeping, self._rulebook.recorded + 1
        event = Versioned(self._rulebook.partition, number, entry)
        records = await self._by_views_of_now(lambda: self.writer.append([event], {}))
        self._rulebook.committed(records)
        if self._rulebook.rules.keeping != before:
            self._cache.clear()
        self._advance()
        self._on_changed(records)

    async def _load(self) -> None:
        await self.writer.claim()
        await self._rulebook.load()
        self._cache.clear()
        self._owners.clear()
        self._run.length = await self._parked.trailing_run(CUSTOMER_STREAM, self.writer.consumed(CUSTOMER_STREAM))
        self._advance()

    async def _fold_messages(self, messages: Sequence[Taken], keys: Mapping[bytes, DataKey]) -> Change:
        before = await self._cache.get({entry.stream for message in messages if message.unit for entry in message.unit.entries})
        change = Change()
        for message in messages:
            if message.unit is None:
                self._park(
                    change, Parked(stream=CUSTOMER_STREAM, sequence=message.sequence, reason="NOT_A_UNIT", data=message.data)
                )
                continue
            for part, entry in enumerate(message.unit.entries):
                try:
                    self._fold(entry, keys, before, change)
                    self._run.good()
                except Poison as poison:
                    self._park(change, _parked(message.sequence, part, entry, poison.reason))
                if not len(change.events) % AT_ONCE:
                    await asyncio.sleep(0)
        if self._run.length == 0:  # a good one came after them
            for one in change.parked:
                one.run = 0
        return change

    def _park(self, change: Change, one: Parked) -> None:
        log.error("parked", sequence=one.sequence, part=one.part, type=one.type_id, reason=one.reason)
        one.run = self._run.poison()
        change.parked.append(one)

    def _fold(self, entry: Entry, keys: Mapping[bytes, DataKey], before: Mapping[bytes, Held], change: Change) -> None:
        """Raises Poison, and then has changed nothing; Halted (UNKNOWN_EVENT)."""
        public, personal = _open(entry, keys.get(entry.stream))
        held = change.held.get(entry.stream) or _forked(before.get(entry.stream))
        held.version += 1
        evolve_to(held.version, held.state, entry, public, personal, self._rulebook.rules.keeping)
        change.held[entry.stream] = held
        if self._snapshotter.is_due(held.version):
            change.due.append(Due(entry.stream, held.version, encode(held.state)))
        change.events.append(Versioned(partition_of(entry.stream, self._partitions), held.version, entry))
        if isinstance(public, events.IdentifierLinked):
            change.links[public.value_hash] = entry.stream
        elif isinstance(public, events.IdentifierUnlinked):
            change.unlinked.add((public.value_hash, entry.stream))
            if change.links.get(public.value_hash) == entry.stream:
                del change.links[public.value_hash]
        elif isinstance(public, events.CustomerErased):
            change.erased.append(entry)

    async def _commit(self, change: Change, keys: Mapping[bytes, DataKey], consumed: dict[str, int], also: Also) -> list[Record]:
        async def write_views(connection: Any, records: list[Record]) -> None:
            for record in records:
                change.held[record.entry.stream].pos = record.pos
            await self._states.apply(connection, change.held, keys)
            await self._identifiers.apply(connection, change.links, change.unlinked)
            await also(connection)
            await erasures.erase(connection, change.erased, self._partitions)

        records = await self.writer.append(change.events, consumed, write_views)
        self._cache.put(change.held)
        erased = [value_hash for entry in change.erased for value_hash in entry.public().identifier_hashes]
        self._decisions.drop(erased)
        self._owners.drop({*change.links, *(value_hash for value_hash, _ in change.unlinked), *erased})
        self._snapshotter.take(change.due, self._rulebook.rules.keeping)
        self._advance()
        self._on_changed(records)
        return records

    def _advance(self) -> None:
        """Waiting reads go on: by what is consumed, by what identity had consumed then, and by our own positions."""
        for partition, head in self.writer.heads.items():
            self._progress.advance(f"profile/{partition}", head.next_pos - 1)
        self._progress.advance("customer", self.writer.consumed(CUSTOMER_STREAM) - 1)
        if ingested := self.writer.consumed(INGEST_STREAM):
            self._progress.advance("ingest", ingested)


def _consumed(messages: Sequence[Taken]) -> dict[str, int]:
    """Of CUSTOMER ours, of INGEST what the newest unit tells of identity's. A unit of several messages tells it in its last."""
    units = [message.unit for message in messages if message.unit is not None]
    told = [unit.consumed[INGEST_STREAM] for unit in units if INGEST_STREAM in unit.consumed]
    return {CUSTOMER_STREAM: messages[-1].sequence} | ({INGEST_STREAM: told[-1]} if told else {})


def _forked(held: Held | None) -> Held:
    return Held(fork(held.state), held.version, held.pos) if held else Held()


def _decode(data: bytes) -> Unit | None:
    try:
        return decode_unit(data)
    except msgspec.DecodeError:
        return None


def _open(entry: Entry, key: DataKey | None) -> tuple[Any, Any]:
    """Raises Poison, UnknownEvent."""
    try:
        return entry.parts(key)
    except EnvelopeBroken:
        raise Poison(ENVELOPE_BROKEN) from None
    except msgspec.DecodeError:
        raise Poison("UNDECODABLE") from None


def _parked(sequence: int, part: int, entry: Entry, reason: str) -> Parked:
    return Parked(
        stream=CUSTOMER_STREAM,
        sequence=sequence,
        part=part,
        reason=reason,
        data=encode(entry),
        event_id=entry.event_id,
        type_id=entry.type_id,
        schema_version=entry.schema_version,
        customer=entry.stream,
    )


def _entries_of(parked: Parked) -> list[Entry]:
    """Raises Poison."""
    try:
        return [decode_entry(parked.data)] if parked.event_id else decode_unit(parked.data).entries
    except msgspec.DecodeError:
        raise Poison("NOT_A_UNIT") from None
