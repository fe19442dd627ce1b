"""What the owner of the log has committed, for a process that follows it: how far each log is, and whom events behind a place are about."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from shared.events import customer as events
from shared.events.profile_rules import PROFILE_RULES_ACTIVATED, PROFILE_RULES_SETTLED
from shared.events.wire import CUSTOMER_STREAM, INGEST_STREAM
from shared.log import Record
from shared.log.records import COLUMNS, to_record

# Of these more than the stream changes: whose an identifier is, what was decided about it, by which rules profiles are made.
TOLD: Final = (
    *(kind.id for kind in (events.LINKED, events.UNLINKED, events.ERASED)),
    *(kind.id for kind in (PROFILE_RULES_ACTIVATED, PROFILE_RULES_SETTLED)),
)
# As of one moment: a unit moves all heads together.
STANDS: Final = """
    SELECT partition, next_pos, consumed, edition, (SELECT consumed FROM consent_head) AS decided
    FROM partition_heads WHERE partition = ANY($1::int4[])"""
NEW: Final = """unnest($1::int4[], $2::int8[], $3::int8[]) AS new (p, f, n)
    CROSS JOIN LATERAL (SELECT * FROM events WHERE partition = p AND pos >= f AND pos < n OFFSET 0) AS found"""

decode_consumed = msgspec.json.Decoder(dict[str, int]).decode


class Stand(msgspec.Struct, frozen=True):
    """`next_positions` by partition; up to where CUSTOMER, INGEST and CONSENT were consumed, in messages; which edition of the views is served."""

    next_positions: Mapping[int, int]
    customer: int
    ingest: int
    consent: int
    edition: int


class Committed:
    """`pool`'s search path names profile's schema."""

    def __init__(self, pool: Any, partitions: int) -> None:
        self._pool = pool
        self._partitions = partitions

    async def stand(self) -> Stand:
        rows = await self._pool.fetch(STANDS, list(range(self._partitions)))
        consumed = [decode_consumed(row["consumed"]) for row in rows]
        return Stand(
            {row["partition"]: row["next_pos"] for row in rows},
            min(one.get(CUSTOMER_STREAM, 0) for one in consumed),
            min(one.get(INGEST_STREAM, 0) for one in consumed),
            rows[0]["decided"],
            max(row["edition"] for row in rows),
        )

    async def changed(self, since: Mapping[int, int], until: Mapping[int, int]) -> tuple[set[bytes], list[Record]]:
        """By events from some next positions up to, and without, others: the streams that they are in, and the events of what is `TOLD`."""
        columns = [list(since), list(since.values()), [until[partition] for partition in since]]
        streams = await self._pool.fetch(f"SELECT DISTINCT stream FROM {NEW}", *columns)  # noqa: S608
        told = await self._pool.fetch(
            f"SELECT {COLUMNS} FROM {NEW} WHERE type_id = ANY($4::text[]) ORDER BY partition, pos",  # noqa: S608
            *columns,
            list(TOLD),
        )
        return {row["stream"] for row in streams}, [to_record(row) for row in told]
