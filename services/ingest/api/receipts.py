"""Receipts over gRPC."""

from c360.common.v1.common_pb2 import Position
from c360.ingest.v1 import receipt_pb2, receipt_pb2_grpc

from services.ingest.api.grpc import STATUSES, Context, write_key_of
from services.ingest.app import Ingest
from services.ingest.inquiry import Inquiry, Outcome
from shared.ids import to_text
from shared.instants import to_timestamp


class ReceiptApi(receipt_pb2_grpc.ReceiptServiceServicer):
    def __init__(self, ingest: Ingest, inquiry: Inquiry) -> None:
        self._ingest = ingest
        self._inquiry = inquiry

    async def GetReceipt(self, request: receipt_pb2.GetReceiptRequest, context: Context) -> receipt_pb2.GetReceiptResponse:
        source = await self._ingest.authenticate(write_key_of(context))
        outcome = await self._inquiry.find(source.name, request.message_id)
        return receipt_pb2.GetReceiptResponse(receipt=_to_receipt(request.message_id, outcome))


def _to_receipt(message_id: str, outcome: Outcome) -> receipt_pb2.Receipt:
    receipt = receipt_pb2.Receipt(
        message_id=message_id,
        status=STATUSES[outcome.status],
        reasons=outcome.reasons,
        customer_id=to_text(outcome.customer) if outcome.customer else "",
        duplicates=outcome.duplicates,
    )
    if outcome.position is not None:
        log, number = outcome.position
        receipt.position.CopyFrom(Position(log=log, partition=0, number=number))
    if outcome.last_duplicate_at is not None:
        receipt.last_duplicate_time.CopyFrom(to_timestamp(outcome.last_duplicate_at))
    return receipt
