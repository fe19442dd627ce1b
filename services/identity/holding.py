"""Legal holds: while one is in force on any member of a cluster, the cluster can't be erased. Table `holds`, and who writes it.

A hold binds all that was one when it was placed, also after a split: which side the case is about isn't known here.
"""

from collections.abc import Callable, Collection
from typing import Any

import msgspec

from services.identity.domain.erasure import check_request
from services.identity.ledger import IDENTITY_PARTITION, Ledger
from services.identity.tables import views
from shared.errors import NotFound
from shared.events import erasure as events
from shared.events.catalogue import EventType, Public, make_entry
from shared.ids import NewId, derived_id, to_text
from shared.instants import Clock
from shared.log.writer import Versioned
from shared.request_ids import reused


class Hold(msgspec.Struct, frozen=True):
    hold_id: bytes
    request_id: str
    customer: bytes
    reason: str
    placed_by: str
    placed_at: int
    released_at: int | None
    members: tuple[bytes, ...]  # that it binds


class Holds:
    """`on_released` is told that something may be erased now."""

    def __init__(self, pool: Any, ledger: Ledger, clock: Clock, new_id: NewId, on_released: Callable[[], None]) -> None:
        self._pool = pool
        self._ledger = ledger
        self._clock = clock
        self._new_id = new_id
        self._on_released = on_released

    async def place(self, request_id: str, customer: bytes, reason: str, placed_by: str) -> Hold:
        """Raises NotFound (CUSTOMER_UNKNOWN), WrongState (CUSTOMER_ERASED), Conflict (REQUEST_ID_REUSED), InvalidInput."""
        check_request(request_id, reason, placed_by)
        async with self._ledger.turn():
            if (earlier := await _of_request(self._pool, request_id)) is not None:
                if (earlier.customer, earlier.reason, earlier.placed_by) != (customer, reason, placed_by):
                    raise reused()
                return earlier
            members = tuple(await views.present_members(self._pool, customer))
            now = self._clock()
            hold = Hold(derived_id(b"hold", request_id.encode()), request_id, customer, reason, placed_by, now, None, members)
            event = events.HoldPlaced(request_id=request_id, customer=customer, reason=reason, placed_by=placed_by, members=members)
            own = [self._versioned(1, events.HOLD_PLACED, hold.hold_id, now, event)]
            await self._ledger.commit(own, [], write_views=lambda connection, _: _insert(connection, hold))
            return hold

    async def release(self, request_id: str, hold_id: bytes, released_by: str) -> Hold:
        """One that was released before stays so. Raises NotFound (HOLD_UNKNOWN), InvalidInput."""
        check_request(request_id, "released", released_by)
        async with self._ledger.turn():
            hold = await _find(self._pool, hold_id)
            if hold is None:
                raise NotFound("no hold has this id", reason="HOLD_UNKNOWN", hold_id=to_text(hold_id))
            if hold.released_at is not None:
                return hold
            now = self._clock()
            event = events.HoldReleased(request_id=request_id, released_by=released_by)
            own = [self._versioned(2, events.HOLD_RELEASED, hold_id, now, event)]
            await self._ledger.commit(own, [], write_views=lambda connection, _: _mark_released(connection, hold_id, now))
        self._on_released()
        return msgspec.structs.replace(hold, released_at=now)

    def _versioned(self, version: int, kind: EventType, hold_id: bytes, at: int, event: Public) -> Versioned:
        return Versioned(IDENTITY_PARTITION, version, make_entry(kind, hold_id, self._new_id(), at, event))


HOLD = "hold_id, request_id, customer, reason, placed_by, placed_at, released_at, members"


async def _insert(connection: Any, hold: Hold) -> None:
    await connection.execute(f"INSERT INTO holds ({HOLD}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)", *msgspec.structs.astuple(hold))  # noqa: S608


async def _mark_released(connection: Any, hold_id: bytes, at: int) -> None:
    await connection.execute("UPDATE holds SET released_at = $2 WHERE hold_id = $1", hold_id, at)


async def _find(pool: Any, hold_id: bytes) -> Hold | None:
    row = await pool.fetchrow(f"SELECT {HOLD} FROM holds WHERE hold_id = $1", hold_id)  # noqa: S608
    return _hold(row)


def _hold(row: Any) -> Hold | None:
    return msgspec.convert(dict(row), Hold) if row else None


async def _of_request(pool: Any, request_id: str) -> Hold | None:
    row = await pool.fetchrow(f"SELECT {HOLD} FROM holds WHERE request_id = $1", request_id)  # noqa: S608
    return _hold(row)


async def holds_on(pool: Any, customers: Collection[bytes]) -> tuple[bytes, ...]:
    """Ids of the holds in force on any of these customers."""
    rows = await pool.fetch(
        "SELECT hold_id FROM holds WHERE members && $1::bytea[] AND released_at IS NULL ORDER BY placed_at, hold_id",
        list(customers),
    )
    return tuple(row["hold_id"] for row in rows)
