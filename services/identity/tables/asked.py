"""Who may be one with whom, by the questions that are open."""

from collections.abc import Collection
from typing import Any


async def asked_of(pool: Any, customers: Collection[bytes]) -> set[bytes]:
    """Value hashes of what founded those who may be one with these: what spoke for it may be erased, and they be settled apart."""
    rows = await pool.fetch(
        """SELECT value_hash FROM (SELECT other AS customer FROM proposals WHERE customer = ANY($1::bytea[]) AND state = 'open' UNION
                                   SELECT customer FROM proposals WHERE other = ANY($1::bytea[]) AND state = 'open') AS ends
           JOIN identifiers USING (customer) WHERE own""",
        list(customers),
    )
    return {row["value_hash"] for row in rows}
