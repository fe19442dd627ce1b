"""The gRPC edge of links that end what comes to an address."""

from typing import Any, Final

from c360.common.v1.common_pb2 import Identifier
from c360.consent.v1 import unsubscribe_pb2 as pb
from c360.consent.v1 import unsubscribe_pb2_grpc

from services.consent.api.audiences import each
from services.consent.domain.unsubscribing import DEFAULT_DAYS
from services.consent.http.pages import FIELD, ONE_CLICK
from services.consent.unsubscribing import Addressed, Made, Unsubscribing
from shared.errors import CustomerError
from shared.identifiers import name_and_hash
from shared.instants import to_timestamp
from shared.rpc.edge import refusal_message

LINKS_AT_MOST: Final = 1_000  # of a batch


class UnsubscribeApi(unsubscribe_pb2_grpc.UnsubscribeServiceServicer):
    def __init__(self, unsubscribing: Unsubscribing, lookup_key: bytes) -> None:
        self._unsubscribing = unsubscribing
        self._lookup_key = lookup_key

    async def CreateUnsubscribeLinks(
        self, request: pb.CreateUnsubscribeLinksRequest, context: Any
    ) -> pb.CreateUnsubscribeLinksResponse:
        asked = await each(request.identifiers, self._addressed, LINKS_AT_MOST)
        made = await self._unsubscribing.links(request.purpose, asked, request.valid_days or DEFAULT_DAYS)
        return pb.CreateUnsubscribeLinksResponse(results=map(_result, made))

    def _addressed(self, identifier: Identifier) -> Addressed:
        return Addressed(*name_and_hash(identifier.namespace, identifier.value, self._lookup_key))


def _result(made: Made | CustomerError) -> pb.UnsubscribeResult:
    if isinstance(made, CustomerError):
        return pb.UnsubscribeResult(refusal=refusal_message(made))
    link = pb.UnsubscribeLink(
        url=made.url,
        list_unsubscribe=f"<{made.url}>",
        list_unsubscribe_post=f"{FIELD}={ONE_CLICK}",
        expire_time=to_timestamp(made.expires_at),
    )
    return pb.UnsubscribeResult(link=link)
