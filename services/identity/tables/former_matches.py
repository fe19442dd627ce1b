"""What matched, and how much spoke for it, at any past instant: table `former_matches` beside `matches`.

A match that gets another weight, is weighed by another model, or is none any more, stays here as it was.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from services.identity.graph.facts import Evidence
from services.identity.records.likeness import Likeness, RecordPair
from shared.instants import END_OF_TIME

COLUMNS = """one, other, one_hash, other_hash, weight, unrivalled, witnessed, veto, model, agreement, occurred_at, event_id, said_by,
             stands_from, recorded_at"""


class Matched(NamedTuple):
    like: Likeness
    since: int  # when it became known


async def keep(connection: Any, pairs: Sequence[RecordPair], said: Mapping[bytes, int], until: int) -> None:
    """As they are, before they change. `said`: of records that say something else, when the first of it happened.

    What changes for another reason, such as another model, is as if it had never been so. Where something is said of a time for
    which it was known otherwise, it is not known any more what was so.
    """
    ended = [min((said[record_id] for record_id in ids if record_id in said), default=None) for ids in pairs]
    if pairs:
        await connection.execute(
            f"""INSERT INTO former_matches ({COLUMNS}, until, ended_at)
                SELECT {COLUMNS}, $4, COALESCE(ended_at, stands_from)
                FROM unnest($1::bytea[], $2::bytea[], $3::int8[]) AS changed (one, other, ended_at) JOIN matches USING (one, other)""",  # noqa: S608
            *zip(*pairs, strict=True),
            ended,
            until,
        )
    for end in ("one", "other") if said else ():
        await connection.execute(
            f"""UPDATE former_matches SET ended_at = said.at FROM unnest($1::bytea[], $2::int8[]) AS said (record_id, at)
                WHERE {end} = record_id AND ended_at > said.at""",  # noqa: S608
            list(said),
            list(said.values()),
        )


async def forget(connection: Any, ids: Collection[bytes]) -> None:
    """These records were never there."""
    await connection.execute("DELETE FROM former_matches WHERE one = ANY($1::bytea[]) OR other = ANY($1::bytea[])", list(ids))


async def near(
    pool: Any, hashes: Collection[bytes], known_at: int = END_OF_TIME, as_of: int = END_OF_TIME
) -> dict[RecordPair, Matched]:
    """What matched by what had happened and was known, of which one identifier or both are these."""
    return await _matched(pool, "(one_hash = ANY($1::bytea[]) OR other_hash = ANY($1::bytea[]))", hashes, known_at, as_of)


async def between(
    pool: Any, ids: Collection[bytes], known_at: int = END_OF_TIME, as_of: int = END_OF_TIME
) -> dict[RecordPair, Matched]:
    """What matched by what had happened and was known, of which both records are these."""
    return await _matched(pool, "one = ANY($1::bytea[]) AND other = ANY($1::bytea[])", ids, known_at, as_of)


async def _matched(pool: Any, which: str, wanted: Collection[bytes], known_at: int, as_of: int) -> dict[RecordPair, Matched]:
    """Of each pair what was known last."""
    rows = await pool.fetch(
        f"""SELECT {COLUMNS} FROM matches WHERE {which} AND recorded_at <= $2 AND stands_from <= $3
            UNION ALL SELECT {COLUMNS} FROM former_matches
            WHERE {which} AND recorded_at <= $2 AND stands_from <= $3 AND (until > $2 OR ended_at > $3)
            ORDER BY recorded_at""",  # noqa: S608
        list(wanted),
        known_at,
        as_of,
    )
    since = {(row["one"], row["other"]): row["recorded_at"] for row in rows}
    return {ids: Matched(like, since[ids]) for ids, like in likenesses(rows).items()}


def likenesses(rows: Iterable[Any]) -> dict[RecordPair, Likeness]:
    """`rows` have `COLUMNS`."""
    return {
        (row["one"], row["other"]): Likeness(
            row["one_hash"],
            row["other_hash"],
            row["weight"],
            row["unrivalled"],
            row["witnessed"],
            row["veto"],
            row["model"],
            row["agreement"],
            Evidence(row["occurred_at"], row["event_id"]),
            row["said_by"],
            row["stands_from"],
        )
        for row in rows
    }
