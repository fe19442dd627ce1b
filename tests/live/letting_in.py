"""A door for tests: a real gRPC server with a small servicer behind it, callers that are told, and clients with credentials."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
from c360.common.v1.common_pb2 import CustomerRef
from c360.consent.v1 import consent_pb2 as pb
from c360.consent.v1 import consent_pb2_grpc

from shared.callers import Callers
from shared.errors import NotFound
from shared.events.callers import CallerDefined
from shared.rpc.callers import caller_of
from shared.rpc.errors import reason_of
from shared.rpc.security import Security
from shared.rpc.server import RpcServer, Tell

NAME = "c360.consent.v1.ConsentService"
TIMEOUT_S = 30.0
NOBODY = CustomerRef(customer_id="nobody")


class Answering(consent_pb2_grpc.ConsentServiceServicer):
    """Tells who calls; about `nobody`, that nobody knows them."""

    async def Check(self, request: pb.CheckRequest, context: Any) -> pb.CheckResponse:
        if request.customer == NOBODY:
            raise NotFound("nobody is known by this", reason="CUSTOMER_UNKNOWN")
        return pb.CheckResponse(reason=caller_of(context))

    async def CheckBatch(self, request: pb.CheckBatchRequest, context: Any) -> pb.CheckBatchResponse:
        return pb.CheckBatchResponse()

    async def RecordDecision(self, request: pb.RecordDecisionRequest, context: Any) -> pb.RecordDecisionResponse:
        return pb.RecordDecisionResponse()

    async def FilterAudience(self, requests: Any, context: Any) -> AsyncIterator[pb.FilterAudienceResponse]:
        async for _ in requests:
            yield pb.FilterAudienceResponse()


def a_caller(name: str = "mailer", **said: Any) -> CallerDefined:
    fields: dict[str, Any] = {"issuer": "https://id.example", "subject": name, "purposes": ("marketing",), "groups": ("read",)}
    return CallerDefined(request_id="r", name=name, version=1, **(fields | said))


def told(*defined: CallerDefined) -> Callers:
    callers = Callers()
    callers.learn(defined)
    return callers


def find(request: bytes, context: Any, tell: Tell) -> bool:
    """What names something prepared is ready a moment later, unless it isn't after all."""
    if ready := b"prepared" in request:
        answer = pb.CheckResponse(reason=f"ready for {caller_of(context)}").SerializeToString()
        asyncio.get_running_loop().call_soon(tell, None if b"dropped" in request else answer, None)
    return ready


@asynccontextmanager
async def listening(security: Security) -> AsyncIterator[str]:
    """Its address."""
    server = RpcServer("127.0.0.1:0", security=security)
    server.add(consent_pb2_grpc.add_ConsentServiceServicer_to_server, Answering(), NAME, {"Check": find})  # type: ignore[abstract]
    await server.start()
    try:
        yield f"localhost:{server.port}"
    finally:
        await server.stop()


@asynccontextmanager
async def connected(security: Security, credentials: grpc.ChannelCredentials | None = None) -> AsyncIterator[grpc.aio.Channel]:
    async with listening(security) as address:
        opened = grpc.aio.secure_channel(address, credentials) if credentials else grpc.aio.insecure_channel(address)
        async with opened as channel:
            yield channel


class Client:
    """`said` is the metadata of every call. An answer is (status, reason), of a call that succeeds ("OK", what Check says)."""

    def __init__(self, channel: grpc.aio.Channel, token: str | None = None, said: Sequence[tuple[str, str]] = ()) -> None:
        self._stub: Any = consent_pb2_grpc.ConsentServiceStub(channel)
        self._said = (*said, *([("authorization", f"Bearer {token}")] if token is not None else []))

    async def check(self, purpose: str = "marketing", customer: CustomerRef | None = None) -> tuple[str, str]:
        return await self.call("Check", pb.CheckRequest(purpose=purpose, customer=customer))

    async def call(self, method: str, request: Any) -> tuple[str, str]:
        try:
            answer = await getattr(self._stub, method)(request, timeout=TIMEOUT_S, metadata=self._said)
        except grpc.aio.AioRpcError as error:
            return error.code().name, reason_of(error)
        return "OK", getattr(answer, "reason", "")

    async def filter(self, *purposes: str) -> tuple[str, str]:
        requests = [pb.FilterAudienceRequest(purpose=purpose) for purpose in purposes]
        try:
            answers = [one async for one in self._stub.FilterAudience(iter(requests), timeout=TIMEOUT_S, metadata=self._said)]
        except grpc.aio.AioRpcError as error:
            return error.code().name, reason_of(error)
        return "OK", str(len(answers))
