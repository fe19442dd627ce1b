"""Profile's reads over a log in memory: records, keys and snapshots are lists and dicts, all else is the service's own code."""

from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence
from typing import Any, cast

from services.profile.app import Profiles
from services.profile.batches import Batches
from services.profile.cache import LoadingCache
from services.profile.changes import Changes
from services.profile.choosing import Chooser
from services.profile.differences import Differences
from services.profile.domain.decided import KnownDecision
from services.profile.domain.rules import Keeping
from services.profile.domain.state import Held, close
from services.profile.lapses import Lapses
from services.profile.new_rules import NewRules
from services.profile.pauses import Pauses
from services.profile.sides import Sides
from services.profile.sweep import Sweep
from services.profile.tables.folding import add
from services.profile.tables.history import History
from services.profile.tables.near import Near
from services.profile.tables.ordered import Kept, Ordered, Part, Place, tells
from services.profile.tables.rulebook import RULES_STREAM, Rulebook
from services.profile.tables.snapshots import Mark, Snapshot, Snapshots
from services.profile.tables.snapshots import Past as PastOfStream
from services.profile.timelines import Timelines, place_of
from services.profile.visibility import Visibility
from services.profile.walking import Walks
from shared.events.catalogue import Entry
from shared.events.consent import PurposeDefined
from shared.ids import partition_of
from shared.instants import END_OF_TIME
from shared.log import LogReader, Record, Stretch
from shared.log.reader import Happened
from shared.vault import DataKey, Vault
from tests.unrecorded import calm

PARTITIONS = 2
AUDIT = PurposeDefined(
    request_id="a",
    name="audit",
    version=1,
    description="",
    legal_basis="legal_obligation",
    traits=("*", "events"),
    despite_restriction=("legal_claims",),
)
SUPPORT = PurposeDefined(
    request_id="s", name="support", version=1, description="", legal_basis="contract", traits=("city", "email")
)


