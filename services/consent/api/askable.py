"""The gRPC edge of whom one may ask."""

from typing import Any, Final

import msgspec
from c360.consent.v1 import asking_pb2 as pb
from c360.consent.v1 import asking_pb2_grpc

from services.consent.api.asking import position
from services.consent.api.audiences import named_each
from services.consent.askable import Askable, Askables
from shared.errors import CustomerError
from shared.ids import to_text
from shared.instants import END_OF_TIME, to_timestamp
from shared.positions import Progress
from shared.rpc.edge import freshness, refusal_message
from shared.rpc.paging import Page
from shared.rpc.server import seconds_left

BY_HASH: Final = msgspec.msgpack.Decoder(bytes)


class AskingApi(asking_pb2_grpc.AskingServiceServicer):
    def __init__(self, askables: Askables, progress: Progress, lookup_key: bytes) -> None:
        self._askables = askables
        self._progress = progress
        self._lookup_key = lookup_key

    async def CheckAskable(self, request: pb.CheckAskableRequest, context: Any) -> pb.CheckAskableResponse:
        await self._progress.wait_all(freshness(request.at_least_as_fresh), seconds_left(context))
        customers = await named_each(request.customers, self._lookup_key)
        found = await self._askables.of_each(request.purpose, customers)
        return pb.CheckAskableResponse(results=[_result(one) for one in found])

    async def ListAskable(self, request: pb.ListAskableRequest, _context: Any) -> pb.ListAskableResponse:
        page = Page(request, BY_HASH)
        found, last = await self._askables.of_all(request.purpose, page.after or b"", page.size)
        return pb.ListAskableResponse(askable=[_askable(one) for one in found], next_page_token=page.token_of(last or None))


def _result(found: list[Askable] | CustomerError) -> pb.AskableResult:
    if isinstance(found, CustomerError):
        return pb.AskableResult(refusal=refusal_message(found))
    return pb.AskableResult(askable=[_askable(one) for one in found])


def _askable(one: Askable) -> pb.Askable:
    since = one.asking.since
    return pb.Askable(
        identifier_hash=one.identifier.value_hash.hex(),
        namespace=one.identifier.namespace,
        customer_id=to_text(one.customer) if one.customer else "",
        may_be_asked=one.may,
        reason=one.asking.reason,
        ask_time=to_timestamp(since) if since and since < END_OF_TIME else None,
        evidence=[position(pos) for pos in one.evidence],
    )
