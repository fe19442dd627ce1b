"""Table `segment_due`, as it is read: when time alone may change where customers are. Whoever keeps memberships writes it with them."""

from typing import Any


async def due_by(pool: Any, now: int, at_most: int, after: tuple[int, bytes] = (0, b"")) -> dict[bytes, int]:
    """{customer: when}, the earliest behind a place in their order."""
    rows = await pool.fetch(
        """SELECT customer, due_at FROM segment_due WHERE due_at BETWEEN $2 AND $1 AND (due_at, customer) > ($2, $3)
           ORDER BY due_at, customer LIMIT $4""",
        now,
        *after,
        at_most,
    )
    return {row["customer"]: row["due_at"] for row in rows}


async def soonest_due(pool: Any) -> int | None:
    found: int | None = await pool.fetchval("SELECT min(due_at) FROM segment_due")
    return found
