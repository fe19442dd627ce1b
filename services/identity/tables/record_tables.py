"""Tables of matching: `records`, the `blocks` that they meet in, and `matches`: which of them are alike."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from services.identity.matching.blocking import MAX_BLOCK_RECORDS
from services.identity.records.likeness import Likeness, RecordPair
from services.identity.records.proposing import Key
from services.identity.tables import former_matches
from services.identity.tables.record_rows import COLUMNS, RECORD, RecordRow

NOTHING_CONSUMED = -1


@dataclass(slots=True)
class Changes:
    """What a batch changes; written as one."""

    records: list[RecordRow] = field(default_factory=list)
    unblocked: dict[bytes, set[Key]] = field(default_factory=dict)  # record id to the blocks that it leaves
    blocked: dict[bytes, set[Key]] = field(default_factory=dict)
    gone: set[RecordPair] = field(default_factory=set)
    likenesses: dict[RecordPair, Likeness] = field(default_factory=dict)  # new, or of another weight
    said: dict[bytes, int] = field(default_factory=dict)  # of records that say something else: when the first of it happened
    returned: Collection[Key] = ()  # that are dealt with


class State(NamedTuple):
    """How far matching has come: the last unit of the outbox that is in the records, and what they are compared by."""

    consumed: int
    model: str
    floor: float
    again: bytes | None = None


async def state(pool: Any) -> State | None:
    row = await pool.fetchrow("SELECT consumed, model, floor, again FROM matching")
    return State(*row.values()) if row else None


async def count(pool: Any, up_to: bytes | None = None) -> int:
    """All, or those up to and with one."""
    found: int = await pool.fetchval("SELECT count(*) FROM records WHERE $1::bytea IS NULL OR record_id <= $1", up_to)
    return found


async def after(pool: Any, record_id: bytes, limit: int) -> dict[bytes, RecordRow]:
    rows = await pool.fetch(f"{RECORD} WHERE record_id > $1 ORDER BY record_id LIMIT $2", record_id, limit)
    return {row["record_id"]: RecordRow(*row.values()) for row in rows}


async def founders(pool: Any, hashes: Collection[bytes]) -> dict[bytes, bytes]:
    """{value hash: the customer that it founded}; nothing of what is erased."""
    rows = await pool.fetch(
        "SELECT value_hash, customer FROM identifiers WHERE value_hash = ANY($1::bytea[]) AND own", list(hashes)
    )
    return {row["value_hash"]: row["customer"] for row in rows}


async def records(pool: Any, ids: Collection[bytes]) -> dict[bytes, RecordRow]:
    rows = await pool.fetch(
        f"SELECT {COLUMNS} FROM unnest($1::bytea[]) AS wanted (record_id) JOIN records USING (record_id)",  # noqa: S608
        list(ids),
    )
    return {row["record_id"]: RecordRow(*row.values()) for row in rows}


async def of_identifiers(pool: Any, hashes: Collection[bytes]) -> dict[bytes, RecordRow]:
    rows = await pool.fetch(f"{RECORD} WHERE value_hash = ANY($1::bytea[])", list(hashes))
    return {row["record_id"]: RecordRow(*row.values()) for row in rows}


async def members(pool: Any, keys: Collection[Key], at_most: int) -> dict[Key, set[bytes]]:
    """Of each block, whichever come first when there are more."""
    found: dict[Key, set[bytes]] = {key: set() for key in keys}
    rows = await pool.fetch(
        """SELECT key, record_id FROM unnest($1::bytea[]) AS wanted (key)
           CROSS JOIN LATERAL (SELECT record_id FROM blocks WHERE block_key = key LIMIT $2) AS block""",
        list(keys),
        at_most,
    )
    for row in rows:
        found[row["key"]].add(row["record_id"])
    return found


async def sizes(pool: Any, keys: Collection[Key], cap: int) -> dict[Key, int]:
    """At most one above the cap."""
    rows = await pool.fetch(
        """SELECT key, (SELECT count(*) FROM (SELECT 1 FROM blocks WHERE block_key = key LIMIT $2) AS block) AS size
           FROM unnest($1::bytea[]) AS wanted (key)""",
        list(keys),
        cap + 1,
    )
    return {row["key"]: row["size"] for row in rows}


async def returned(pool: Any, limit: int) -> list[Key]:
    return [row["block_key"] for row in await pool.fetch("SELECT block_key FROM returned_blocks LIMIT $1", limit)]


LIKENESS = f"SELECT {former_matches.COLUMNS} FROM matches"  # noqa: S608


async def likenesses_of(pool: Any, ids: Collection[bytes]) -> dict[RecordPair, Likeness]:
    """Of which one record or both are these."""
    rows = await pool.fetch(f"{LIKENESS} WHERE one = ANY($1::bytea[]) OR other = ANY($1::bytea[])", list(ids))
    return former_matches.likenesses(rows)


async def likenesses_between(pool: Any, ids: Collection[bytes]) -> dict[RecordPair, Likeness]:
    """Of which both records are these."""
    rows = await pool.fetch(f"{LIKENESS} WHERE one = ANY($1::bytea[]) AND other = ANY($1::bytea[])", list(ids))
    return former_matches.likenesses(rows)


async def likenesses_among(pool: Any, hashes: Collection[bytes]) -> dict[RecordPair, Likeness]:
    """Of which both identifiers are these."""
    query = f"{LIKENESS} WHERE one_hash = ANY($1::bytea[]) AND other_hash = ANY($1::bytea[])"
    return former_matches.likenesses(await pool.fetch(query, list(hashes)))


async def matched_with(pool: Any, hashes: Collection[bytes]) -> set[bytes]:
    """The identifiers at the other end."""
    if not hashes:
        return set()
    rows = await pool.fetch(
        """SELECT other_hash AS found FROM matches WHERE one_hash = ANY($1::bytea[])
           UNION SELECT one_hash FROM matches WHERE other_hash = ANY($1::bytea[])""",
        list(hashes),
    )
    return {row["found"] for row in rows}


async def save(connection: Any, changes: Changes, reached: State, recorded_at: int) -> None:
    """In the transaction that makes what follows from it known, at that instant."""
    await _save_records(connection, changes.records, recorded_at)
    await _save_blocks(connection, changes)
    await _save_matches(connection, changes, recorded_at)
    await connection.execute(
        """INSERT INTO matching (consumed, model, floor, again) VALUES ($1, $2, $3, $4)
           ON CONFLICT (single) DO UPDATE
           SET consumed = excluded.consumed, model = excluded.model, floor = excluded.floor, again = excluded.again""",
        *reached,
    )


async def _save_records(connection: Any, rows: Sequence[RecordRow], recorded_at: int) -> None:
    if not rows:
        return
    await connection.executemany(
        f"""INSERT INTO records ({COLUMNS})
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
           ON CONFLICT (record_id) DO UPDATE
           SET block_keys = excluded.block_keys, household = excluded.household, sealed = excluded.sealed,
               same_since = excluded.same_since, ordered_from = excluded.ordered_from""",  # noqa: S608
        [row.recorded(recorded_at) for row in rows],
    )
    await connection.execute(
        """UPDATE identifiers SET recorded_by = found.sources
           FROM (SELECT value_hash, array_agg(source ORDER BY source) AS sources
                 FROM records WHERE value_hash = ANY($1::bytea[]) GROUP BY value_hash) AS found
           WHERE identifiers.value_hash = found.value_hash AND identifiers.recorded_by <> found.sources""",
        [row.value_hash for row in rows],
    )


async def _save_blocks(connection: Any, changes: Changes) -> None:
    left = _flat(changes.unblocked)
    if left:
        await connection.execute(
            """DELETE FROM blocks USING unnest($1::bytea[], $2::bytea[]) AS gone (block_key, record_id)
               WHERE blocks.block_key = gone.block_key AND blocks.record_id = gone.record_id""",
            *zip(*left, strict=True),
        )
    if joined := _flat(changes.blocked):
        await connection.execute(
            "INSERT INTO blocks (block_key, record_id) SELECT * FROM unnest($1::bytea[], $2::bytea[])", *zip(*joined, strict=True)
        )
    if changes.returned:
        await connection.execute("DELETE FROM returned_blocks WHERE block_key = ANY($1::bytea[])", list(changes.returned))


def _flat(keys_of: Mapping[bytes, Iterable[Key]]) -> list[tuple[Key, bytes]]:
    return [(key, record_id) for record_id, keys in keys_of.items() for key in keys]


async def _save_matches(connection: Any, changes: Changes, recorded_at: int) -> None:
    await former_matches.keep(connection, [*changes.gone, *changes.likenesses], changes.said, recorded_at)
    if changes.gone:
        await connection.execute(
            """DELETE FROM matches USING unnest($1::bytea[], $2::bytea[]) AS gone (one, other)
               WHERE matches.one = gone.one AND matches.other = gone.other""",
            *zip(*changes.gone, strict=True),
        )
    await connection.executemany(
        f"""INSERT INTO matches ({former_matches.COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
            ON CONFLICT (one, other) DO UPDATE
            SET weight = excluded.weight, unrivalled = excluded.unrivalled, witnessed = excluded.witnessed, veto = excluded.veto,
                model = excluded.model, agreement = excluded.agreement, occurred_at = excluded.occurred_at,
                event_id = excluded.event_id, said_by = excluded.said_by, stands_from = excluded.stands_from,
                recorded_at = excluded.recorded_at""",  # noqa: S608
        [
            (*ids, *like[:8], *like.evidence, like.said_by, like.stands_from, recorded_at)
            for ids, like in changes.likenesses.items()
        ],
    )


async def forget(connection: Any, customers: Sequence[bytes], cap: int = MAX_BLOCK_RECORDS) -> None:
    """Their records were never there: what matched them is to be settled, and blocks that they overfilled are back."""
    gone = await connection.fetch(
        "DELETE FROM records WHERE customer = ANY($1::bytea[]) RETURNING record_id, value_hash", customers
    )
    if not gone:
        return
    ids, hashes = [row["record_id"] for row in gone], [row["value_hash"] for row in gone]
    await connection.execute(
        """WITH gone AS (DELETE FROM blocks WHERE record_id = ANY($1::bytea[]) RETURNING block_key),
                less AS (SELECT block_key, count(*) AS by FROM gone GROUP BY block_key),
                sized AS (SELECT block_key, by,
                                 (SELECT count(*) FROM (SELECT 1 FROM blocks AS all_of WHERE all_of.block_key = less.block_key
                                                        LIMIT $2 + by + 1) AS block) AS before FROM less)
           INSERT INTO returned_blocks SELECT block_key FROM sized WHERE before > $2 AND before - by <= $2 ON CONFLICT DO NOTHING""",
        ids,
        cap,
    )
    await former_matches.forget(connection, ids)
    await connection.execute(
        """WITH gone AS (DELETE FROM matches WHERE one = ANY($1::bytea[]) OR other = ANY($1::bytea[]) RETURNING one_hash, other_hash),
                ends AS (SELECT one_hash AS value_hash FROM gone UNION SELECT other_hash FROM gone)
           INSERT INTO unsettled SELECT value_hash FROM ends EXCEPT SELECT unnest($2::bytea[]) ON CONFLICT DO NOTHING""",
        ids,
        hashes,
    )


async def matches_of(
    pool: Any, customers: Collection[bytes], after: tuple[float, RecordPair], limit: int
) -> dict[RecordPair, Likeness]:
    """Strongest first, after (weight, pair of records)."""
    own = await pool.fetch("SELECT record_id FROM records WHERE customer = ANY($1::bytea[])", list(customers))
    query = f"""{LIKENESS} WHERE (one = ANY($1::bytea[]) OR other = ANY($1::bytea[])) AND (-weight, one, other) > (-$2::float8, $3, $4)
                ORDER BY weight DESC, one, other LIMIT $5"""
    return former_matches.likenesses(await pool.fetch(query, [row["record_id"] for row in own], after[0], *after[1], limit))


async def household(pool: Any, customers: Collection[bytes], after: tuple[int, bytes], limit: int) -> list[tuple[int, bytes]]:
    """(founding number, canonical customer) of the same addresses and family names, oldest first, after one."""
    rows = await pool.fetch(
        """SELECT min(founding_number) AS number, canonical FROM customers WHERE customer IN (
               SELECT customer FROM records WHERE household IN (SELECT household FROM records WHERE customer = ANY($1::bytea[])))
           GROUP BY canonical HAVING (min(founding_number), canonical) > ($2, $3) ORDER BY number, canonical LIMIT $4""",
        list(customers),
        *after,
        limit,
    )
    return [(row["number"], row["canonical"]) for row in rows]


async def canonical_of(pool: Any, customers: Collection[bytes]) -> dict[bytes, bytes]:
    rows = await pool.fetch("SELECT customer, canonical FROM customers WHERE customer = ANY($1::bytea[])", list(customers))
    return {row["customer"]: row["canonical"] for row in rows}


async def remaining(pool: Any, customers: Collection[bytes]) -> int:
    return int(await pool.fetchval("SELECT count(*) FROM records WHERE customer = ANY($1::bytea[])", list(customers)))
