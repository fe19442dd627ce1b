"""Table `states`: the state of each stream, sealed under its customer's key."""

from collections.abc import AsyncGenerator, Collection, Iterable, Mapping
from typing import Any

import msgspec

from services.profile.domain.rules import fold_digest
from services.profile.domain.state import Held, State, close, is_kept_for
from services.profile.tables.history import History
from services.profile.tables.rulebook import Rulebook
from shared.events.catalogue import encode
from shared.ids import partition_of
from shared.pieces import BYTES_AT_ONCE, Pieces
from shared.vault import DataKey, Vault

LOOKED_AT = 2_000  # rows of a query that goes through the table: no statement may take long
BYTES_OF_NO_STATE = 1_700  # of memory, of one that says nothing
BYTES_A_SEALED_BYTE = 6  # each name and value is an object by itself

decode_state = msgspec.msgpack.Decoder(State).decode


class States:
    """Table `states`: the state of each stream, sealed under its customer's key."""

    def __init__(self, pool: Any, vault: Vault, history: History, rulebook: Rulebook, partitions: int) -> None:
        self._pool = pool
        self._vault = vault
        self._history = history
        self._rulebook = rulebook
        self._partitions = partitions

    async def load(self, streams: Collection[bytes]) -> dict[bytes, Held]:
        """Streams that have no event are absent. A state of another fold than the rules in force have is folded anew; one
        whose key is gone is erased, whether or not the event that says so has come."""
        keeping = self._rulebook.rules.keeping
        rows = await self._pool.fetch(
            """SELECT s AS stream, version, pos, fold, envelope FROM unnest($1::int4[], $2::bytea[]) AS wanted (p, s)
               JOIN states ON partition = p AND stream = s""",
            [partition_of(stream, self._partitions) for stream in streams],
            list(streams),
        )
        keys = await self._vault.keys(row["stream"] for row in rows)
        usable = [row for row in rows if row["stream"] in keys and row["envelope"] and row["fold"] == fold_digest(keeping)]
        found, pieces = dict[bytes, Held](), Pieces(BYTES_AT_ONCE)
        for row in usable:
            if is_kept_for(state := _open(row, keys[row["stream"]]), keeping):
                found[row["stream"]] = Held(state, row["version"], row["pos"], len(row["envelope"]))
            await pieces.done(len(row["envelope"]))
        if rest := {row["stream"] for row in rows} - found.keys():
            folded = await self._history.of(keeping).states(rest)
            for stream in folded.keys() - keys.keys():
                close(folded[stream].state)
            for held in folded.values():
                held.sealed_bytes = len(encode(held.state))
            found |= folded
        return found

    async def kept(self, streams: Collection[bytes], folds: Collection[bytes]) -> dict[bytes, tuple[Held, bytes]]:
        """Those that are kept of one of these folds, as they are, with the fold. Whatever the fold, all events are in them."""
        rows = await self._pool.fetch(
            """SELECT s AS stream, version, pos, fold, envelope FROM unnest($1::int4[], $2::bytea[]) AS wanted (p, s)
               JOIN states ON partition = p AND stream = s WHERE fold = ANY($3::bytea[]) AND length(envelope) > 0""",
            [partition_of(stream, self._partitions) for stream in streams],
            list(streams),
            list(folds),
        )
        keys, found, pieces = await self._vault.keys(row["stream"] for row in rows), {}, Pieces(BYTES_AT_ONCE)
        for row in rows:
            if (key := keys.get(row["stream"])) is not None:
                found[row["stream"]] = Held(_open(row, key), row["version"], row["pos"]), row["fold"]
            await pieces.done(len(row["envelope"]))
        return found

    async def of_other_folds(self, streams: Collection[bytes], longer_than: int) -> set[bytes]:
        """Of these, whose state isn't of the fold in force and has more events than that: to load it takes long."""
        rows = await self._pool.fetch(
            """SELECT s AS stream FROM unnest($1::int4[], $2::bytea[]) AS wanted (p, s)
               JOIN states ON partition = p AND stream = s WHERE fold <> $3 AND version > $4""",
            [partition_of(stream, self._partitions) for stream in streams],
            list(streams),
            fold_digest(self._rulebook.rules.keeping),
            longer_than,
        )
        return {row["stream"] for row in rows}

    async def apply(self, connection: Any, changed: Mapping[bytes, Held], keys: Mapping[bytes, DataKey]) -> None:
        """States of the fold in force."""
        streams, fold = sorted(changed), fold_digest(self._rulebook.rules.keeping)
        await connection.execute(
            """INSERT INTO states (partition, stream, version, pos, fold, envelope)
               SELECT p, s, v, pos, $6, e FROM unnest($1::int4[], $2::bytea[], $3::int8[], $4::int8[], $5::bytea[]) AS new (p, s, v, pos, e)
               ON CONFLICT (partition, stream) DO UPDATE
               SET version = excluded.version, pos = excluded.pos, fold = excluded.fold, envelope = excluded.envelope""",
            [partition_of(stream, self._partitions) for stream in streams],
            streams,
            [changed[stream].version for stream in streams],
            [changed[stream].pos for stream in streams],
            await _sealed(changed, streams, keys, fold),
            fold,
        )

    async def version_of(self, stream: bytes) -> int:
        """Of the state that is kept of a stream, which opens under no other; 0: there is none. Raises EnvelopeBroken."""
        row = await self._pool.fetchrow(
            "SELECT stream, version, pos, fold, envelope FROM states WHERE partition = $1 AND stream = $2",
            partition_of(stream, self._partitions),
            stream,
        )
        if row is None:
            return 0
        if row["envelope"] and (key := (await self._vault.keys([stream])).get(stream)):
            _open(row, key)
        return int(row["version"])

    async def count(self) -> int:
        return int(await self._pool.fetchval("SELECT count(*) FROM states"))

    async def count_settled(self) -> int:
        """States of the fold in force."""
        fold = fold_digest(self._rulebook.rules.keeping)
        return int(await self._pool.fetchval("SELECT count(*) FROM states WHERE fold = $1", fold))

    async def pages(self, size: int, *, of_other_folds: bool = False, after: bytes = b"") -> AsyncGenerator[list[bytes], None]:
        """Every stream that has a state, or has one of another fold than is in force when the page is read, by partition and id;
        those behind one of them when `after` names it."""
        query = "SELECT stream, fold FROM states WHERE partition = $1 AND stream > $2 ORDER BY stream LIMIT $3"
        for partition in range(partition_of(after, self._partitions) if after else 0, self._partitions):
            while rows := await self._pool.fetch(query, partition, after, LOOKED_AT):
                fold = fold_digest(self._rulebook.rules.keeping) if of_other_folds else b""
                wanted = [row["stream"] for row in rows if row["fold"] != fold]
                for first in range(0, len(wanted), size):
                    yield wanted[first : first + size]
                after = rows[-1]["stream"]
            after = b""

    async def refold(self, streams: Collection[bytes]) -> None:
        """Keeps their states as `load` folds them. What was written meanwhile is newer, and stays."""
        keeping = self._rulebook.rules.keeping
        held, keys, fold = await self.load(streams), await self._vault.keys(streams), fold_digest(keeping)
        if self._rulebook.rules.keeping != keeping:
            return  # some may be folded for others
        await self._pool.execute(
            """UPDATE states SET version = v, pos = new.p, fold = $6, envelope = e
               FROM unnest($1::int4[], $2::bytea[], $3::int8[], $4::int8[], $5::bytea[]) AS new (q, s, v, p, e)
               WHERE partition = q AND stream = s AND version <= v""",
            [partition_of(stream, self._partitions) for stream in held],
            list(held),
            [one.version for one in held.values()],
            [one.pos for one in held.values()],
            await _sealed(held, held, keys, fold),
            fold,
        )


