"""How far consent's owner has committed, for who stands by and answers checks from the same tables."""

from typing import Any, Final

from services.consent.writing import CONSENT_PARTITION
from shared.positions import Progress

# Each is committed with what it tells of, so whatever is read after this statement is as new, or newer.
COMMITTED: Final = """
    SELECT consumed, ingest, (SELECT next_pos FROM partition_heads WHERE partition = $1) AS next_pos FROM customer_head"""


async def look(pool: Any, progress: Progress) -> None:
    row = await pool.fetchrow(COMMITTED, CONSENT_PARTITION)
    progress.advance("customer", row["consumed"] - 1)
    progress.advance("ingest", row["ingest"])
    progress.advance("consent", row["next_pos"] - 1)
