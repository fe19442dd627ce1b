"""The log of disclosures, and tables `disclosed` and `justified`: in which of its events something stands about a customer, or by
virtue of a decision.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final

from services.profile.domain.disclosure import Disclosure, packed
from shared import faults
from shared.errors import Fenced, Unavailable
from shared.events.catalogue import Entry, make_entry
from shared.events.disclosures import DISCLOSURES_RECORDED, DISCLOSURES_STREAM, DisclosuresRecorded
from shared.ids import NewId
from shared.instants import Clock
from shared.log import LogReader
from shared.log.at_once import FIRST_OF_VIEWS, AtOnce
from shared.log.placing import Versioned
from shared.log.records import COLUMNS, Record, to_record
from shared.store.pool import STORE_ERRORS

PARTITION: Final = 0  # the only one
NOTHING: Final = DisclosuresRecorded(callers=(), terms=(), given=(), reads=())
VIEWS: Final = [
    f"{name} AS (INSERT INTO {table} SELECT one, $2 FROM moved, unnest(${place}::bytea[]) AS one)"  # noqa: S608
    for name, table, place in (("of_customers", "disclosed", FIRST_OF_VIEWS), ("of_decisions", "justified", FIRST_OF_VIEWS + 1))
]


class DisclosureLog:
    """`pool`'s search path names its schema. Several processes may write it: what each writes follows from nothing that is there. Who is
    alone appends by one statement; whoever was overtaken waits for its turn, until it is alone again."""

    def __init__(self, pool: Any, clock: Clock, new_id: NewId) -> None:
        self._pool = pool
        self._clock = clock
        self._new_id = new_id
        self._writer = AtOnce(pool, PARTITION, clock, VIEWS, self._indexed)
        self._alone = False
        self._is_closed = False
        self._under_way = NOTHING

    async def write(self, disclosures: Sequence[Disclosure]) -> None:
        """One unit at a time. Raises Unavailable (DISCLOSURE_NOT_RECORDED)."""
        event, event_id, now = packed(disclosures), self._new_id(), self._clock()
        faults.reach(faults.BEFORE_DISCLOSURES)
        try:
            await self._append(event, make_entry(DISCLOSURES_RECORDED, DISCLOSURES_STREAM, event_id, now, event))
        except STORE_ERRORS:
            self._alone = False
            raise Unavailable(
                "what is read can't be written down at this moment; try again", reason="DISCLOSURE_NOT_RECORDED"
            ) from None
        finally:
            if self._is_closed:
                await self._writer.close()
        faults.reach(faults.AFTER_DISCLOSURES)

    async def _append(self, event: DisclosuresRecorded, entry: Entry) -> None:
        self._under_way = event
        if self._alone:
            self._alone = await self._append_next(entry)
            if self._alone:
                return
        async with self._writer.locked() as alone:
            await self._append_next(entry)
        self._alone = alone

    async def _append_next(self, entry: Entry) -> bool:
        """False, and nothing is written, where another process has written meanwhile."""
        version = self._writer.heads[PARTITION].next_pos + 1  # there is one stream
        try:
            await self._writer.append([Versioned(PARTITION, version, entry)], {})
        except Fenced:
            return False
        return True

    async def close(self) -> None:
        """Its pool can be closed afterwards: what is written later keeps no session of it."""
        self._is_closed = True
        await self._writer.close()

    async def of_customers(self, customers: Collection[bytes], before: int, limit: int) -> list[Record]:
        """The newest events before a position in which something stands about any of these, newest first."""
        return await self._found("disclosed WHERE customer", customers, before, limit)

    async def of_decisions(self, decisions: Collection[bytes], before: int, limit: int) -> list[Record]:
        return await self._found("justified WHERE decision_id", decisions, before, limit)

    async def at(self, position: int) -> Record | None:
        row = await self._pool.fetchrow(f"SELECT {COLUMNS} FROM events WHERE partition = 0 AND pos = $1", position)  # noqa: S608
        return to_record(row) if row else None

    async def newest(self, before: int, limit: int) -> list[Record]:
        """The newest events before a position, newest first."""
        rows = await self._pool.fetch(
            f"SELECT {COLUMNS} FROM events WHERE partition = 0 AND pos < $1 ORDER BY pos DESC LIMIT $2",  # noqa: S608
            before,
            limit,
        )
        return [to_record(row) for row in rows]

    async def end_by(self, instant: int) -> int:
        """The position behind the last event that was recorded by then."""
        return await LogReader(self._pool).position_after(PARTITION, instant)

    async def between(self, first: int, end: int, limit: int, customers: Collection[bytes] = ()) -> list[Record]:
        """The oldest events from one position up to, and without, another; where customers are named, those in which something stands
        about any of them."""
        of_them = "AND pos IN (SELECT pos FROM disclosed WHERE customer = ANY($4::bytea[]) AND pos >= $1 AND pos < $2)"
        rows = await self._pool.fetch(
            f"""SELECT {COLUMNS} FROM events WHERE partition = 0 AND pos >= $1 AND pos < $2 {of_them if customers else ""}
                ORDER BY pos LIMIT $3""",  # noqa: S608
            first,
            end,
            limit,
            *([list(customers)] if customers else ()),
        )
        return [to_record(row) for row in rows]

    def _indexed(self, _: Record) -> list[Any]:
        given = self._under_way.given
        members, evidence = {one for some in given for one in some.members}, {one for some in given for one in some.evidence}
        return [sorted(members), sorted(evidence)]

    async def _found(self, which: str, ids: Collection[bytes], before: int, limit: int) -> list[Record]:
        rows = await self._pool.fetch(
            f"""SELECT {COLUMNS} FROM events WHERE partition = 0 AND pos = ANY(ARRAY(
                    SELECT DISTINCT pos FROM {which} = ANY($1::bytea[]) AND pos < $2 ORDER BY pos DESC LIMIT $3))
                ORDER BY pos DESC""",  # noqa: S608
            list(ids),
            before,
            limit,
        )
        return [to_record(row) for row in rows]
