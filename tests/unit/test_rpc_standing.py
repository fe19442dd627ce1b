"""A process that stands by is alive, serves nothing, and answers nobody; it does both once it stands by no more."""

import asyncio
from typing import Any

import grpc
import pytest
from c360.log.v1 import log_pb2 as pb
from c360.log.v1 import log_pb2_grpc

from services.cli.client import open_channel
from services.stack.probe import is_serving
from shared.errors import Unavailable
from shared.health import ALIVE, STANDS_BY
from shared.rpc.errors import reason_of
from shared.rpc.server import RpcServer
from shared.rpc.standing import Standing

TIMEOUT_S = 30.0
REQUEST = pb.GetCheckpointRequest()


class Log(log_pb2_grpc.LogServiceServicer):
    async def GetCheckpoint(self, request: Any, context: Any) -> pb.GetCheckpointResponse:
        return pb.GetCheckpointResponse(note="asked")

    async def ReadNodes(self, request: Any, context: Any) -> Any:
        yield pb.ReadNodesResponse()


async def test_who_stands_by_is_alive_and_refuses_and_answers_afterwards() -> None:
    server, owned = RpcServer("127.0.0.1:0"), asyncio.Event()
    server.add(log_pb2_grpc.add_LogServiceServicer_to_server, Log(), "c360.log.v1.LogService")  # type: ignore[abstract]
    address = f"127.0.0.1:{server.port}"

    async def own() -> None:
        await owned.wait()

    starting = asyncio.create_task(server.start_standing_by(own))
    async with grpc.aio.insecure_channel(address) as channel:
        calls = log_pb2_grpc.LogServiceStub(channel)
        for call in (
            calls.GetCheckpoint(REQUEST, timeout=TIMEOUT_S, wait_for_ready=True),
            anext(aiter(calls.ReadNodes(pb.ReadNodesRequest(), timeout=TIMEOUT_S, wait_for_ready=True))),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call
            assert (refused.value.code(), reason_of(refused.value)) == (grpc.StatusCode.UNAVAILABLE, "STANDBY")
        assert await asyncio.to_thread(is_serving, address, TIMEOUT_S, ALIVE)
        assert await asyncio.to_thread(is_serving, address, TIMEOUT_S, STANDS_BY)
        assert not await asyncio.to_thread(is_serving, address, TIMEOUT_S)
        owned.set()
        await starting
        await server.set_ready(True)
        assert (await calls.GetCheckpoint(REQUEST, timeout=TIMEOUT_S)).note == "asked"
        assert await asyncio.to_thread(is_serving, address, TIMEOUT_S)
        assert not await asyncio.to_thread(is_serving, address, TIMEOUT_S, STANDS_BY)
    await server.stop()


async def test_the_command_asks_the_one_that_serves() -> None:
    """It is given both addresses, in either order."""
    servers = [RpcServer("127.0.0.1:0") for _ in range(2)]
    for server in servers:
        server.add(log_pb2_grpc.add_LogServiceServicer_to_server, Log(), "c360.log.v1.LogService")  # type: ignore[abstract]
    starting = asyncio.create_task(servers[0].start_standing_by(asyncio.Event().wait))
    await servers[1].start()
    await servers[1].set_ready(True)
    ports = [server.port for server in servers]
    for order in (ports, ports[::-1]):
        target = f"ipv4:{','.join(f'127.0.0.1:{port}' for port in order)}"
        assert await asyncio.to_thread(asked, target, 20) == ["asked"] * 20
    starting.cancel()
    for server in servers:
        await server.stop()


def asked(target: str, times: int) -> list[str]:
    with open_channel(target) as channel:
        calls = log_pb2_grpc.LogServiceStub(channel)
        return [calls.GetCheckpoint(REQUEST, timeout=TIMEOUT_S).note for _ in range(times)]


def test_what_is_ready_is_not_told_either() -> None:
    standing = Standing()
    standing.check("/any/Method")
    standing.by = True
    with pytest.raises(Unavailable):
        standing.check("/any/Method")
