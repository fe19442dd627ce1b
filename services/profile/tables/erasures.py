"""What an erasure does to profile's views, and how many rows that took: `erased_customers`, `erased_identifiers`.

Decisions that forbid something stay, bound to a hash: who objected and comes back has still objected.
"""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from services.profile.tables import memberships
from services.profile.tables.consents import decode_decision
from services.profile.tables.ordered import Ordered
from services.profile.tables.snapshots import Snapshots
from shared import parked
from shared.consent_rule import outlives_erasure
from shared.events.catalogue import Entry
from shared.ids import partition_of


async def erase(connection: Any, entries: Sequence[Entry], partitions: int) -> None:
    """`entries` are CustomerErased. What is linked to another customer by now stays."""
    if entries:
        await memberships.lock(connection)  # who is being looked at would be written after this, and locks be taken crosswise
        await memberships.forget(connection, [entry.stream for entry in entries])
    for entry in entries:
        hashes = list(entry.public().identifier_hashes)
        buckets = [partition_of(value_hash, partitions) for value_hash in hashes]
        await mark_identifiers(connection, hashes, buckets, entry.occurred_at)
        await connection.execute(
            """INSERT INTO erased_customers (partition, stream, erased_at, identifiers, decisions, snapshots, parked)
               VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING""",
            partition_of(entry.stream, partitions),
            entry.stream,
            entry.occurred_at,
            await forget_identifiers(connection, hashes, buckets, entry.stream),
            await _forget_grants(connection, hashes, buckets, entry.occurred_at),
            await Snapshots.purge(connection, [entry.stream]) + await Ordered.purge(connection, [entry.stream]),
            await parked.purge(connection, [entry.stream]),
        )


async def erased_among(connection: Any, streams: Collection[bytes], partitions: int) -> set[bytes]:
    rows = await connection.fetch(
        """SELECT stream FROM unnest($1::int4[], $2::bytea[]) AS wanted (p, s) JOIN erased_customers ON partition = p AND stream = s""",
        [partition_of(stream, partitions) for stream in streams],
        list(streams),
    )
    return {row["stream"] for row in rows}


async def mark_identifiers(connection: Any, hashes: list[bytes], buckets: list[int], erased_at: int) -> None:
    await connection.execute(
        """INSERT INTO erased_identifiers (bucket, value_hash, erased_at) SELECT b, h, $3 FROM unnest($1::int4[], $2::bytea[]) AS gone (b, h)
           ON CONFLICT (bucket, value_hash) DO UPDATE SET erased_at = greatest(erased_identifiers.erased_at, excluded.erased_at)""",
        buckets,
        hashes,
        erased_at,
    )


async def forget_identifiers(connection: Any, hashes: list[bytes], buckets: list[int], stream: bytes) -> int:
    await connection.execute("DELETE FROM former_links WHERE customer = $1", stream)
    return _rows(
        await connection.execute(
            """DELETE FROM identifiers USING unnest($1::int4[], $2::bytea[]) AS gone (b, h)
               WHERE bucket = b AND value_hash = h AND customer = $3""",
            buckets,
            hashes,
            stream,
        )
    )


async def _forget_grants(connection: Any, hashes: list[bytes], buckets: list[int], erased_at: int) -> int:
    rows = await connection.fetch(
        """SELECT bucket, value_hash, purpose, decision_id, decision FROM unnest($1::int4[], $2::bytea[]) AS gone (b, h)
           JOIN decisions ON bucket = b AND value_hash = h""",
        buckets,
        hashes,
    )
    doomed = [row for row in rows if not outlives_erasure(decode_decision(row["decision"]), erased_at)]
    await connection.executemany(
        "DELETE FROM decisions WHERE bucket = $1 AND value_hash = $2 AND purpose = $3 AND decision_id = $4",
        [(row["bucket"], row["value_hash"], row["purpose"], row["decision_id"]) for row in doomed],
    )
    return len(doomed)


class Given(msgspec.Struct, frozen=True):
    """Rows that erasures took from the views."""

    customers: int
    identifiers: int
    decisions: int
    snapshots: int
    parked: int
    states_left: int  # whose row still has content


async def given_up(pool: Any, streams: Sequence[bytes], partitions: int) -> Given:
    row = await pool.fetchrow(
        """SELECT count(*) AS customers, coalesce(sum(identifiers), 0)::int4 AS identifiers,
                  coalesce(sum(decisions), 0)::int4 AS decisions, coalesce(sum(parked), 0)::int4 AS parked,
                  coalesce(sum(snapshots), 0)::int4 AS snapshots,
                  count(*) FILTER (WHERE length(envelope) > 0) AS states_left
           FROM unnest($1::int4[], $2::bytea[]) AS wanted (p, s) JOIN erased_customers ON partition = p AND stream = s
           JOIN states USING (partition, stream)""",
        [partition_of(stream, partitions) for stream in streams],
        list(streams),
    )
    return Given(**dict(row))


def _rows(status: str) -> int:
    """Of what the driver answers to a DELETE."""
    return int(status.rpartition(" ")[2])
