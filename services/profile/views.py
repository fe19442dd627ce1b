"""The read models of profile: states by stream, customers by identifier, purposes, decisions by identifier."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from services.profile.domain import FOLD_VERSION, Held, State, close
from services.profile.history import History
from shared import faults
from shared.events.catalogue import encode
from shared.events.consent import DecisionRecorded, PurposeDefined, outlives_erasure
from shared.ids import partition_of
from shared.vault import DataKey, Vault

decode_state = msgspec.msgpack.Decoder(State).decode
decode_purpose = msgspec.msgpack.Decoder(PurposeDefined).decode
decode_decision = msgspec.msgpack.Decoder(DecisionRecorded).decode


class States:
    """Table `states`: the state of each stream, sealed under its customer's key."""

    def __init__(self, pool: Any, vault: Vault, history: History, partitions: int) -> None:
        self._pool = pool
        self._vault = vault
        self._history = history
        self._partitions = partitions

    async def load(self, streams: Collection[bytes]) -> dict[bytes, Held]:
        """Streams that have no event are absent. A state of an older fold is folded anew; one whose key is gone is erased,
        whether or not the event that says so has come."""
        rows = await self._pool.fetch(
            """SELECT s AS stream, version, pos, fold_version, envelope FROM unnest($1::int4[], $2::bytea[]) AS wanted (p, s)
               JOIN states ON partition = p AND stream = s""",
            [partition_of(stream, self._partitions) for stream in streams],
            list(streams),
        )
        keys = await self._vault.keys(row["stream"] for row in rows)
        usable = [row for row in rows if row["stream"] in keys and row["envelope"] and row["fold_version"] == FOLD_VERSION]
        found = {row["stream"]: Held(_open(row, keys[row["stream"]]), row["version"], row["pos"]) for row in usable}
        if rest := {row["stream"] for row in rows} - found.keys():
            folded = await self._history.states(rest)
            for stream in folded.keys() - keys.keys():
                close(folded[stream].state)
            found |= folded
        return found

    async def apply(self, connection: Any, changed: Mapping[bytes, Held], keys: Mapping[bytes, DataKey]) -> None:
        streams = sorted(changed)
        await connection.execute(
            """INSERT INTO states (partition, stream, version, pos, fold_version, envelope)
               SELECT p, s, v, pos, $6, e FROM unnest($1::int4[], $2::bytea[], $3::int8[], $4::int8[], $5::bytea[]) AS new (p, s, v, pos, e)
               ON CONFLICT (partition, stream) DO UPDATE
               SET version = excluded.version, pos = excluded.pos, fold_version = excluded.fold_version, envelope = excluded.envelope""",
            [partition_of(stream, self._partitions) for stream in streams],
            streams,
            [changed[stream].version for stream in streams],
            [changed[stream].pos for stream in streams],
            [_seal(changed[stream], stream, keys.get(stream)) for stream in streams],
            FOLD_VERSION,
        )


def _seal(held: Held, stream: bytes, key: DataKey | None) -> bytes:
    """Empty when there is nothing left to keep."""
    if key is None or held.state.erased:
        return b""
    return key.seal(encode(held.state), state_binding(stream, held.version, held.pos, FOLD_VERSION))


def _open(row: Any, key: DataKey) -> State:
    return decode_state(key.open(row["envelope"], state_binding(row["stream"], row["version"], row["pos"], row["fold_version"])))


def state_binding(stream: bytes, version: int, pos: int, fold_version: int) -> bytes:
    """Where a sealed state belongs: an older one under the version of today opens nowhere."""
    return b"state" + stream + b"".join(number.to_bytes(8, signed=True) for number in (fold_version, version, pos))


