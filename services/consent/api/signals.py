"""The gRPC edge of signals."""

from typing import Annotated, Any, Final

import msgspec
from c360.consent.v1 import signals_pb2 as pb
from c360.consent.v1 import signals_pb2_grpc

from services.consent.api.asking import cut_to_fit, position
from services.consent.api.decisions import decision_message
from services.consent.domain.ready import SIGNALS
from services.consent.domain.receiving import ReceiveSignal
from services.consent.receiving import Receiver
from services.consent.signals import PlacedSignal
from shared.errors import InvalidInput
from shared.events.signals import SignalKind
from shared.identifiers import name_and_hash
from shared.ids import to_text
from shared.instants import to_timestamp
from shared.rpc.edge import instant
from shared.rpc.paging import Page
from shared.rpc.server import seconds_left

KINDS: Final[dict[pb.SignalKind.ValueType, SignalKind]] = {
    pb.SIGNAL_KIND_TCF: "tcf",
    pb.SIGNAL_KIND_TCF_CANADA: "tcf_canada",
    pb.SIGNAL_KIND_GPP: "gpp",
    pb.SIGNAL_KIND_USP: "usp",
    pb.SIGNAL_KIND_GPC: "gpc",
    pb.SIGNAL_KIND_SMS: "sms",
    pb.SIGNAL_KIND_CATEGORY_PREFERENCES: "category_preferences",
}
KIND_NUMBERS: Final = {name: value for value, name in KINDS.items()}
BY_POSITION: Final = msgspec.msgpack.Decoder(Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)])


class SignalApi(signals_pb2_grpc.SignalServiceServicer):
    def __init__(self, receiver: Receiver, lookup_key: bytes) -> None:
        self._receiver = receiver
        self._lookup_key = lookup_key

    async def RecordSignal(self, request: pb.RecordSignalRequest, context: Any) -> pb.RecordSignalResponse:
        namespace, value_hash = name_and_hash(request.identifier.namespace, request.identifier.value, self._lookup_key)
        command = ReceiveSignal(
            request_id=request.request_id,
            identifier_hash=value_hash,
            namespace=namespace,
            kind=_kind(request.kind),
            text=request.text,
            happened_at=instant(request.happen_time, "happen_time") if request.HasField("happen_time") else None,
            source=request.source,
            method=request.method,
            mapping=request.mapping or SIGNALS,
        )
        answered = await self._receiver.receive(command, seconds_left(context))
        return pb.RecordSignalResponse(
            signal=self._message(answered.signal),
            decisions=[decision_message(placed) for placed in answered.decisions],
            position=position(max([answered.signal.pos, *(placed.pos for placed in answered.decisions)])),
            enforcing_readers=answered.readers,
        )

    async def ListSignals(self, request: pb.ListSignalsRequest, context: Any) -> pb.ListSignalsResponse:
        page = Page(request, BY_POSITION)
        _, value_hash = name_and_hash(request.identifier.namespace, request.identifier.value, self._lookup_key)
        found = await self._receiver.signals_of(value_hash, -1 if page.after is None else page.after, page.wanted)
        shown, token = cut_to_fit(page, found, lambda placed: placed.pos, lambda placed: len(placed.entry.envelope))
        return pb.ListSignalsResponse(signals=map(self._message, shown), next_page_token=token)

    def _message(self, placed: PlacedSignal) -> pb.Signal:
        signal = placed.event
        return pb.Signal(
            signal_id=to_text(placed.entry.event_id),
            kind=KIND_NUMBERS[signal.kind],
            text=self._receiver.text_of(placed),
            decoder=signal.decoder,
            decoder_version=signal.decoder_version,
            mapping=signal.mapping,
            mapping_version=signal.mapping_version,
            happen_time=to_timestamp(signal.happened_at),
            record_time=to_timestamp(placed.recorded_at),
            source=signal.source,
            method=signal.method,
            unread=signal.unread,
        )


def _kind(value: pb.SignalKind.ValueType) -> SignalKind:
    if (kind := KINDS.get(value)) is None:
        raise InvalidInput("say which format the signal has", reason="SIGNAL_KIND_MISSING")
    return kind