class Log:
    """Records in the order of their recording. One append is one transaction: all of it is recorded at one instant."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.now = 1_000
        self.step_us = 10

    def append(self, entries: Iterable[Entry]) -> None:
        self.now += self.step_us
        for entry in entries:
            partition = partition_of(entry.stream, PARTITIONS)
            pos = sum(1 for record in self.records if record.partition == partition)
            version = 1 + sum(1 for record in self.records if record.entry.stream == entry.stream)
            self.records.append(Record(partition, pos, version, self.now, entry))

    async def streams(self, streams: Sequence[tuple[int, bytes]], known_at: int = END_OF_TIME) -> list[Record]:
        return await self.history([Stretch(partition, stream) for partition, stream in streams], known_at=known_at)

    async def history(
        self,
        stretches: Sequence[Stretch],
        *,
        recorded_since: int = 0,
        known_at: int = END_OF_TIME,
        types: Collection[str] | None = None,
        valid_at: int = END_OF_TIME,
        timeless: Collection[str] = (),
    ) -> list[Record]:
        found = [
            record
            for stretch in stretches
            for record in self.records
            if record.entry.stream == stretch.stream
            and stretch.first <= record.version <= stretch.last
            and recorded_since <= record.recorded_at <= known_at
            and (types is None or record.entry.type_id in types)
            and (record.entry.occurred_at <= valid_at or record.entry.type_id in timeless)
        ]
        return sorted(found, key=lambda record: (record.partition, record.entry.stream, record.version))

    async def differing(
        self, stretches: Sequence[Stretch], one: tuple[int, int], other: tuple[int, int], timeless: Collection[str]
    ) -> list[Record]:
        def counts(record: Record, valid_at: int, known_at: int) -> bool:
            happened = record.entry.occurred_at <= valid_at or record.entry.type_id in timeless
            return happened and record.recorded_at <= known_at

        return [record for record in await self.history(stretches) if counts(record, *one) != counts(record, *other)]

    async def of_versions(self, partition: int, stream: bytes, versions: Collection[int]) -> list[Record]:
        return [record for record in self.records if record.entry.stream == stream and record.version in versions]

    async def versions_by(self, streams: Sequence[tuple[int, bytes]], known_at: int) -> dict[bytes, int]:
        records = [record for record in await self.streams(streams) if record.recorded_at <= known_at]
        return {record.entry.stream: record.version for record in records}

    async def happened(self, streams: Sequence[tuple[int, bytes]], which: Happened, limit: int) -> list[Record]:
        found = [
            record
            for record in await self.streams(streams, which.known_at)
            if (record.entry.occurred_at <= which.valid_at or record.entry.type_id in which.timeless)
            and which.since <= record.entry.occurred_at <= which.until
            and (which.types is None or record.entry.type_id in which.types)
            and (which.before is None or place_of(record) < which.before)
        ]
        return sorted(found, key=place_of, reverse=not which.earliest_first)[:limit]

    async def partition(self, partition: int, first: int, limit: int, last: int) -> list[Record]:
        own = (record for record in self.records if record.partition == partition)
        return [record for record in own if first <= record.pos <= last][:limit]

    async def position_after(self, partition: int, known_at: int) -> int:
        return sum(1 for record in self.records if record.partition == partition and record.recorded_at <= known_at)

    async def learnt(self, streams: Sequence[tuple[int, bytes]], since: int, known_at: int, limit: int) -> list[Record]:
        found = [record for record in await self.streams(streams, known_at) if record.recorded_at >= since]
        return sorted(found, key=lambda record: (record.recorded_at, record.partition, record.pos))[:limit]

    async def of_types(self, streams: Sequence[tuple[int, bytes]], type_ids: Collection[str], known_at: int) -> list[Record]:
        return [record for record in await self.streams(streams, known_at) if record.entry.type_id in type_ids]

    async def anything_happened(self, streams: Sequence[tuple[int, bytes]], by_then: Happened) -> bool:
        found = await self.streams(streams, by_then.known_at)
        return any(r.entry.occurred_at <= by_then.valid_at and r.entry.type_id not in by_then.timeless for r in found)


class Keys:
    def __init__(self) -> None:
        self.held: dict[bytes, DataKey] = {}

    async def keys(self, owners: Iterable[bytes]) -> dict[bytes, DataKey]:
        return {owner: self.held[owner] for owner in owners if owner in self.held}

    @property
    def lookup_key(self) -> bytes:
        return b"l" * 32


class RememberedSnapshots(Snapshots):
    def __init__(self, every: int) -> None:
        super().__init__(None, PARTITIONS, every)
        self.kept: dict[tuple[bytes, int, bytes], Snapshot] = {}

    async def keep(self, taken: Sequence[Snapshot]) -> None:
        for one in taken:
            self.kept.setdefault((one.mark.stream, one.mark.version, self._fold), one)

    async def newest(self, streams: Collection[bytes], valid_at: int, known_at: int, keys: Any) -> dict[bytes, PastOfStream]:
        found: dict[bytes, PastOfStream] = {}
        for stream in streams:
            kept = [one for one in self._kept(stream, known_at) if stream in keys and one.mark.latest_at <= valid_at]
            if kept and (opened := self.open(kept[-1].mark, kept[-1].envelope, keys[stream])):
                found[stream] = opened
        return found

    async def marks_after(self, versions: Mapping[bytes, int], known_at: int, keys: Any) -> list[Mark]:
        kept = [one for stream, version in versions.items() for one in self._kept(stream, known_at) if one.mark.version > version]
        return [mark for one in kept if (mark := self.genuine(one.mark, one.seal, keys[one.mark.stream]))]

    def _kept(self, stream: bytes, known_at: int) -> list[Snapshot]:
        kept = [one for (_, _, fold), one in self.kept.items() if fold == self._fold]
        own = [one for one in kept if one.mark.stream == stream and one.mark.recorded_at <= known_at]
        return sorted(own, key=lambda one: one.mark.version)


class RememberedOrdered(Ordered):
    def __init__(self, every: int) -> None:
        super().__init__(None, PARTITIONS, every)
        self.kept: dict[tuple[Place, int, bytes], Kept] = {}

    async def keep(self, stream: bytes, kept: Sequence[Kept]) -> None:
        for one in kept:
            self.kept.setdefault((one.prefix.place, one.prefix.until_at, self._fold), one)

    async def parts(self, places: Sequence[Place], valid_at: int, keys: Any) -> dict[Place, Part]:
        telling = [one for (_, _, fold), one in self.kept.items() if fold == self._fold and tells(one.prefix, valid_at)]
        opened = [self.open(one, keys[one.prefix.place.stream]) for one in telling if one.prefix.place in places]
        return {part.prefix.place: part for part in opened if part}


class MemoryStates:
    """As they are now; `load` is the past's."""

    def __init__(self, load: Any, log: Log) -> None:
        self.load = load
        self._log = log

    def _streams(self) -> list[bytes]:
        customers = {record.entry.stream for record in self._log.records if record.entry.stream != RULES_STREAM}
        return sorted(customers, key=lambda stream: (partition_of(stream, PARTITIONS), stream))

    async def count(self) -> int:
        return len(self._streams())

    async def pages(self, size: int, *, after: bytes = b"") -> AsyncGenerator[list[bytes], None]:
        streams = self._streams()
        streams = streams[streams.index(after) + 1 :] if after else streams
        for first in range(0, len(streams), size):
            yield streams[first : first + size]