class Identifiers:
    """Table `identifiers`: which customer's stream an identifier was linked to."""

    def __init__(self, pool: Any, partitions: int) -> None:
        self._pool = pool
        self._partitions = partitions

    async def customer_of(self, value_hash: bytes) -> bytes | None:
        bucket = partition_of(value_hash, self._partitions)
        customer: bytes | None = await self._pool.fetchval(
            "SELECT customer FROM identifiers WHERE bucket = $1 AND value_hash = $2", bucket, value_hash
        )
        return customer

    async def apply(self, connection: Any, links: Mapping[bytes, bytes], unlinked: Mapping[bytes, bytes]) -> None:
        """Both {identifier hash: customer}; what is unlinked from one customer may be linked to another."""
        if unlinked:
            await connection.execute(
                """DELETE FROM identifiers USING unnest($1::int4[], $2::bytea[], $3::bytea[]) AS gone (b, h, c)
                   WHERE bucket = b AND value_hash = h AND customer = c""",
                [partition_of(value_hash, self._partitions) for value_hash in unlinked],
                list(unlinked),
                list(unlinked.values()),
            )
        if links:
            await connection.execute(
                """INSERT INTO identifiers (bucket, value_hash, customer) SELECT * FROM unnest($1::int4[], $2::bytea[], $3::bytea[])
                   ON CONFLICT (bucket, value_hash) DO UPDATE SET customer = excluded.customer""",
                [partition_of(value_hash, self._partitions) for value_hash in links],
                list(links),
                list(links.values()),
            )


class Consents:
    """Tables `purposes`, `decisions` and `consent_head`: what is enforced, and up to which position of the consent log."""

    def __init__(self, pool: Any, partitions: int) -> None:
        self._pool = pool
        self._partitions = partitions

    async def consumed(self) -> int:
        return int(await self._pool.fetchval("SELECT consumed FROM consent_head"))

    async def purposes(self) -> dict[str, PurposeDefined]:
        """The newest version of each."""
        rows = await self._pool.fetch("SELECT purpose FROM purposes ORDER BY name, version")
        return {purpose.name: purpose for purpose in (decode_purpose(row["purpose"]) for row in rows)}

    async def decisions(self, hashes: Collection[bytes]) -> dict[bytes, list[DecisionRecorded]]:
        rows = await self._pool.fetch(
            """SELECT h AS value_hash, decision FROM unnest($1::int4[], $2::bytea[]) AS wanted (b, h)
               JOIN decisions ON bucket = b AND value_hash = h""",
            [partition_of(value_hash, self._partitions) for value_hash in hashes],
            list(hashes),
        )
        found: dict[bytes, list[DecisionRecorded]] = {value_hash: [] for value_hash in hashes}
        for row in rows:
            found[row["value_hash"]].append(decode_decision(row["decision"]))
        return found

    async def apply(self, purposes: Sequence[PurposeDefined], decisions: Sequence[DecisionRecorded], consumed: int) -> None:
        """What a person granted before an erasure doesn't come back, in whatever order the two are learnt."""
        async with self._pool.acquire() as connection, connection.transaction():
            erased = await erased_identifiers(connection, {d.identifier_hash for d in decisions}, self._partitions)
            decisions = [d for d in decisions if outlives_erasure(d, erased.get(d.identifier_hash, -1))]
            await connection.executemany(
                "INSERT INTO purposes (name, version, purpose) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                [(purpose.name, purpose.version, encode(purpose)) for purpose in purposes],
            )
            await connection.executemany(
                """INSERT INTO decisions (bucket, value_hash, purpose, decision_id, decision) VALUES ($1, $2, $3, $4, $5)
                   ON CONFLICT DO NOTHING""",
                [
                    (partition_of(d.identifier_hash, self._partitions), d.identifier_hash, d.purpose, d.decision_id, encode(d))
                    for d in decisions
                ],
            )
            faults.reach(faults.BEFORE_POSITION)
            await connection.execute("UPDATE consent_head SET consumed = $1 WHERE consumed < $1", consumed)
            faults.reach(faults.BEFORE_COMMIT)


async def erased_identifiers(connection: Any, hashes: Collection[bytes], partitions: int) -> dict[bytes, int]:
    """{identifier hash: when it was erased last}."""
    rows = await connection.fetch(
        """SELECT value_hash, erased_at FROM unnest($1::int4[], $2::bytea[]) AS wanted (b, h)
           JOIN erased_identifiers ON bucket = b AND value_hash = h""",
        [partition_of(value_hash, partitions) for value_hash in hashes],
        list(hashes),
    )
    return {row["value_hash"]: row["erased_at"] for row in rows}
