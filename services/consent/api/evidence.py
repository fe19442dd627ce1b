"""The gRPC edge of evidence."""

from typing import Any, Final

import msgspec
from c360.consent.v1 import evidence_pb2 as pb
from c360.consent.v1 import evidence_pb2_grpc

from services.consent.api.asking import position
from services.consent.domain.receipts import Format
from services.consent.evidence import Receipts
from shared.errors import InvalidInput
from shared.ids import from_text

FORMATS: Final[dict[pb.ReceiptFormat.ValueType, Format]] = {
    pb.RECEIPT_FORMAT_KANTARA: "kantara",
    pb.RECEIPT_FORMAT_ISO_27560: "iso_27560",
}


class EvidenceApi(evidence_pb2_grpc.EvidenceServiceServicer):
    def __init__(self, receipts: Receipts) -> None:
        self._receipts = receipts

    async def GetReceipt(self, request: pb.GetReceiptRequest, context: Any) -> pb.GetReceiptResponse:
        if (format_ := FORMATS.get(request.format)) is None:
            raise InvalidInput("say which form the receipt has", reason="FORMAT_MISSING")
        document, pos = await self._receipts.receipt(from_text(request.decision_id, "decision"), format_)
        return pb.GetReceiptResponse(document=msgspec.json.encode(document).decode(), position=position(pos))
