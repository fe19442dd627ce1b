"""What matched, and how much spoke for it, at any past instant: table `former_matches` beside `matches`.

A match that gets another weight, is weighed by another model, or is none any more, stays here as it was.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from services.identity.graph.facts import Evidence
from services.identity.records.likeness import Likeness, RecordPair
from shared.instants import END_OF_TIME

COLUMNS = """one, other, one_hash, other_hash, weight, unrivalled, witnessed, veto, model, agreement, occurred_at, event_id, said_by,
             recorded_at"""


class Matched(NamedTuple):
    like: Likeness
    since: int  # when it became known


async def keep(connection: Any, pairs: Sequence[RecordPair], until: int) -> None:
    """As they are, before they change."""
    if pairs:
        await connection.execute(
            f"""INSERT INTO former_matches ({COLUMNS}, until)
                SELECT {COLUMNS}, $3 FROM unnest($1::bytea[], $2::bytea[]) AS changed (one, other) JOIN matches USING (one, other)""",  # noqa: S608
            *zip(*pairs, strict=True),
            until,
        )


async def forget(connection: Any, ids: Collection[bytes]) -> None:
    """These records were never there."""
    await connection.execute("DELETE FROM former_matches WHERE one = ANY($1::bytea[]) OR other = ANY($1::bytea[])", list(ids))


async def near(pool: Any, hashes: Collection[bytes], known_at: int = END_OF_TIME) -> dict[RecordPair, Matched]:
    """What matched as it was known, of which one identifier or both are these."""
    return await _matched(pool, "(one_hash = ANY($1::bytea[]) OR other_hash = ANY($1::bytea[]))", hashes, known_at)


async def between(pool: Any, ids: Collection[bytes], known_at: int = END_OF_TIME) -> dict[RecordPair, Matched]:
    """What matched as it was known, of which both records are these."""
    return await _matched(pool, "one = ANY($1::bytea[]) AND other = ANY($1::bytea[])", ids, known_at)


async def _matched(pool: Any, which: str, wanted: Collection[bytes], known_at: int) -> dict[RecordPair, Matched]:
    rows = await pool.fetch(
        f"""SELECT {COLUMNS} FROM matches WHERE {which} AND recorded_at <= $2
            UNION ALL SELECT {COLUMNS} FROM former_matches WHERE {which} AND recorded_at <= $2 AND until > $2""",  # noqa: S608
        list(wanted),
        known_at,
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
        )
        for row in rows
    }