class Past:
    """What a test writes to and reads from."""

    def __init__(self, snapshot_every: int = 3) -> None:
        self.log = Log()
        self.keys = Keys()
        self.snapshots, self.ordered = RememberedSnapshots(snapshot_every), RememberedOrdered(1 + snapshot_every // 4)
        self.decisions: dict[bytes, list[KnownDecision]] = {}
        reader, vault, near = cast(LogReader, self.log), cast(Vault, self.keys), Near(streams_at_least=1, folded_at_least=0)
        self.history = History(reader, vault, self.snapshots, self.ordered, PARTITIONS).beside(self._at_hand, near)
        decisions = LoadingCache(self._decisions, 0)
        self.rulebook = Rulebook(reader, PARTITIONS)
        chooser = Chooser(self.rulebook, decisions, vault.lookup_key, lambda: self.log.now)
        self.profiles = Profiles(
            self.history,
            chooser,
            cast(Any, self),
            LoadingCache(self._states, 0),
            decisions,
            {purpose.name: purpose for purpose in (AUDIT, SUPPORT)},
            vault,
            lambda: True,
            self._settle,
            lambda: self.log.now,
            PARTITIONS,
        )
        self.batches = Batches(self.profiles, cast(Any, self), LoadingCache(self._states, 0), vault.lookup_key)
        self.chooser, self.sides = chooser, Sides(chooser, decisions)
        self.differences = Differences(self.profiles, chooser, self.history, self.sides, vault)
        self.walks = Walks(self.profiles, chooser, self.history, self.sides, reader, vault, PARTITIONS, Pauses(lambda _: None))
        self.states = cast(Any, MemoryStates(self._states, self.log))
        self.visibility = Visibility(self.profiles, self.states, calm())
        self.timelines = Timelines(self.profiles, reader, vault, PARTITIONS)

    def lapses(self) -> Lapses:
        reader = cast(LogReader, self.log)
        return Lapses(self.visibility, self.states, self.history, self.rulebook, self.sides, reader, self._settle, PARTITIONS)

    def changes(self) -> Changes:
        reader, vault = cast(LogReader, self.log), cast(Vault, self.keys)
        new_rules = NewRules(self.states, self.history, self.chooser, self.rulebook)
        sweep = lambda: Sweep(self.history, self.chooser)  # noqa: E731
        return Changes(self.visibility, sweep, new_rules, reader, vault, self._settle, PARTITIONS)

    def key_of(self, stream: bytes) -> DataKey:
        return self.keys.held.setdefault(stream, DataKey(stream + stream))

    def destroy_key(self, stream: bytes) -> None:
        self.keys.held.pop(stream, None)
        for place in [place for place in self.snapshots.kept if place[0] == stream]:
            del self.snapshots.kept[place]
        for key in [key for key in self.ordered.kept if key[0].stream == stream]:
            del self.ordered.kept[key]

    async def ever(self, value_hash: bytes) -> list[bytes]:
        """As the tables of identifiers have it: of who is erased, nothing."""
        linked = [r.entry for r in self.log.records if getattr(r.entry.public(), "value_hash", None) == value_hash]
        return [stream for stream in dict.fromkeys(entry.stream for entry in linked) if stream in self.keys.held]

    def _at_hand(self, streams: Collection[bytes], keeping: Keeping) -> dict[bytes, Held]:
        """Of every other stream, its state as it is now."""
        found: dict[bytes, PastOfStream] = {}
        for record in self.log.records:
            stream = record.entry.stream
            if stream in streams and stream[0] % 2:
                add(found.setdefault(stream, PastOfStream()), [record], self.keys.held.get(stream), keeping)
        return {stream: past.held for stream, past in found.items()}

    async def _states(self, streams: Collection[bytes]) -> dict[bytes, Held]:
        held = await self.history.fold(await self.history.read(streams))
        for stream in held.keys() - self.keys.held.keys():
            close(held[stream].state)
        return held

    async def _decisions(self, hashes: Collection[bytes]) -> dict[bytes, list[KnownDecision]]:
        return {value_hash: self.decisions.get(value_hash, []) for value_hash in hashes}

    async def _settle(self, known_at: int) -> int:
        return min(known_at, self.log.now)
