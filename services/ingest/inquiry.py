"""What became of an event, from everything that this service knows of it: receipts are asked for by message id."""

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from services.ingest.backlog import Backlog
from services.ingest.domain.call import MAX_MESSAGE_ID
from services.ingest.domain.plan import FLAG_PREFIX
from services.ingest.receipts import NOBODY, Receipts
from services.ingest.verdicts import DUPLICATE, PROCESSING_REFUSED, REJECTED, Remembered, Verdicts
from shared.errors import InvalidInput, NotFound
from shared.events.wire import event_id_of

# Which rules an event is quarantined for; None when it isn't.
QuarantinedFor = Callable[[bytes], Awaitable[Sequence[str] | None]]


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an event.

    `position` is (log, number): of customer when it is applied, of ingest before. `last_duplicate_at` in microseconds.
    """

    status: str
    reasons: Sequence[str] = ()
    customer: bytes | None = None
    position: tuple[str, int] | None = None
    duplicates: int = 0
    last_duplicate_at: int | None = None


class Inquiry:
    def __init__(self, backlog: Backlog, receipts: Receipts, verdicts: Verdicts, quarantined_for: QuarantinedFor) -> None:
        self._backlog = backlog
        self._receipts = receipts
        self._verdicts = verdicts
        self._quarantined_for = quarantined_for

    async def find(self, source: str, message_id: str) -> Receipt:
        """Raises InvalidInput (MESSAGE_ID_INVALID), NotFound (RECEIPT_UNKNOWN)."""
        if not 1 <= len(message_id) <= MAX_MESSAGE_ID:
            raise InvalidInput("a message id has 1 to 100 characters", reason="MESSAGE_ID_INVALID")
        event_id = event_id_of(source, message_id.strip())
        verdicts = await self._verdicts.of(event_id)
        receipt = await self._accepted(event_id) or await self._quarantined(event_id) or _rejected(verdicts.get(REJECTED))
        if receipt is None:
            raise NotFound("no receipt of this message id is remembered for this source", reason="RECEIPT_UNKNOWN")
        if (again := verdicts.get(DUPLICATE)) is None:
            return receipt
        return msgspec.structs.replace(receipt, duplicates=again.times, last_duplicate_at=again.last_at)

    async def _accepted(self, event_id: bytes) -> Receipt | None:
        # In this order: an event gets its receipt before it leaves the backlog.
        standing = await self._backlog.position_of(event_id)
        if (applied := await self._receipts.find(event_id)) is not None:
            if applied.customer == NOBODY:
                return Receipt(status=REJECTED, reasons=[PROCESSING_REFUSED])
            return Receipt(status="accepted", customer=applied.customer, position=("customer", applied.unit))
        return None if standing is None else Receipt(status="accepted", position=("ingest", standing))

    async def _quarantined(self, event_id: bytes) -> Receipt | None:
        rules = await self._quarantined_for(event_id)
        return None if rules is None else Receipt(status="quarantined", reasons=[FLAG_PREFIX + rule for rule in rules])


def _rejected(found: Remembered | None) -> Receipt | None:
    return None if found is None else Receipt(status=REJECTED, reasons=[found.reason])