def memory_bytes(held: Held) -> int:
    """About what it takes of memory."""
    return BYTES_OF_NO_STATE + BYTES_A_SEALED_BYTE * held.sealed_bytes


async def positions_of(connection: Any, streams: Collection[bytes], partitions: int) -> dict[bytes, int]:
    """Of the newest event in each state."""
    rows = await connection.fetch(
        "SELECT s AS stream, pos FROM unnest($1::int4[], $2::bytea[]) AS wanted (p, s) JOIN states ON partition = p AND stream = s",
        [partition_of(stream, partitions) for stream in streams],
        list(streams),
    )
    return {row["stream"]: row["pos"] for row in rows}


async def _sealed(held: Mapping[bytes, Held], streams: Iterable[bytes], keys: Mapping[bytes, DataKey], fold: bytes) -> list[bytes]:
    sealed, pieces = list[bytes](), Pieces(BYTES_AT_ONCE)
    for stream in streams:
        sealed.append(_seal(held[stream], stream, keys.get(stream), fold))
        held[stream].sealed_bytes = len(sealed[-1])
        await pieces.done(len(sealed[-1]))
    return sealed


def _seal(held: Held, stream: bytes, key: DataKey | None, fold: bytes) -> bytes:
    """Empty when there is nothing left to keep."""
    if key is None or held.state.erased:
        return b""
    return key.seal(encode(held.state), state_binding(stream, held.version, held.pos, fold))


def _open(row: Any, key: DataKey) -> State:
    return decode_state(key.open(row["envelope"], state_binding(row["stream"], row["version"], row["pos"], row["fold"])))


def state_binding(stream: bytes, version: int, pos: int, fold: bytes) -> bytes:
    """Where a sealed state belongs: an older one under the version of today opens nowhere."""
    return b"state" + stream + fold + b"".join(number.to_bytes(8, signed=True) for number in (version, pos))
