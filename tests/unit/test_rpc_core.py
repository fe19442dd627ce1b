"""The server on grpcio's core does what grpc.aio's does: each call is made of both, by grpc.aio's own client."""

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from shared.rpc.core.server import CoreServer

SERVICE = "test.Service"
TIMEOUT_S = 30.0
LARGEST = 100_000
OPTIONS = [("grpc.max_receive_message_length", LARGEST), ("grpc.so_reuseport", 0)]
AT_ONCE = 300


class Handlers:
    """`begun` and `ended` count what runs; `go` lets those end that wait."""

    def __init__(self) -> None:
        self.port = 0
        self.begun = 0
        self.ended: Counter[str] = Counter()
        self.go = asyncio.Event()

    async def echo(self, request: bytes, _context: Any) -> bytes:
        return request

    async def said(self, _request: bytes, context: Any) -> bytes:
        return repr([(key, value) for key, value in context.invocation_metadata() if key.startswith("x-")]).encode()

    async def hurry(self, _request: bytes, context: Any) -> bytes:
        left = context.time_remaining()
        # A deadline is sent in steps, which are rounded up.
        return b"none" if left is None else b"some" if 0 < left <= TIMEOUT_S + 1 else b"wrong"

    async def refuse(self, request: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.NOT_FOUND, request.decode(), (("why-bin", b"\x00\xff"), ("why", "that")))
        return b"never"

    async def fail(self, request: bytes, _context: Any) -> bytes:
        raise ValueError(request)

    async def wait(self, request: bytes, _context: Any) -> bytes:
        self.begun += 1
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.ended["cancelled"] += 1
            raise
        self.ended["answered"] += 1
        return request

    async def count(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        for number in range(int(request)):
            yield str(number).encode()
        if request == b"3":
            await context.abort(grpc.StatusCode.ABORTED, "three")

    async def endless(self, request: bytes, context: Any) -> None:
        self.begun += 1
        try:
            while True:
                await context.write(request)
        finally:
            self.ended["endless"] += 1

    async def both(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            if request == b"stop":
                await context.abort(grpc.StatusCode.CANCELLED, "as you say")
            yield request * 2

    def register(self, server: Any) -> None:
        unary = {name: getattr(self, name) for name in ("echo", "said", "hurry", "refuse", "fail", "wait")}
        made: dict[str, Any] = {name: grpc.unary_unary_rpc_method_handler(call) for name, call in unary.items()}
        made["count"] = grpc.unary_stream_rpc_method_handler(self.count)
        made["endless"] = grpc.unary_stream_rpc_method_handler(self.endless)
        made["both"] = grpc.stream_stream_rpc_method_handler(self.both)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, made),))
        server.add_registered_method_handlers(SERVICE, made)


SERVERS: dict[str, Callable[[], Any]] = {"core": lambda: CoreServer(OPTIONS), "grpc.aio": lambda: grpc.aio.server(options=OPTIONS)}


@asynccontextmanager
async def served(kind: str) -> AsyncIterator[tuple[Any, Handlers, Any]]:
    server, handlers = SERVERS[kind](), Handlers()
    handlers.register(server)
    port = handlers.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=(("grpc.max_receive_message_length", -1),)) as channel:
            yield server, handlers, channel
    finally:
        await server.stop(0)


async def told(answers: Awaitable[Any]) -> Any:
    """What the caller sees."""
    try:
        return await answers
    except grpc.aio.AioRpcError as error:
        return error.code().name, error.details(), tuple(error.trailing_metadata())


def one(channel: Any, method: str, request: bytes = b"", **how: Any) -> Any:
    return channel.unary_unary(f"/{SERVICE}/{method}")(request, timeout=how.pop("timeout", TIMEOUT_S), **how)


async def many(call: Any) -> list[Any]:
    found: list[Any] = []
    try:
        async for response in call:
            found.append(response)
    except grpc.aio.AioRpcError as error:
        found.append((error.code().name, error.details()))
    return found


def counted(channel: Any, amount: int) -> Any:
    return channel.unary_stream(f"/{SERVICE}/count")(str(amount).encode(), timeout=TIMEOUT_S)


def doubled(channel: Any, *requests: bytes) -> Any:
    return channel.stream_stream(f"/{SERVICE}/both")(iter(requests), timeout=TIMEOUT_S)


CALLS: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "a call": lambda channel: told(one(channel, "echo", b"hello")),
    "of nothing": lambda channel: told(one(channel, "echo")),
    "the largest": lambda channel: told(one(channel, "echo", bytes(LARGEST))),
    "too large": lambda channel: told(one(channel, "echo", bytes(LARGEST + 1))),
    "compressed": lambda channel: told(one(channel, "echo", b"a" * 5_000, compression=grpc.Compression.Gzip)),
    "metadata": lambda channel: told(one(channel, "said", metadata=(("x-text", "t"), ("x-bin", b"\x00\xff"), ("x-text", "u")))),
    "a deadline": lambda channel: told(one(channel, "hurry")),
    "no deadline": lambda channel: told(one(channel, "hurry", timeout=None)),
    "refused": lambda channel: told(one(channel, "refuse", "kein Käse".encode())),
    "no such method": lambda channel: told(one(channel, "nothing")),
    "many at once": lambda channel: asyncio.gather(*(told(one(channel, "echo", str(n).encode())) for n in range(AT_ONCE))),
    "a stream": lambda channel: many(counted(channel, 1_000)),
    "an empty stream": lambda channel: many(counted(channel, 0)),
    "a stream that is refused at its end": lambda channel: many(counted(channel, 3)),
    "both ways": lambda channel: many(doubled(channel, *(str(n).encode() for n in range(100)))),
    "both ways, nothing": lambda channel: many(doubled(channel)),
    "both ways, refused": lambda channel: many(doubled(channel, b"a", b"stop")),
}


