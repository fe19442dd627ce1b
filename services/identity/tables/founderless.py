"""Customers that have lost what founded them, since the log told that another customer; nothing else leads to them but their merges, which are
undone (decision 61).
"""

from collections.abc import Collection
from typing import Any


async def founderless(pool: Any, named: Collection[bytes]) -> set[bytes]:
    """Of customers that merges name and that nothing at hand founded: asked for where something is wrong, and else never."""
    rows = await pool.fetch(
        """SELECT customer FROM customers AS c WHERE customer = ANY($1::bytea[])
           AND NOT EXISTS (SELECT FROM identifiers AS i WHERE own AND i.customer = c.customer)""",
        list(named),
    )
    return {row["customer"] for row in rows}
