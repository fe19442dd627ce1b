"""The gRPC door."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc
from c360.common.v1.common_pb2 import Position
from c360.ingest.v1 import ingest_pb2, ingest_pb2_grpc
from google.protobuf.timestamp_pb2 import Timestamp

from services.ingest.api.stream import Streams
from services.ingest.api.structs import to_dict
from services.ingest.app import Ingest, Receipt, Verdict
from services.ingest.domain.call import Call, Delivery, check_size
from services.ingest.domain.clocks import instant
from services.ingest.domain.events import MAX_BATCH_EVENTS, Rejection
from services.ingest.registry import Registry
from services.ingest.views import Sources
from shared.errors import InvalidInput
from shared.instants import EPOCH, to_timestamp

KINDS: Mapping[int, str] = {
    ingest_pb2.EVENT_TYPE_IDENTIFY: "identify",
    ingest_pb2.EVENT_TYPE_TRACK: "track",
    ingest_pb2.EVENT_TYPE_PAGE: "page",
    ingest_pb2.EVENT_TYPE_SCREEN: "screen",
    ingest_pb2.EVENT_TYPE_GROUP: "group",
    ingest_pb2.EVENT_TYPE_ALIAS: "alias",
}
STATUSES: Mapping[str, ingest_pb2.EventStatus.ValueType] = {
    "accepted": ingest_pb2.EVENT_STATUS_ACCEPTED,
    "duplicate": ingest_pb2.EVENT_STATUS_DUPLICATE,
    "rejected": ingest_pb2.EVENT_STATUS_REJECTED,
    "quarantined": ingest_pb2.EVENT_STATUS_QUARANTINED,
}
BEARER = "bearer "

Context = grpc.aio.ServicerContext[Any, Any]


class IngestApi(ingest_pb2_grpc.IngestServiceServicer):
    def __init__(self, ingest: Ingest, registry: Registry, sources: Sources) -> None:
        self._ingest = ingest
        self._registry = registry
        self._sources = sources
        self.streams = Streams()

    async def RecordEvents(self, request: ingest_pb2.RecordEventsRequest, context: Context) -> ingest_pb2.RecordEventsResponse:
        receipt = await self._record(request, write_key_of(context))
        return ingest_pb2.RecordEventsResponse(results=_results(receipt), position=_position(receipt))

    async def StreamEvents(
        self, request_iterator: AsyncIterator[ingest_pb2.StreamEventsRequest], context: Context
    ) -> AsyncIterator[ingest_pb2.StreamEventsResponse]:
        write_key = write_key_of(context)
        await self._ingest.authenticate(write_key)

        async def answer(request: ingest_pb2.StreamEventsRequest) -> ingest_pb2.StreamEventsResponse:
            receipt = await self._record(request, write_key)
            return ingest_pb2.StreamEventsResponse(
                sequence=request.sequence, results=_results(receipt), position=_position(receipt)
            )

        async for response in self.streams.serve(request_iterator, answer):
            yield response

    async def _record(self, request: ingest_pb2.RecordEventsRequest | ingest_pb2.StreamEventsRequest, write_key: str) -> Receipt:
        source = await self._ingest.authenticate(write_key)
        if not request.events:
            raise InvalidInput("the batch is empty", reason="BATCH_EMPTY")
        if len(request.events) > MAX_BATCH_EVENTS:
            raise InvalidInput("a batch has at most 2,500 events", reason="BATCH_TOO_LONG", limit=MAX_BATCH_EVENTS)
        sent_at = _instant(request.sent_time) if request.HasField("sent_time") else None
        delivery = Delivery(source=source.name, received_at=self._ingest.now(), settings=source, sent_at=sent_at)
        return await self._ingest.record(map(_to_call, request.events), delivery, len(request.events))

    async def RegisterSource(
        self, request: ingest_pb2.RegisterSourceRequest, context: Context
    ) -> ingest_pb2.RegisterSourceResponse:
        key = await self._registry.register(request.request_id, request.name)
        return ingest_pb2.RegisterSourceResponse(
            source=_to_source(key.source, key.added_at, key.write_key_hint),
            write_key=key.write_key,
            position=Position(log="source", partition=0, number=key.pos),
        )

    async def ListSources(self, request: ingest_pb2.ListSourcesRequest, context: Context) -> ingest_pb2.ListSourcesResponse:
        rows = await self._sources.all()
        return ingest_pb2.ListSourcesResponse(sources=[_to_source(row.name, row.registered_at, row.write_key_hint) for row in rows])


def write_key_of(context: Context) -> str:
    """Empty when there is none."""
    for name, value in context.invocation_metadata() or ():
        if name == "authorization" and isinstance(value, str) and value.lower().startswith(BEARER):
            return value[len(BEARER) :].strip()
    return ""


def _to_call(event: ingest_pb2.Event) -> Call | Rejection:
    try:
        check_size(event.ByteSize())
        return Call(
            type=KINDS.get(event.type),
            message_id=event.message_id,
            user_id=event.user_id,
            anonymous_id=event.anonymous_id,
            external_ids=[{"type": given.namespace, "id": given.value} for given in event.external_ids] or None,
            event=event.name,
            name=event.name,
            category=event.category,
            group_id=event.target_id,
            previous_id=event.target_id,
            properties=to_dict(event.properties),
            traits=to_dict(event.traits),
            context=to_dict(event.context),
            timestamp=_datetime(event.original_time) if event.HasField("original_time") else None,
        )
    except InvalidInput as error:
        return Rejection(event.message_id, error.reason, error.message)


def _instant(time: Timestamp) -> int | None:
    return instant(_datetime(time))


def _datetime(time: Timestamp) -> Any:
    try:
        return time.ToDatetime(tzinfo=EPOCH.tzinfo)
    except (ValueError, OverflowError):
        raise InvalidInput("the time is not a valid Timestamp", reason="TIMESTAMP_INVALID") from None


def _results(receipt: Receipt) -> list[ingest_pb2.EventResult]:
    return [_to_result(verdict) for verdict in receipt.verdicts]


def _position(receipt: Receipt) -> Position | None:
    return None if receipt.number is None else Position(log="ingest", partition=0, number=receipt.number)


def _to_result(verdict: Verdict) -> ingest_pb2.EventResult:
    return ingest_pb2.EventResult(message_id=verdict.message_id, status=STATUSES[verdict.status], reason=verdict.reason)


def _to_source(name: str, registered_at: int, hint: str) -> ingest_pb2.Source:
    return ingest_pb2.Source(name=name, register_time=to_timestamp(registered_at), write_key_hint=hint)