@pytest.mark.parametrize("name", CALLS)
async def test_a_caller_sees_what_grpc_aio_would_answer(name: str) -> None:
    seen = []
    for kind in SERVERS:
        async with served(kind) as (_server, _handlers, channel):
            seen.append(await CALLS[name](channel))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("kind", SERVERS)
async def test_what_a_handler_fails_of_stays_inside(kind: str) -> None:
    async with served(kind) as (_server, _handlers, channel):
        code, details, _ = await told(one(channel, "fail", b"secret"))
        assert code == "UNKNOWN"
        assert kind == "grpc.aio" or "secret" not in details
        assert await told(one(channel, "echo", b"goes on")) == b"goes on"


@pytest.mark.parametrize("kind", SERVERS)
async def test_a_handler_ends_with_its_callers_patience(kind: str) -> None:
    async with served(kind) as (_server, handlers, channel):
        code, _, _ = await told(one(channel, "wait", timeout=0.2))
        assert code == "DEADLINE_EXCEEDED"
        gone = one(channel, "wait")
        await until(lambda: handlers.begun == 2)
        gone.cancel()
        await until(lambda: handlers.ended["cancelled"] == 2)


@pytest.mark.parametrize("kind", SERVERS)
async def test_a_stream_ends_with_whoever_reads_it_and_waits_for_who_does_not(kind: str) -> None:
    async with served(kind) as (_server, handlers, channel):
        call = channel.unary_stream(f"/{SERVICE}/endless")(b"x" * 50_000, timeout=TIMEOUT_S)
        assert await call.read() == b"x" * 50_000
        await asyncio.sleep(0.2)
        assert await told(one(channel, "echo", b"others are answered")) == b"others are answered"
        call.cancel()
        await until(lambda: handlers.ended["endless"] == 1)


async def test_a_connection_that_breaks_ends_its_calls() -> None:
    async with served("core") as (_server, handlers, channel):
        waiting = [asyncio.ensure_future(told(one(channel, "wait"))) for _ in range(10)]
        await until(lambda: handlers.begun == 10)
        await channel.close()
        await until(lambda: handlers.ended["cancelled"] == 10)
        await asyncio.gather(*waiting, return_exceptions=True)


@pytest.mark.parametrize("kind", SERVERS)
async def test_calls_under_way_are_answered_when_it_stops_and_no_new_ones_begun(kind: str) -> None:
    async with served(kind) as (server, handlers, channel):
        waiting = [asyncio.ensure_future(told(one(channel, "wait", b"late"))) for _ in range(10)]
        await until(lambda: handlers.begun == 10)
        stopping = asyncio.create_task(server.stop(TIMEOUT_S))
        await asyncio.sleep(0.1)
        assert (await told(one(channel, "echo")))[0] == "UNAVAILABLE"
        handlers.go.set()
        assert await asyncio.gather(*waiting) == [b"late"] * 10
        await stopping


@pytest.mark.parametrize("kind", SERVERS)
async def test_whoever_does_not_end_is_cancelled(kind: str) -> None:
    async with served(kind) as (server, handlers, channel):
        waiting = [asyncio.ensure_future(told(one(channel, "wait"))) for _ in range(10)]
        await until(lambda: handlers.begun == 10)
        await server.stop(0.1)
        assert {code for code, _, _ in await asyncio.gather(*waiting)} <= {"UNAVAILABLE", "CANCELLED"}
        assert handlers.ended["cancelled"] == 10


async def test_a_handler_that_does_not_end_holds_up_nobody() -> None:
    async with served("core") as (server, handlers, channel):

        async def stubborn(_request: bytes, _context: Any) -> bytes:
            handlers.begun += 1
            while True:
                try:
                    await handlers.go.wait()
                except asyncio.CancelledError:
                    continue
                return b""

        server.add_registered_method_handlers(SERVICE, {"stubborn": grpc.unary_unary_rpc_method_handler(stubborn)})
        waiting = asyncio.ensure_future(told(one(channel, "stubborn")))
        await until(lambda: handlers.begun == 1)
        async with asyncio.timeout(TIMEOUT_S):
            await server.stop(0.1)
        await waiting
        handlers.go.set()
        await asyncio.sleep(0.1)  # its end finds a server that has stopped


async def test_calls_leave_nothing_behind() -> None:
    """grpc.aio leaves objects in cycles at each call, which a collector that is kept quiet lets come together to a stall."""
    async with served("core") as (_server, _handlers, channel):
        for method in ("echo", "refuse"):
            await told(one(channel, method, b"x"))
            gc.collect()
            gc.disable()
            try:
                before = Counter(type(thing).__name__ for thing in gc.get_objects())
                for _ in range(100):
                    await told(one(channel, method, b"x"))
                await until(lambda before=before: not left(before))  # type: ignore[misc]  # the last calls end behind their answers
            finally:
                gc.enable()


def left(before: Counter[str]) -> dict[str, int]:
    after = Counter(type(thing).__name__ for thing in gc.get_objects())
    return {name: more for name, more in (after - before).items() if more >= 50}


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
