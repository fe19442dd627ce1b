"""Stretches of streams in the order in which their events happened, so that a read of what had happened by some instant folds
few of them, whatever order they were recorded in: table `ordered`.

Kept are, after every so many events of that order, their state and which events come next. A cache as snapshots are, and sealed as
they are: what doesn't fit is ignored, and made by the read that misses it.
"""

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import copy
from typing import Any, Self

import msgspec

from services.profile.domain.joining import whole_of
from services.profile.domain.rules import PLAIN, Keeping, fold_digest
from services.profile.domain.state import Held, State, is_kept_for
from services.profile.tables.making_once import MakingOnce
from services.profile.tables.snapshots import SNAPSHOT_EVERY, Past
from shared.events.catalogue import encode
from shared.ids import partition_of
from shared.telemetry import logger
from shared.vault import DataKey, EnvelopeBroken

SHORTEST = 2  # blocks: of one alone there is nothing to pass over
FANOUT = 4  # stretches make one of the next length: of most lengths up to three are joined
LENGTHS = 5  # 250 events to 64,000: as many, of a KB each, are in memory while one is made

log = logger("ordered")
PREFIX_COLUMNS = "first, last, until_at, latest_at, events, pos"


class Place(msgspec.Struct, frozen=True):
    """Versions `first` to `last` of a stream."""

    stream: bytes
    first: int
    last: int


class Prefix(msgspec.Struct, frozen=True):
    """The `events` of a stretch that happened first: all by `latest_at`, and the last recorded one at `pos`. Before `until_at` nothing
    of the stretch had happened but they and some of those that come next."""

    place: Place
    until_at: int
    latest_at: int
    events: int
    pos: int


class Coming(msgspec.Struct, frozen=True, array_like=True):
    version: int
    happened_at: int


class Content(msgspec.Struct, array_like=True):
    """Sealed: a prefix's state, which doesn't say which versions are in it, and the events that come next."""

    state: State
    coming: list[Coming]


class Kept(msgspec.Struct, frozen=True):
    prefix: Prefix
    envelope: bytes


class Part(msgspec.Struct, frozen=True):
    """A prefix as it was opened."""

    prefix: Prefix
    content: Content

    def happened_by(self, valid_at: int) -> list[int]:
        """Versions that count besides."""
        return [one.version for one in self.content.coming if one.happened_at <= valid_at]


decode_content = msgspec.msgpack.Decoder(Content).decode


