"""A stream is timed under the status that it ended with, and what it holds is given up when it ends, whoever ends it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import grpc
import pytest
from c360.log.v1 import log_pb2 as pb
from c360.log.v1 import log_pb2_grpc

from shared.errors import NotFound
from shared.rpc.errors import reason_of
from shared.rpc.server import RpcServer
from shared.telemetry import RPC_SECONDS

TIMEOUT_S = 30.0
METHOD = "/c360.log.v1.LogService/ReadNodes"


class Counting(log_pb2_grpc.LogServiceServicer):
    """Streams nodes; keeps its generators, so that no collector closes them."""

    def __init__(self, amount: int = 1_000_000, size: int = 10, error: Exception | None = None) -> None:
        self._amount = amount
        self._size = size
        self._error = error
        self.closed = asyncio.Event()
        self.kept: list[AsyncGenerator[pb.ReadNodesResponse, None]] = []

    def ReadNodes(self, request: pb.ReadNodesRequest, context: Any) -> AsyncGenerator[pb.ReadNodesResponse, None]:
        self.kept.append(self._read())
        return self.kept[-1]

    async def _read(self) -> AsyncGenerator[pb.ReadNodesResponse, None]:
        try:
            for number in range(self._amount):
                yield pb.ReadNodesResponse(nodes=[pb.Node(height=0, number=number, hash=bytes(self._size))])
            if self._error is not None:
                raise self._error
        finally:
            self.closed.set()


async def read(at_most: int, **of: Any) -> list[int]:
    """The numbers of the nodes that come, of which `at_most` are waited for; then the call is cancelled."""
    servicer = Counting(**of)  # type: ignore[abstract]
    server = RpcServer("127.0.0.1:0")
    server.add(log_pb2_grpc.add_LogServiceServicer_to_server, servicer, "c360.log.v1.LogService")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            call = log_pb2_grpc.LogServiceStub(channel).ReadNodes(pb.ReadNodesRequest(), timeout=TIMEOUT_S)
            try:
                return [node.number async for node in nodes(call, at_most)]
            finally:
                call.cancel()
                async with asyncio.timeout(TIMEOUT_S):
                    await servicer.closed.wait()
    finally:
        await server.stop()


async def nodes(call: Any, at_most: int) -> AsyncIterator[pb.Node]:
    for _ in range(at_most):
        if (response := await call.read()) is grpc.aio.EOF:
            return
        for node in response.nodes:
            yield node


def timed(code: str) -> float:
    [metric] = RPC_SECONDS.collect()
    wanted = {"method": METHOD, "code": code}
    return sum(float(sample.value) for sample in metric.samples if sample.name.endswith("_count") and sample.labels == wanted)


async def test_a_stream_that_ends_is_timed_as_what_it_ended_with() -> None:
    ended, refused = timed("OK"), timed("NOT_FOUND")
    assert await read(10, amount=3) == [0, 1, 2]
    with pytest.raises(grpc.aio.AioRpcError) as told:
        await read(10, amount=3, error=NotFound("no such node", reason="NODE_UNKNOWN"))
    assert (told.value.code(), reason_of(told.value)) == (grpc.StatusCode.NOT_FOUND, "NODE_UNKNOWN")
    assert (timed("OK"), timed("NOT_FOUND")) == (ended + 1, refused + 1)


@pytest.mark.parametrize("size", [10, 1_000_000], ids=["it waits for its turn", "nobody takes what is sent"])
async def test_who_leaves_leaves_nothing_behind(size: int) -> None:
    cancelled = timed("CANCELLED")
    assert await read(2, size=size) == [0, 1]
    assert timed("CANCELLED") == cancelled + 1
