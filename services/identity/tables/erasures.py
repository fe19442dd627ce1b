"""Identity's read models of erasures: `erasures`, and the `suppressions` they leave."""

from collections.abc import AsyncGenerator, Collection, Sequence
from typing import Any

import msgspec

from services.identity.domain.erasure import Erasure
from services.identity.domain.sighting import Suppression
from services.identity.tables import record_tables, region_saving, waiting
from shared.events.catalogue import encode

PAGE_STREAMS = 10_000
decode_erasure = msgspec.msgpack.Decoder(Erasure).decode


async def save(connection: Any, erasure: Erasure) -> None:
    await connection.execute(
        """INSERT INTO erasures (erasure_id, request_id, requested_at, customer, completed, erasure) VALUES ($1, $2, $3, $4, $5, $6)
           ON CONFLICT (erasure_id) DO UPDATE SET completed = excluded.completed, erasure = excluded.erasure""",
        erasure.erasure_id,
        erasure.request_id,
        erasure.requested_at,
        erasure.customer,
        erasure.stage == "completed",
        encode(erasure),
    )


async def get(pool: Any, erasure_ids: Collection[bytes]) -> list[Erasure]:
    rows = await pool.fetch("SELECT erasure FROM erasures WHERE erasure_id = ANY($1::bytea[])", list(erasure_ids))
    return [decode_erasure(row["erasure"]) for row in rows]


async def of_request(pool: Any, request_id: str) -> Erasure | None:
    found = await pool.fetchval("SELECT erasure FROM erasures WHERE request_id = $1", request_id)
    return decode_erasure(found) if found else None


async def unfinished(pool: Any) -> list[Erasure]:
    """Oldest first."""
    rows = await pool.fetch("SELECT erasure FROM erasures WHERE NOT completed ORDER BY requested_at, erasure_id")
    return [decode_erasure(row["erasure"]) for row in rows]


async def waiting_for(pool: Any, customers: Collection[bytes]) -> Erasure | None:
    """One that was requested for any of these customers and is not completed."""
    found = await pool.fetchval(
        "SELECT erasure FROM erasures WHERE NOT completed AND customer = ANY($1::bytea[]) LIMIT 1", list(customers)
    )
    return decode_erasure(found) if found else None


async def erased_streams(pool: Any) -> AsyncGenerator[list[bytes], None]:
    """The streams of every customer that was ever erased, in pages."""
    last = b""
    while rows := await pool.fetch(
        "SELECT customer FROM customers WHERE erased_by IS NOT NULL AND customer > $1 ORDER BY customer LIMIT $2",
        last,
        PAGE_STREAMS,
    ):
        last = rows[-1]["customer"]
        yield [row["customer"] for row in rows]


async def present_among(pool: Any, customers: Collection[bytes]) -> list[bytes]:
    """Those of these that are customers, and not erased."""
    rows = await pool.fetch(
        "SELECT customer FROM customers WHERE customer = ANY($1::bytea[]) AND erased_by IS NULL ORDER BY customer", list(customers)
    )
    return [row["customer"] for row in rows]


async def erased_by(pool: Any, customer: bytes) -> bytes | None:
    """The id of the erasure that this customer fell to."""
    found: bytes | None = await pool.fetchval("SELECT erased_by FROM customers WHERE customer = $1", customer)
    return found


async def erased_among(pool: Any, customers: Collection[bytes]) -> set[bytes]:
    rows = await pool.fetch(
        "SELECT customer FROM customers WHERE customer = ANY($1::bytea[]) AND erased_by IS NOT NULL", list(customers)
    )
    return {row["customer"] for row in rows}


async def identifiers_of(pool: Any, customers: Collection[bytes]) -> dict[bytes, list[bytes]]:
    """{customer: identifier hashes}."""
    rows = await pool.fetch("SELECT customer, value_hash FROM identifiers WHERE customer = ANY($1::bytea[])", list(customers))
    found: dict[bytes, list[bytes]] = {customer: [] for customer in customers}
    for row in rows:
        found[row["customer"]].append(row["value_hash"])
    return found


async def erased_identifiers_of(pool: Any, customers: Collection[bytes]) -> dict[bytes, list[bytes]]:
    """As `identifiers_of`, and what only waits to be theirs."""
    found = await identifiers_of(pool, customers)
    for customer, hashes in (await waiting.only_with(pool, customers, [h for one in found.values() for h in one])).items():
        found[customer] += hashes
    return found


async def versions_of(pool: Any, customers: Collection[bytes]) -> dict[bytes, int]:
    rows = await pool.fetch("SELECT customer, version FROM customers WHERE customer = ANY($1::bytea[])", list(customers))
    return {row["customer"]: row["version"] for row in rows}


async def version_of(pool: Any, customer: bytes) -> int:
    """0: no customer has this id."""
    return (await versions_of(pool, [customer])).get(customer, 0)


async def move_versions(connection: Any, versions: dict[bytes, int]) -> None:
    await connection.execute(
        """UPDATE customers AS c SET version = new.version FROM unnest($1::bytea[], $2::int8[]) AS new (customer, version)
           WHERE c.customer = new.customer""",
        list(versions),
        list(versions.values()),
    )


async def erase(
    connection: Any, customers: Sequence[bytes], hashes: Sequence[bytes], suppression: Suppression, unlinked: Sequence[bytes] = ()
) -> None:
    """The identifiers lead nowhere and are suppressed, and so are those that led nowhere; the customers are closed; nothing is
    proposed about them.

    Who was refused once is not let in by a later erasure.
    """
    await record_tables.forget(connection, customers)
    await region_saving.forget(connection, customers, hashes)
    await waiting.forget(connection, unlinked)
    await connection.execute("DELETE FROM proposals WHERE customer = ANY($1::bytea[]) OR other = ANY($1::bytea[])", list(customers))
    await connection.execute(  # what was asked of theirs before it was somebody else's
        "UPDATE proposals SET seen_at = $2 WHERE rests AND (end_hash = ANY($1::bytea[]) OR other_end_hash = ANY($1::bytea[]))",
        list(hashes),
        suppression.erased_at,
    )
    await connection.execute(
        "UPDATE customers SET erased_by = $2 WHERE customer = ANY($1::bytea[])", list(customers), suppression.erasure_id
    )
    await connection.execute(
        """INSERT INTO suppressions (value_hash, erasure_id, policy, erased_at) SELECT h, $2, $3, $4 FROM unnest($1::bytea[]) AS h
           ON CONFLICT (value_hash) DO UPDATE
           SET erasure_id = excluded.erasure_id,
               policy = CASE suppressions.policy WHEN 'refuse' THEN 'refuse' ELSE excluded.policy END,
               erased_at = greatest(suppressions.erased_at, excluded.erased_at)""",
        [*hashes, *unlinked],
        suppression.erasure_id,
        suppression.policy,
        suppression.erased_at,
    )


async def remaining_identifiers(pool: Any, customers: Collection[bytes]) -> int:
    return int(await pool.fetchval("SELECT count(*) FROM identifiers WHERE customer = ANY($1::bytea[])", list(customers)))


async def suppressions(pool: Any, hashes: Collection[bytes]) -> dict[bytes, Suppression]:
    rows = await pool.fetch(
        """SELECT value_hash, erasure_id, policy, erased_at FROM unnest($1::bytea[]) AS seen (value_hash)
           JOIN suppressions USING (value_hash)""",
        list(hashes),
    )
    return {row["value_hash"]: Suppression(row["erasure_id"], row["policy"], row["erased_at"]) for row in rows}
