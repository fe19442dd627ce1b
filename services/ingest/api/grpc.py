"""The gRPC door."""

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, NamedTuple

import grpc
from c360.ingest.v1 import ingest_pb2, ingest_pb2_grpc
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from services.ingest.api import away
from services.ingest.api.bodies import MAX_BODY_BYTES
from services.ingest.api.positions import position
from services.ingest.api.room import Room
from services.ingest.api.sources import changes_in
from services.ingest.api.stream import Streams
from services.ingest.api.structs import to_dict
from services.ingest.app import Ingest, Recorded, Verdict
from services.ingest.domain.call import Call, Delivery, check_size
from services.ingest.domain.clocks import SENT_AT_INVALID, sent_at_of
from services.ingest.domain.events import Rejection, call_of
from services.ingest.domain.settings import check_batch
from services.ingest.registry import Registry
from services.ingest.views import Sources
from shared import tracing
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
SEQUENCE_TAG = b"\x08"  # field 1, a varint
MAX_SEQUENCE_BYTES = 11  # with its tag
BEARER = "bearer "
SERVICE = "c360.ingest.v1.IngestService"
# What the transport lets in: more than a batch may have, so that whoever sends too much hears from us how much may come. What is
# larger than this it refuses itself, with RESOURCE_EXHAUSTED and no reason.
MAX_RECEIVE_BYTES = 4 * MAX_BODY_BYTES
MAX_UNPARSED_BYTES = 32 * 1024 * 1024  # of requests that are being answered; parsed, each may take twenty times as much

Context = grpc.aio.ServicerContext[Any, Any]


class _TooLarge(NamedTuple):
    """Stands for a request of a stream that is not parsed."""

    sequence: int


class IngestApi(ingest_pb2_grpc.IngestServiceServicer):
    def __init__(self, ingest: Ingest, registry: Registry, sources: Sources) -> None:
        self._ingest = ingest
        self._registry = registry
        self._sources = sources
        self.streams = Streams()
        self._room = Room(MAX_UNPARSED_BYTES)

    async def record_unparsed(self, data: bytes, context: Context) -> ingest_pb2.RecordEventsResponse:
        """As RecordEvents. A message of 4 MiB may be 100 MB of objects: nobody unknown makes us parse one."""
        with away.counted("grpc"):
            return await self._record_unparsed(data, context)

    async def _record_unparsed(self, data: bytes, context: Context) -> ingest_pb2.RecordEventsResponse:
        await self._ingest.authenticate(write_key_of(context))
        if len(data) > MAX_BODY_BYTES:
            raise _too_large()
        with self._room.share(len(data)):
            try:
                request = ingest_pb2.RecordEventsRequest.FromString(data)
            except DecodeError:
                raise InvalidInput("this is not a RecordEventsRequest", reason="BODY_INVALID") from None
            return await self.RecordEvents(request, context)

    async def RecordEvents(self, request: ingest_pb2.RecordEventsRequest, context: Context) -> ingest_pb2.RecordEventsResponse:
        recorded = await self._record(request, write_key_of(context))
        return ingest_pb2.RecordEventsResponse(results=_results(recorded), position=position("ingest", recorded.number))

    async def StreamEvents(
        self, request_iterator: AsyncIterator[ingest_pb2.StreamEventsRequest], context: Context
    ) -> AsyncIterator[ingest_pb2.StreamEventsResponse]:
        write_key = write_key_of(context)
        with away.counted("grpc"):
            await self._ingest.authenticate(write_key)

        async def answer(request: ingest_pb2.StreamEventsRequest | _TooLarge) -> ingest_pb2.StreamEventsResponse:
            if isinstance(request, _TooLarge):
                raise _too_large()
            span = tracing.begin("StreamEvents request", "")  # a call is open for ever: each of its requests is a trace
            with away.counted("grpc"), self._room.share(request.ByteSize()), tracing.serving(span):
                recorded = await self._record(request, write_key)
            return ingest_pb2.StreamEventsResponse(
                sequence=request.sequence, results=_results(recorded), position=position("ingest", recorded.number)
            )

        async with aclosing(self.streams.serve(request_iterator, answer)) as responses:
            async for response in responses:
                yield response

    async def _record(self, request: ingest_pb2.RecordEventsRequest | ingest_pb2.StreamEventsRequest, write_key: str) -> Recorded:
        source = await self._ingest.authenticate(write_key)
        if not request.events:
            raise InvalidInput("the batch is empty", reason="BATCH_EMPTY")
        check_batch(len(request.events))
        sent_at, flags = _sent_at(request.sent_time) if request.HasField("sent_time") else (None, [])
        delivery = Delivery(source=source, received_at=self._ingest.now(), sent_at=sent_at, flags=tuple(flags))
        return await self._ingest.record(map(_to_call, request.events), delivery, len(request.events))

    async def RegisterSource(
        self, request: ingest_pb2.RegisterSourceRequest, context: Context
    ) -> ingest_pb2.RegisterSourceResponse:
        key = await self._registry.register(request.request_id, request.name, changes_in(request.settings))
        return ingest_pb2.RegisterSourceResponse(
            source=_to_source(key.source, key.added_at, key.write_key_hint),
            write_key=key.write_key,
            position=position("source", key.pos),
        )

    async def ListSources(self, request: ingest_pb2.ListSourcesRequest, context: Context) -> ingest_pb2.ListSourcesResponse:
        rows = await self._sources.all()
        return ingest_pb2.ListSourcesResponse(sources=[_to_source(row.name, row.registered_at, row.write_key_hint) for row in rows])


