"""The gRPC edge of what is parked, the same in every service that parks."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any

import msgspec
from c360.common.v1.common_pb2 import Position
from c360.parked.v1 import parked_pb2 as pb
from c360.parked.v1 import parked_pb2_grpc

from shared.errors import InvalidInput, NotFound
from shared.ids import from_text, to_text
from shared.instants import to_timestamp
from shared.parked import NotParked, Parked, ParkedTable, Place
from shared.poison import Halted, Poison
from shared.rpc.paging import PAGE_MAX, Number, Page, query_of
from shared.telemetry import EVENTS_REPLAYED, logger

SERVICE_NAME = "c360.parked.v1.ParkedService"
MAX_REASON = 200  # characters

# As the table's columns take them.
Stream = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_.-]*\Z")]
Part = Annotated[int, msgspec.Meta(ge=-1, le=2**31 - 1)]
PLACES: msgspec.msgpack.Decoder[Place] = msgspec.msgpack.Decoder(tuple[Stream, Number, Part])
BEFORE_ALL: Place = ("", -1, -1)

# Applies one and takes it out, in one transaction; (log, partition, number) of where it stands then. Raises Poison, NotParked.
Replay = Callable[[Parked], Awaitable[Sequence[tuple[str, int, int]]]]

log = logger("parked")


class ParkedApi(parked_pb2_grpc.ParkedServiceServicer):
    def __init__(self, service: str, table: ParkedTable, replay: Replay) -> None:
        self._service = service
        self._table = table
        self._replay = replay

    async def ListParked(self, request: pb.ListParkedRequest, context: Any) -> pb.ListParkedResponse:
        parked, token = await self._page(request, request)
        return pb.ListParkedResponse(parked=[_parked(one) for one in parked], next_page_token=token)

    async def GetParked(self, request: pb.GetParkedRequest, context: Any) -> pb.GetParkedResponse:
        parked_id = from_text(request.parked_id, "parked")
        found = await self._table.find([parked_id])
        if not found:
            raise _not_parked(parked_id)
        return pb.GetParkedResponse(parked=_parked(found[parked_id]))

    async def ReplayParked(self, request: pb.ReplayParkedRequest, context: Any) -> pb.ReplayParkedResponse:
        if request.all:
            whole = pb.ListParkedRequest(page_size=PAGE_MAX, page_token=request.page_token)
            parked, token = await self._page(whole, request)
            results = [await self._replay_one(one.parked_id, one) for one in parked]
            return pb.ReplayParkedResponse(results=results, next_page_token=token)
        if not request.parked_ids:
            raise InvalidInput("name what to replay, or all", reason="PARKED_ID_MISSING")
        if len(request.parked_ids) > PAGE_MAX:
            raise InvalidInput(f"at most {PAGE_MAX} ids a call", reason="TOO_MANY_IDS", limit=PAGE_MAX)
        ids = [from_text(text, "parked") for text in request.parked_ids]
        found = await self._table.find(ids)
        return pb.ReplayParkedResponse(results=[await self._replay_one(one, found.get(one)) for one in ids])

    async def DiscardParked(self, request: pb.DiscardParkedRequest, context: Any) -> pb.DiscardParkedResponse:
        if not request.reason or len(request.reason) > MAX_REASON or not request.reason.isprintable():
            raise InvalidInput(f"a reason is 1 to {MAX_REASON} printable characters", reason="REASON_INVALID")
        parked_id = from_text(request.parked_id, "parked")
        discarded = await self._table.discard(parked_id)
        if discarded is None:
            raise _not_parked(parked_id)
        log.warning(
            "discarded",
            parked_id=to_text(parked_id),
            stream=discarded.stream,
            sequence=discarded.sequence,
            part=discarded.part,
            parked_for=discarded.reason,
            reason=request.reason,
        )
        return pb.DiscardParkedResponse(parked=_parked(discarded))

    async def _page(
        self, asked: pb.ListParkedRequest, request: pb.ListParkedRequest | pb.ReplayParkedRequest
    ) -> tuple[Sequence[Parked], str]:
        """Each service that parks has a list of its own."""
        page = Page(asked, PLACES, self._service.encode() + query_of(request))
        return page.cut(await self._table.page(page.after or BEFORE_ALL, page.wanted), lambda one: one.place)

    async def _replay_one(self, parked_id: bytes, parked: Parked | None) -> pb.ReplayResult:
        result = pb.ReplayResult(parked_id=to_text(parked_id), outcome=pb.REPLAY_OUTCOME_NOT_PARKED)
        if parked is None:
            return result
        try:
            positions = await self._replay(parked)
        except NotParked:
            return result
        except (Poison, Halted) as error:
            await self._table.still(parked_id, error.reason)
            result.outcome, result.reason = pb.REPLAY_OUTCOME_STILL_PARKED, error.reason
            return result
        log.info("replayed", parked_id=result.parked_id, stream=parked.stream, sequence=parked.sequence)
        EVENTS_REPLAYED.labels(self._service).inc()
        result.outcome = pb.REPLAY_OUTCOME_APPLIED
        result.positions.extend(Position(log=name, partition=partition, number=number) for name, partition, number in positions)
        return result


def _not_parked(parked_id: bytes) -> NotFound:
    return NotFound("nothing of this id is parked", reason="NOT_PARKED", parked_id=to_text(parked_id))


def _parked(one: Parked) -> pb.Parked:
    return pb.Parked(
        parked_id=to_text(one.parked_id),
        stream=one.stream,
        sequence=one.sequence,
        part=one.part,
        event_id=to_text(one.event_id) if one.event_id else "",
        type_id=one.type_id,
        schema_version=one.schema_version,
        customer_id=to_text(one.customer) if one.customer else "",
        reason=one.reason,
        size_bytes=len(one.data),
        park_time=to_timestamp(one.parked_at),
        attempts=one.attempts,
        attempt_time=to_timestamp(one.attempted_at) if one.attempts else None,
    )
