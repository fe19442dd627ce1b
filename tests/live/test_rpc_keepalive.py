"""A connection over which nothing comes any more, and which nobody closed: both ends notice. Times are a twentieth of what is set."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from c360.consent.v1 import consent_pb2 as pb
from c360.consent.v1 import consent_pb2_grpc
from customer360_client.credentials import OPTIONS as CLIENT

from services.cli.client import CHANNEL_OPTIONS as CLI
from shared.callers import Callers
from shared.rpc import server as rpc
from shared.rpc.security import Security
from tests.live.letting_in import NAME, Answering

TIMEOUT_S = 60.0
SOONER = 20
SILENT: Sequence[tuple[str, Any]] = (("grpc.enable_retries", 0),)  # asks nothing

Options = Sequence[tuple[str, Any]]


def sooner(options: Options) -> list[tuple[str, Any]]:
    times = ("keepalive_time_ms", "keepalive_timeout_ms", "ping_timeout_ms", "ping_interval_without_data_ms")
    return [(name, value // SOONER if name.endswith(times) else value) for name, value in options]


class Holding(Answering):
    """Holds every stream open until it is cancelled, and tells that it was."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()

    async def FilterAudience(self, requests: Any, context: Any) -> AsyncIterator[pb.FilterAudienceResponse]:
        self.begun.set()
        yield pb.FilterAudienceResponse()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()


def a_holding() -> Holding:
    return Holding()  # type: ignore[abstract]  # it answers what is asked here


class Wire:
    """Between the two ends; once it is cut nothing passes, and no end is told."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._passing = asyncio.Event()
        self._passing.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self.made = 0

    def cut(self) -> None:
        self._passing.clear()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.made += 1
        onward_reader, onward = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, onward]
        for one, other in ((reader, onward), (onward_reader, writer)):
            self._tasks.add(asyncio.create_task(self._pass(one, other)))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                await self._passing.wait()
                writer.write(data)
        except ConnectionError:
            pass
        finally:
            if self._passing.is_set():
                writer.close()

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for writer in self._writers:
            writer.transport.abort()


@asynccontextmanager
async def connected(options: Options, holding: Holding) -> AsyncIterator[tuple[Wire, Any]]:
    server = rpc.RpcServer("127.0.0.1:0", security=Security(Callers()))
    server.add(consent_pb2_grpc.add_ConsentServiceServicer_to_server, holding, NAME)
    await server.start()
    wire = Wire(server.port)
    listening = await asyncio.start_server(wire.accept, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            yield wire, consent_pb2_grpc.ConsentServiceStub(channel)
    finally:
        wire.close()
        listening.close()
        await server.stop()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc, "OPTIONS", sooner(rpc.OPTIONS))


async def never() -> AsyncIterator[pb.FilterAudienceRequest]:
    await asyncio.Event().wait()
    yield pb.FilterAudienceRequest()


@pytest.mark.parametrize("options", [CLI, CLIENT], ids=["c360", "client"])
async def test_who_watches_is_told_that_the_service_is_gone(options: Options) -> None:
    async with connected(sooner(options), holding := a_holding()) as (wire, stub):
        call = stub.FilterAudience(never(), timeout=TIMEOUT_S)
        await call.read()
        wire.cut()
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await call.read()
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
        await asyncio.wait_for(holding.ended.wait(), TIMEOUT_S)


async def test_a_service_lets_go_of_a_watch_whose_reader_is_gone() -> None:
    async with connected(SILENT, holding := a_holding()) as (wire, stub):
        call = stub.FilterAudience(never(), timeout=TIMEOUT_S * 2)
        await call.read()
        wire.cut()
        await asyncio.wait_for(holding.ended.wait(), TIMEOUT_S)
        call.cancel()


async def test_who_asks_as_often_as_is_allowed_is_not_sent_away() -> None:
    """A server that is not told otherwise sends away whoever asks more often than every five minutes."""
    every_ms = 10_000 // SOONER
    often = [*sooner(CLIENT), ("grpc.keepalive_time_ms", every_ms)]
    async with connected(often, a_holding()) as (wire, stub):
        call = stub.FilterAudience(never(), timeout=TIMEOUT_S)
        await call.read()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(call.read(), 8 * every_ms / 1_000)  # three too many would end it
        assert wire.made == 1
