"""How far identity's owner has committed, for who stands by and answers from the same tables."""

from typing import Any, Final

import msgspec

from services.identity.ledger import IDENTITY_PARTITION
from shared.events.wire import INGEST_STREAM
from shared.positions import Progress

# What the owner commits together, by one statement: whatever is read after it is as new, or newer.
COMMITTED: Final = """
    SELECT consumed, (SELECT max(number) FROM outbox) AS newest FROM partition_heads WHERE partition = $1"""


async def look(pool: Any, progress: Progress) -> None:
    """Before there is a unit, nothing is committed that a position tells of."""
    row = await pool.fetchrow(COMMITTED, IDENTITY_PARTITION)
    if row is None or row["newest"] is None:
        return
    progress.advance("ingest", msgspec.json.decode(row["consumed"]).get(INGEST_STREAM, 0))
    progress.advance("customer", row["newest"])
