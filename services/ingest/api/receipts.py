"""Receipts over gRPC."""

from c360.ingest.v1 import receipt_pb2, receipt_pb2_grpc

from services.ingest.api.grpc import STATUSES, Context, write_key_of
from services.ingest.api.positions import position
from services.ingest.app import Ingest
from services.ingest.inquiry import Inquiry, Receipt
from shared.ids import to_text
from shared.instants import to_timestamp


class ReceiptApi(receipt_pb2_grpc.ReceiptServiceServicer):
    def __init__(self, ingest: Ingest, inquiry: Inquiry) -> None:
        self._ingest = ingest
        self._inquiry = inquiry

    async def GetReceipt(self, request: receipt_pb2.GetReceiptRequest, context: Context) -> receipt_pb2.GetReceiptResponse:
        source = await self._ingest.authenticate(write_key_of(context))
        found = await self._inquiry.find(source.name, request.message_id)
        return receipt_pb2.GetReceiptResponse(receipt=_to_receipt(request.message_id, found))


def _to_receipt(message_id: str, found: Receipt) -> receipt_pb2.Receipt:
    told = receipt_pb2.Receipt(
        message_id=message_id,
        status=STATUSES[found.status],
        reasons=found.reasons,
        customer_id=to_text(found.customer) if found.customer else "",
        duplicates=found.duplicates,
    )
    if found.position is not None:
        log, number = found.position
        told.position.CopyFrom(position(log, number))
    if found.last_duplicate_at is not None:
        told.last_duplicate_time.CopyFrom(to_timestamp(found.last_duplicate_at))
    return told