class Ordered:
    def __init__(self, pool: Any, partitions: int, snapshot_every: int = SNAPSHOT_EVERY) -> None:
        self._pool = pool
        self._partitions = partitions
        self.every = (snapshot_every + 1) // 2  # events of a block: some are read of each stretch, of snapshots of one only
        self._keeping = PLAIN
        self._fold = fold_digest(PLAIN)
        self._making = MakingOnce()

    def of(self, keeping: Keeping) -> Self:
        """Those that were made by a fold that keeps this."""
        others = copy(self)
        others._keeping, others._fold = keeping, fold_digest(keeping)
        return others

    def making(self, place: Place) -> asyncio.Lock:
        """By one read at a time."""
        return self._making.turn((place, self._fold))

    @property
    def shortest(self) -> int:
        """Events of a stretch."""
        return self.every * SHORTEST

    def stretches(self, stream: bytes, version: int) -> Iterator[Place]:
        """One after the other from the stream's beginning up to that version, or as near as they come: the longest first."""
        first, length = 1, self.shortest * FANOUT ** (LENGTHS - 1)
        while length >= self.shortest:
            while first + length - 1 <= version:
                yield Place(stream, first, first + length - 1)
                first += length
            length //= FANOUT

    def take(self, prefix: Prefix, state: State, coming: list[Coming], key: DataKey) -> Kept:
        """Of a state as it is now; it may evolve afterwards."""
        content = Content(msgspec.structs.replace(state, through=0, beyond=set()), coming)
        return Kept(prefix, key.seal(encode(content), prefix_binding(prefix, self._fold)))

    async def keep(self, stream: bytes, kept: Sequence[Kept]) -> None:
        """Of one stream. Of one who was erased meanwhile none is kept: her state is locked until the erasure has emptied it."""
        await self._pool.execute(
            f"""WITH state AS (SELECT envelope FROM states WHERE partition = $1 AND stream = $2 FOR SHARE)
               INSERT INTO ordered (partition, stream, fold, {PREFIX_COLUMNS}, envelope)
               SELECT $1, $2, $3, * FROM unnest($4::int8[], $5::int8[], $6::int8[], $7::int8[], $8::int8[], $9::int8[], $10::bytea[]) AS new
               WHERE NOT EXISTS (SELECT FROM state WHERE length(envelope) = 0)
               ON CONFLICT DO NOTHING""",  # noqa: S608
            partition_of(stream, self._partitions),
            stream,
            self._fold,
            [one.prefix.place.first for one in kept],
            [one.prefix.place.last for one in kept],
            [one.prefix.until_at for one in kept],
            [one.prefix.latest_at for one in kept],
            [one.prefix.events for one in kept],
            [one.prefix.pos for one in kept],
            [one.envelope for one in kept],
        )

    async def parts(self, places: Sequence[Place], valid_at: int, keys: Mapping[bytes, DataKey]) -> dict[Place, Part]:
        """Of each stretch the prefix that tells of `valid_at`, where it is kept."""
        rows = await self._pool.fetch(
            f"""SELECT s AS stream, {PREFIX_COLUMNS}, envelope FROM unnest($1::int4[], $2::bytea[], $3::int8[], $4::int8[]) AS wanted (p, s, f, l)
               CROSS JOIN LATERAL (SELECT * FROM ordered
                                   WHERE partition = p AND stream = s AND fold = $5 AND first = f AND last = l AND until_at > $6
                                   ORDER BY until_at LIMIT 1) AS found
               WHERE latest_at <= $6""",  # noqa: S608
            [partition_of(place.stream, self._partitions) for place in places],
            [place.stream for place in places],
            [place.first for place in places],
            [place.last for place in places],
            self._fold,
            valid_at,
        )
        opened = [self.open(Kept(prefix_of(row), row["envelope"]), keys[row["stream"]]) for row in rows]
        return {part.prefix.place: part for part in opened if part is not None}

    @staticmethod
    async def purge(connection: Any, streams: Sequence[bytes]) -> int:
        """Part of an erasure. How many there were."""
        deleted = await connection.fetch("DELETE FROM ordered WHERE stream = ANY($1::bytea[]) RETURNING 1", list(streams))
        return len(deleted)

    def open(self, kept: Kept, key: DataKey) -> Part | None:
        """None: it was altered, or other traits were left out of it for want of room."""
        try:
            content = decode_content(key.open(kept.envelope, prefix_binding(kept.prefix, self._fold)))
        except (EnvelopeBroken, msgspec.DecodeError) as error:
            log.error("an ordered stretch was altered; making it anew", error=type(error).__name__)
            return None
        return Part(kept.prefix, content) if is_kept_for(content.state, self._keeping) else None


def tells(prefix: Prefix, valid_at: int) -> bool:
    return prefix.latest_at <= valid_at < prefix.until_at


def past_of(parts: Collection[Part], keeping: Keeping) -> Past:
    """Of stretches of one stream, what had happened by then but for what `happened_by` gives."""
    state = whole_of([part.content.state for part in parts], keeping)
    prefixes = [part.prefix for part in parts]
    held = Held(state, sum(one.events for one in prefixes), max(one.pos for one in prefixes))
    return Past(held, max(one.latest_at for one in prefixes))


def prefix_binding(prefix: Prefix, fold: bytes) -> bytes:
    numbers = (prefix.place.first, prefix.place.last, prefix.until_at, prefix.latest_at, prefix.events, prefix.pos)
    return b"ordered" + prefix.place.stream + fold + b"".join(number.to_bytes(8, signed=True) for number in numbers)


def prefix_of(row: Any) -> Prefix:
    stream, first, last, *rest = (row[name] for name in ("stream", *PREFIX_COLUMNS.split(", ")))
    return Prefix(Place(stream, first, last), *rest)
