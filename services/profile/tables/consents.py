"""Tables `purposes`, `decisions` and `consent_head`: what is enforced, and up to which position of the consent log."""

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec

from services.profile.domain.decided import KnownDecision
from shared import faults
from shared.consent_rule import outlives_erasure
from shared.events.catalogue import encode
from shared.events.consent import PurposeDefined
from shared.ids import partition_of

decode_purpose = msgspec.msgpack.Decoder(PurposeDefined).decode
decode_decision = msgspec.msgpack.Decoder(KnownDecision).decode


class Span(NamedTuple):
    """What was decided about a purpose after an instant and up to another is due so many microseconds later."""

    purpose: str
    after: int
    until: int
    shift: int


class Due(NamedTuple):
    value_hash: bytes
    due_at: int


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

    async def defined_after(self, position: int, last: int) -> list[PurposeDefined]:
        """Behind a position of the consent log, up to `last`; of each the newest comes last."""
        rows = await self._pool.fetch(
            "SELECT purpose FROM purposes WHERE pos > $1 AND pos <= $2 ORDER BY name, version", position, last
        )
        return [decode_purpose(row["purpose"]) for row in rows]

    async def purpose(self, name: str, version: int) -> PurposeDefined | None:
        row = await self._pool.fetchrow("SELECT purpose FROM purposes WHERE name = $1 AND version = $2", name, version)
        return decode_purpose(row["purpose"]) if row else None

    async def versions(self, name: str, last: int) -> list[PurposeDefined]:
        """Of a purpose those that were known at a position of the consent log."""
        rows = await self._pool.fetch("SELECT purpose FROM purposes WHERE name = $1 AND pos <= $2 ORDER BY version", name, last)
        return [decode_purpose(row["purpose"]) for row in rows]

    async def erased(self, hashes: Collection[bytes]) -> dict[bytes, int]:
        """As `erased_identifiers`."""
        return await erased_identifiers(self._pool, hashes, self._partitions)

    async def decisions(self, hashes: Collection[bytes]) -> dict[bytes, list[KnownDecision]]:
        return {value_hash: [decision for _, decision in made] for value_hash, made in (await self.decided(hashes)).items()}

    async def known(self, hashes: Collection[bytes], last: int) -> dict[bytes, list[KnownDecision]]:
        """As `decisions`, up to a position in the consent log."""
        found = await self.decided(hashes)
        return {value_hash: [one for position, one in made if position <= last] for value_hash, made in found.items()}

    async def decided(self, hashes: Collection[bytes]) -> dict[bytes, list[tuple[int, KnownDecision]]]:
        """As `decisions`, each with its position in the consent log."""
        rows = await self._pool.fetch(
            """SELECT h AS value_hash, pos, decision FROM unnest($1::int4[], $2::bytea[]) AS wanted (b, h)
               JOIN decisions ON bucket = b AND value_hash = h""",
            [partition_of(value_hash, self._partitions) for value_hash in hashes],
            list(hashes),
        )
        found: dict[bytes, list[tuple[int, KnownDecision]]] = {value_hash: [] for value_hash in hashes}
        for row in rows:
            found[row["value_hash"]].append((row["pos"], decode_decision(row["decision"])))
        return found

    async def decided_after(self, position: int, last: int, at_most: int) -> list[tuple[int, bytes]]:
        """(position of the consent log, identifier hash) of decisions behind a position, up to `last`; all of a position or none.

        `at_most` may be passed by as many as stand at one position.
        """
        rows = await self._pool.fetch(
            """SELECT pos, value_hash FROM decisions WHERE pos > $1 AND pos <= $2
               ORDER BY pos FETCH FIRST $3 ROWS WITH TIES""",
            position,
            last,
            at_most,
        )
        return [(row["pos"], row["value_hash"]) for row in rows]

    async def due_within(self, spans: Sequence[Span], after: tuple[int, bytes], at_most: int) -> list[Due]:
        """By identifier hash what is due, from an instant on and at that from behind a hash on, by when it is. Each span is looked up by index."""
        rows = await self._pool.fetch(
            """SELECT DISTINCT due_at, value_hash FROM unnest($1::text[], $2::int8[], $3::int8[], $4::int8[]) AS span (p, a, u, shift)
               CROSS JOIN LATERAL (
                   SELECT DISTINCT decided_at, value_hash, decided_at + shift AS due_at FROM decisions
                   WHERE purpose = p AND decided_at > a AND decided_at <= u AND (decided_at, value_hash) > ($5 - shift, $6)
                   ORDER BY decided_at, value_hash LIMIT $7
               ) AS one ORDER BY due_at, value_hash LIMIT $7""",
            *map(list, zip(*spans, strict=True)),
            *after,
            at_most,
        )
        return [Due(row["value_hash"], row["due_at"]) for row in rows]

    async def decided_among(self, hashes: Collection[bytes], position: int) -> set[bytes]:
        """Of identifier hashes those about which something was decided behind a position of the consent log."""
        rows = await self._pool.fetch(
            """SELECT DISTINCT value_hash FROM unnest($1::int4[], $2::bytea[]) AS wanted (b, h)
               JOIN decisions ON bucket = b AND value_hash = h WHERE pos > $3""",
            [partition_of(value_hash, self._partitions) for value_hash in hashes],
            list(hashes),
            position,
        )
        return {row["value_hash"] for row in rows}

    async def defined_at(self, purpose: str) -> int:
        """The position of the consent log at or before which the newest version of a purpose stands."""
        return int(await self._pool.fetchval("SELECT pos FROM purposes WHERE name = $1 ORDER BY version DESC LIMIT 1", purpose))

    async def apply(self, purposes: Sequence[PurposeDefined], decisions: Sequence[KnownDecision], consumed: int) -> None:
        """What a person granted before an erasure doesn't come back, in whatever order the two are learnt."""
        bucket_of = partial(partition_of, partitions=self._partitions)
        async with self._pool.acquire() as connection, connection.transaction():
            erased = await erased_identifiers(connection, {d.identifier_hash for d in decisions}, self._partitions)
            decisions = [d for d in decisions if outlives_erasure(d, erased.get(d.identifier_hash, -1))]
            await connection.executemany(
                "INSERT INTO purposes (name, version, purpose, pos) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
                [(purpose.name, purpose.version, encode(purpose), consumed - 1) for purpose in purposes],
            )
            await connection.executemany(
                """INSERT INTO decisions (pos, bucket, value_hash, purpose, decision_id, decided_at, decision)
                   VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING""",
                [
                    (
                        consumed - 1,
                        bucket_of(d.identifier_hash),
                        d.identifier_hash,
                        d.purpose,
                        d.decision_id,
                        d.decided_at,
                        encode(d),
                    )
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
