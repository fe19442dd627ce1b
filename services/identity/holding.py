"""Legal holds: while one is in force on any member of a cluster, the cluster can't be erased."""

from collections.abc import Callable
from typing import Any

import msgspec

from services.identity import erasures, views
from services.identity.erasure import check_request, reused
from services.identity.erasures import Hold
from services.identity.ledger import IDENTITY_PARTITION, Ledger
from shared.errors import NotFound, WrongState
from shared.events import erasure as events
from shared.events.catalogue import EventType, Public, make_entry
from shared.ids import NewId, derived_id, to_text
from shared.instants import Clock
from shared.log.writer import Versioned


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
            if (earlier := await erasures.hold_of_request(self._pool, request_id)) is not None:
                if (earlier.customer, earlier.reason, earlier.placed_by) != (customer, reason, placed_by):
                    raise reused()
                return earlier
            await self._require_present(customer)
            now = self._clock()
            hold = Hold(derived_id(b"hold", request_id.encode()), request_id, customer, reason, placed_by, now, None)
            event = events.HoldPlaced(request_id=request_id, customer=customer, reason=reason, placed_by=placed_by)
            own = [self._versioned(1, events.HOLD_PLACED, hold.hold_id, now, event)]
            await self._ledger.commit(own, [], write_views=lambda connection, _: erasures.place(connection, hold))
            return hold

    async def release(self, request_id: str, hold_id: bytes, released_by: str) -> Hold:
        """One that was released before stays so. Raises NotFound (HOLD_UNKNOWN), InvalidInput."""
        check_request(request_id, "released", released_by)
        async with self._ledger.turn():
            hold = await erasures.hold(self._pool, hold_id)
            if hold is None:
                raise NotFound("no hold has this id", reason="HOLD_UNKNOWN", hold_id=to_text(hold_id))
            if hold.released_at is not None:
                return hold
            now = self._clock()
            event = events.HoldReleased(request_id=request_id, released_by=released_by)
            own = [self._versioned(2, events.HOLD_RELEASED, hold_id, now, event)]
            await self._ledger.commit(own, [], write_views=lambda connection, _: erasures.release(connection, hold_id, now))
        self._on_released()
        return msgspec.structs.replace(hold, released_at=now)

    async def _require_present(self, customer: bytes) -> None:
        if not await views.members(self._pool, customer):
            raise NotFound("no customer ever had this id", reason="CUSTOMER_UNKNOWN", customer_id=to_text(customer))
        if (erasure_id := await erasures.erased_by(self._pool, customer)) is not None:
            raise WrongState("this customer was erased", reason="CUSTOMER_ERASED", erasure_id=to_text(erasure_id))

    def _versioned(self, version: int, kind: EventType, hold_id: bytes, at: int, event: Public) -> Versioned:
        return Versioned(IDENTITY_PARTITION, version, make_entry(kind, hold_id, self._new_id(), at, event))
