"""When an identifier was seen by itself: columns of `identifiers`, and table `superseded_alone`. What is seen alone is no sighting, and is known
all the same, from when the earliest such event had happened.
"""

from collections.abc import Collection, Mapping
from typing import Any


async def keep(connection: Any, seen: Mapping[bytes, int], recorded_at: int) -> None:
    """By value hash, when it was seen; what isn't earlier than what is known changes nothing. Behind the identifiers' own rows."""
    if seen:
        await connection.execute(
            """WITH seen AS (SELECT * FROM unnest($1::bytea[], $2::int8[]) AS seen (value_hash, at)),
                    former AS (INSERT INTO superseded_alone AS known (value_hash, alone_at, alone_since)
                               SELECT value_hash, alone_at, alone_since FROM identifiers JOIN seen USING (value_hash) WHERE alone_at > at
                               ON CONFLICT (value_hash, alone_since) DO UPDATE SET alone_at = least(known.alone_at, excluded.alone_at))
               UPDATE identifiers AS i SET alone_at = at, alone_since = $3 FROM seen
               WHERE i.value_hash = seen.value_hash AND (alone_at IS NULL OR alone_at > at)""",
            list(seen),
            list(seen.values()),
            recorded_at,
        )


async def seen_by(connection: Any, value_hash: bytes, as_of: int, known_at: int) -> bool:
    found: bool = await connection.fetchval(
        """SELECT EXISTS (
               SELECT FROM (SELECT value_hash, alone_at, alone_since FROM identifiers UNION ALL TABLE superseded_alone) AS alone
               WHERE value_hash = $1 AND alone_at <= $2 AND alone_since <= $3
           )""",
        value_hash,
        as_of,
        known_at,
    )
    return found


async def left(connection: Any, seen: Collection[tuple[bytes, int, int]]) -> None:
    """(value hash, at, known since)s of events that are in no sighting any more: whom else they saw is erased."""
    await connection.execute(
        """INSERT INTO superseded_alone AS known (value_hash, alone_at, alone_since)
           SELECT value_hash, min(at), since FROM unnest($1::bytea[], $2::int8[], $3::int8[]) AS seen (value_hash, at, since)
           JOIN identifiers USING (value_hash) WHERE resolving GROUP BY value_hash, since
           ON CONFLICT (value_hash, alone_since) DO UPDATE SET alone_at = least(known.alone_at, excluded.alone_at)""",
        [value_hash for value_hash, _, _ in seen],
        [at for _, at, _ in seen],
        [since for _, _, since in seen],
    )


async def forget(connection: Any, erased: Collection[bytes]) -> None:
    """What was before; the rest goes with the identifiers."""
    await connection.execute("DELETE FROM superseded_alone WHERE value_hash = ANY($1::bytea[])", list(erased))
