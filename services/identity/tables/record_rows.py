"""Rows of `records`: what one source said of the customer that one identifier founded, and since when it is known."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from services.identity.records.proposing import Key
from shared.instants import END_OF_TIME

COLUMNS = """record_id, value_hash, source, customer, block_keys, household, sealed, same_since, ordered_from, known_since"""
RECORD = f"SELECT {COLUMNS} FROM records"  # noqa: S608


class Times(NamedTuple):
    """What None is of is known with what is being written."""

    same_since: int | None = None  # when it became known that this is said, up to what nobody compares
    ordered_from: int = 0  # what was said before that came in another order, so that some of it isn't known
    known_since: int | None = None  # when it was there first; 0 when nobody knows


class RecordRow(NamedTuple):
    record_id: bytes
    value_hash: bytes
    source: str
    customer: bytes
    block_keys: Sequence[Key]
    household: bytes | None
    sealed: bytes
    same_since: int | None
    ordered_from: int
    known_since: int | None

    @property
    def times(self) -> Times:
        return Times(self.same_since, self.ordered_from, self.known_since)

    def recorded(self, at: int) -> "RecordRow":
        return self._replace(
            same_since=at if self.same_since is None else self.same_since,
            known_since=at if self.known_since is None else self.known_since,
        )


async def recorded_by(pool: Any, hashes: Collection[bytes], known_at: int) -> dict[bytes, frozenset[str]]:
    """The sources that had a record of an identifier, as it was known; nothing of those of which none had."""
    rows = await pool.fetch(
        """SELECT value_hash, array_agg(source) AS sources FROM records
           WHERE value_hash = ANY($1::bytea[]) AND known_since <= $2 GROUP BY value_hash""",
        list(hashes),
        known_at,
    )
    return {row["value_hash"]: frozenset(row["sources"]) for row in rows}


async def of_customers(pool: Any, customers: Collection[bytes], limit: int, known_at: int = END_OF_TIME) -> dict[bytes, RecordRow]:
    """Those that were there, as they are now."""
    rows = await pool.fetch(
        f"{RECORD} WHERE customer = ANY($1::bytea[]) AND known_since <= $3 ORDER BY record_id LIMIT $2",
        list(customers),
        limit,
        known_at,
    )
    return {row["record_id"]: RecordRow(*row.values()) for row in rows}


async def live_together(pool: Any, one: bytes, other: bytes) -> bool:
    """Whether sources say the same address and family name of two, or of whom they are merged with."""
    found = await pool.fetchval(
        """WITH members AS (SELECT customer, canonical FROM customers WHERE canonical IN (
               SELECT canonical FROM customers WHERE customer IN ($1, $2))),
           homes AS (SELECT canonical, household FROM members JOIN records USING (customer) WHERE household IS NOT NULL)
           SELECT EXISTS (SELECT FROM homes GROUP BY household HAVING count(DISTINCT canonical) > 1)""",
        one,
        other,
    )
    return bool(found)
