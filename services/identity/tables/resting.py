"""Questions that expired and rest: who holds the identifiers that they were asked of, by what events resolve by. They are rows of table `proposals`."""

from collections.abc import Collection
from typing import Any


class Resting:
    """Belongs to the one writer; `load` whenever it has claimed the log."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._any = True  # there may be some; else nothing has to be asked of events

    async def load(self) -> None:
        self._any = await self._pool.fetchval("SELECT EXISTS (SELECT FROM proposals WHERE state = 'expired' AND seen_at IS NULL)")

    def tell(self) -> None:
        """Some expire."""
        self._any = True

    async def about(self, hashes: Collection[bytes]) -> dict[bytes, set[bytes]]:
        """By identifier hash, ids of those about what is linked to the customer whom it leads to, or who is one with it; as it is stored."""
        if not self._any or not hashes:
            return {}
        rows = await self._pool.fetch(
            """WITH met AS MATERIALIZED (
                    SELECT value_hash, canonical FROM unnest($1::bytea[]) AS seen (value_hash)
                    JOIN identifiers USING (value_hash) JOIN customers USING (customer))
                SELECT met.value_hash, proposal_id FROM met JOIN customers AS one USING (canonical)
                JOIN identifiers AS its ON its.customer = one.customer AND its.link_id IS NOT NULL CROSS JOIN LATERAL (
                    SELECT proposal_id FROM proposals WHERE end_hash = its.value_hash AND rests UNION ALL
                    SELECT proposal_id FROM proposals WHERE other_end_hash = its.value_hash AND rests) AS found""",
            list(hashes),
        )
        found: dict[bytes, set[bytes]] = {}
        for row in rows:
            found.setdefault(row["value_hash"], set()).add(row["proposal_id"])
        return found


async def still(connection: Any, proposal_ids: Collection[bytes], known_at: int) -> list[bytes]:
    """Of those that had expired by an instant, those that rested then; oldest first."""
    rows = await connection.fetch(
        """SELECT proposal_id FROM proposals WHERE proposal_id = ANY($1::bytea[]) AND (seen_at IS NULL OR seen_at > $2)
           ORDER BY pos, proposal_id""",
        list(proposal_ids),
        known_at,
    )
    return [row["proposal_id"] for row in rows]


async def wake(connection: Any, proposal_ids: Collection[bytes], at: int) -> None:
    """One of the two of each was seen again."""
    if proposal_ids:
        await connection.execute(
            "UPDATE proposals SET seen_at = $2 WHERE proposal_id = ANY($1::bytea[]) AND rests", list(proposal_ids), at
        )


async def leave(connection: Any, proposal_ids: Collection[bytes], at: int) -> set[bytes]:
    """As `wake`, of those whose two weren't at hand: they are to be settled. Returns their value hashes."""
    if not proposal_ids:
        return set()
    await wake(connection, proposal_ids, at)
    rows = await connection.fetch(
        """SELECT value_hash FROM proposals JOIN identifiers ON value_hash IN (end_hash, other_end_hash)
           WHERE link_id IS NOT NULL AND proposal_id = ANY($1::bytea[])""",
        list(proposal_ids),
    )
    hashes = {row["value_hash"] for row in rows}
    await connection.execute("INSERT INTO unsettled SELECT unnest($1::bytea[]) ON CONFLICT DO NOTHING", sorted(hashes))
    return hashes