def add_to_server(api: IngestApi, server: Any) -> None:
    """As the generated function does, but RecordEvents comes unparsed, and of StreamEvents what is not too large is parsed."""
    unparsing: Any = _Unparsing(api, server)
    ingest_pb2_grpc.add_IngestServiceServicer_to_server(api, unparsing)


class _Unparsing:
    """A server, for the generated function."""

    def __init__(self, api: IngestApi, server: Any) -> None:
        self._api = api
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """The same handlers come by name, below."""

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        record: Any = grpc.unary_unary_rpc_method_handler(
            self._api.record_unparsed, response_serializer=ingest_pb2.RecordEventsResponse.SerializeToString
        )
        stream: Any = grpc.stream_stream_rpc_method_handler(
            self._api.StreamEvents, _stream_request, ingest_pb2.StreamEventsResponse.SerializeToString
        )
        self._server.add_registered_method_handlers(service, handlers | {"RecordEvents": record, "StreamEvents": stream})


def _stream_request(data: bytes) -> ingest_pb2.StreamEventsRequest | _TooLarge:
    if len(data) <= MAX_BODY_BYTES:
        return ingest_pb2.StreamEventsRequest.FromString(data)
    return _TooLarge(sequence_of(data))


def sequence_of(data: bytes) -> int:
    """It stands first, unless it is 0: a tag, and a number whose last byte is the first below 128."""
    if data[:1] != SEQUENCE_TAG:
        return 0
    end = next((place for place in range(1, MAX_SEQUENCE_BYTES) if data[place] < 128), 0)
    return ingest_pb2.StreamEventsRequest.FromString(data[: end + 1]).sequence if end else 0


def _too_large() -> InvalidInput:
    return InvalidInput("a batch has at most 4 MiB; send it in parts", reason="BODY_TOO_LARGE", limit_bytes=MAX_BODY_BYTES)


def write_key_of(context: Context) -> str:
    """Empty when there is none."""
    for name, value in context.invocation_metadata() or ():
        if name == "authorization" and isinstance(value, str) and value.lower().startswith(BEARER):
            return value[len(BEARER) :].strip()
    return ""


def _to_call(event: ingest_pb2.Event) -> Call | Rejection:
    return call_of(_read, event, lambda given: str(given.message_id))


def _read(event: ingest_pb2.Event) -> Call:
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
        timestamp=_datetime(event.original_time, "original_time") if event.HasField("original_time") else None,
    )


def _sent_at(time: Timestamp) -> tuple[int | None, list[str]]:
    try:
        return sent_at_of(_datetime(time, "sent_time"))
    except InvalidInput:
        return None, [SENT_AT_INVALID]


def _datetime(time: Timestamp, field: str) -> Any:
    try:
        return time.ToDatetime(tzinfo=EPOCH.tzinfo)
    except (ValueError, OverflowError):
        raise InvalidInput(f"{field} is not a valid Timestamp", reason="TIMESTAMP_INVALID") from None


def _results(recorded: Recorded) -> list[ingest_pb2.EventResult]:
    return [_to_result(verdict) for verdict in recorded.verdicts]


def _to_result(verdict: Verdict) -> ingest_pb2.EventResult:
    return ingest_pb2.EventResult(message_id=verdict.message_id, status=STATUSES[verdict.status], reason=verdict.reason)


def _to_source(name: str, registered_at: int, hint: str) -> ingest_pb2.Source:
    return ingest_pb2.Source(name=name, register_time=to_timestamp(registered_at), write_key_hint=hint)
