"""How the server on grpcio's core ends: its calls, whatever their handlers do, and itself, whatever its callers do."""

import asyncio
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import grpc

from benchmarks.grpc_load import DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, frame, literal
from shared.rpc.core.server import CoreServer
from tests.unit.test_rpc_core import OPTIONS, SERVICE, TIMEOUT_S, Handlers, many, one, served, told, until

ROOT = Path(__file__).parents[2]

# A service that fails doesn't stop its server: its loop ends, and with it what runs there.
FAILING = """
import asyncio

from shared.rpc.core.server import CoreServer
from tests.unit.test_rpc_core import OPTIONS, Handlers, until


async def fail() -> None:
    server, handlers = CoreServer(OPTIONS), Handlers()
    handlers.register(server)
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await until(lambda: handlers.begun == 1)
    raise SystemExit


asyncio.run(fail())
"""


def test_whoever_waits_for_a_service_that_fails_is_told_to_ask_again() -> None:
    """As when another process has taken its log over."""
    with subprocess.Popen([sys.executable, "-c", FAILING], stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        with grpc.insecure_channel(f"127.0.0.1:{process.stdout.readline().strip()}") as channel:
            method: Any = channel.unary_unary(f"/{SERVICE}/wait")
            error = method.future(b"", timeout=TIMEOUT_S).exception()
    assert error.code() is grpc.StatusCode.UNAVAILABLE


async def test_an_answer_that_cannot_be_sent_is_told_of() -> None:
    async with served("core") as (server, _handlers, channel):

        async def unsent(_request: bytes, _context: Any) -> Any:
            return "no bytes"

        async def unreadable(_request: bytes, context: Any) -> None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "gone", (("no text", 1),))

        async def crossed(_request: bytes, context: Any) -> None:
            await asyncio.gather(*(context.write(b"x") for _ in range(3)))

        unary = {"unsent": unsent, "unreadable": unreadable}
        made: dict[str, Any] = {name: grpc.unary_unary_rpc_method_handler(call) for name, call in unary.items()}
        server.add_registered_method_handlers(SERVICE, made | {"crossed": grpc.unary_stream_rpc_method_handler(crossed)})
        for name in unary:
            assert (await told(one(channel, name)))[:2] == ("UNKNOWN", "unforeseen error")
        assert (await many(channel.unary_stream(f"/{SERVICE}/crossed")(b"", timeout=TIMEOUT_S)))[-1] == (
            "UNKNOWN",
            "unforeseen error",
        )


async def test_a_call_that_begins_as_the_last_one_ends_is_waited_for_too() -> None:
    """Else its handler would use a core that was given up, which ends the process."""
    async with served("core") as (server, handlers, _channel):
        begun, asked = asyncio.Event(), grpc.insecure_channel(f"127.0.0.1:{handlers.port}")
        stopped_at: list[int] = []

        async def first(request: bytes, _context: Any) -> bytes:
            begun.set()
            return request

        async def tidy(_request: bytes, _context: Any) -> None:
            handlers.begun += 1
            try:
                await handlers.go.wait()
            finally:
                await asyncio.sleep(0.3)
                handlers.ended["tidied"] += 1

        async def stop_late() -> None:
            """What comes while the loop is busy is found once the server stops."""
            second = ask("tidy")
            time.sleep(0.5)  # noqa: ASYNC251
            await server.stop(0.1)
            stopped_at.append(handlers.begun - handlers.ended["tidied"])
            await second

        def ask(name: str) -> Any:
            method: Any = asked.unary_unary(f"/{SERVICE}/{name}")
            call = method.future(b"", timeout=TIMEOUT_S)
            return asyncio.to_thread(call.exception)

        server.add_registered_method_handlers(
            SERVICE, {call.__name__: grpc.unary_unary_rpc_method_handler(call) for call in (first, tidy)}
        )
        answered = asyncio.ensure_future(ask("first"))
        await begun.wait()
        await stop_late()
        await answered
        assert stopped_at == [0]
        asked.close()


async def test_a_handler_is_cancelled_once_so_that_it_can_end_as_it_likes() -> None:
    async with served("core") as (server, handlers, channel):

        async def tidy(_request: bytes, _context: Any) -> None:
            handlers.begun += 1
            try:
                await handlers.go.wait()
            finally:
                await asyncio.sleep(0.2)
                handlers.ended["tidied"] += 1

        server.add_registered_method_handlers(SERVICE, {"tidy": grpc.unary_unary_rpc_method_handler(tidy)})
        waiting = asyncio.ensure_future(told(one(channel, "tidy")))
        await until(lambda: handlers.begun == 1)
        await server.stop(0)
        assert handlers.ended["tidied"] == 1
        await waiting


async def test_who_outlasts_the_stop_is_told_to_ask_again() -> None:
    async with served("core") as (server, handlers, channel):
        waiting = [asyncio.ensure_future(told(one(channel, "wait"))) for _ in range(10)]
        await until(lambda: handlers.begun == 10)
        await server.stop(0.1)
        assert {code for code, _, _ in await asyncio.gather(*waiting)} == {"UNAVAILABLE"}
        assert handlers.ended["cancelled"] == 10


async def test_whoever_reads_nothing_does_not_hold_up_the_end() -> None:
    async with served("core") as (server, handlers, _channel):
        with socket.create_connection(("127.0.0.1", handlers.port)) as deaf:
            message = b"\0" + (60_000).to_bytes(4) + bytes(60_000)
            frames = [message[at : at + 16_000] for at in range(0, len(message), 16_000)]
            data = b"".join(frame(DATA, 0, 1, part) for part in frames)
            await asyncio.to_thread(
                deaf.sendall, PREFACE + frame(HEADERS, END_HEADERS, 1, headers("endless")) + data + frame(DATA, END_STREAM, 1, b"")
            )
            await until(lambda: handlers.begun == 1)
            await asyncio.sleep(0.3)  # until nothing more fits on the way
            async with asyncio.timeout(TIMEOUT_S):
                await server.stop(0.1)
            assert handlers.ended["endless"] == 1


async def test_stopping_twice_waits_for_the_first_and_needs_no_start() -> None:
    await CoreServer(OPTIONS).stop(0)
    async with served("core") as (server, handlers, channel):
        waiting = asyncio.ensure_future(told(one(channel, "wait")))
        await until(lambda: handlers.begun == 1)
        first = asyncio.create_task(server.stop(TIMEOUT_S))
        await asyncio.sleep(0)
        second = asyncio.create_task(server.stop(0))
        await asyncio.sleep(0.1)
        assert not second.done()
        handlers.go.set()
        assert await waiting == b""
        await asyncio.gather(first, second)


MOST = 3


async def test_one_method_that_many_hold_open_leaves_the_others_answered() -> None:
    """Streams that nobody ends, such as watches of health, which everybody may ask for."""
    server, handlers = CoreServer(OPTIONS, most_calls=MOST), Handlers()
    handlers.register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            waiting = [asyncio.ensure_future(told(one(channel, "wait", b"late"))) for _ in range(MOST)]
            await until(lambda: handlers.begun == MOST)
            assert (await told(one(channel, "wait")))[0] == "RESOURCE_EXHAUSTED"
            assert await told(one(channel, "echo", b"others")) == b"others"
            handlers.go.set()
            assert await asyncio.gather(*waiting) == [b"late"] * MOST
            assert await told(one(channel, "wait", b"again")) == b"again"
    finally:
        await server.stop(0)


async def test_calls_that_never_ask_anything_hold_up_nobody() -> None:
    async with served("core") as (_server, handlers, channel):
        with socket.create_connection(("127.0.0.1", handlers.port)) as silent:
            opened = [frame(HEADERS, END_HEADERS, 2 * number + 1, headers("echo")) for number in range(1_000)]
            await asyncio.to_thread(silent.sendall, PREFACE + b"".join(opened))
            assert await asyncio.gather(*(told(one(channel, "echo", b"x")) for _ in range(100))) == [b"x"] * 100


def headers(method: str) -> bytes:
    fields = ((b":method", b"POST"), (b":scheme", b"http"), (b":path", f"/{SERVICE}/{method}".encode()), (b":authority", b"x"))
    return b"".join(literal(*field) for field in (*fields, (b"content-type", b"application/grpc"), (b"te", b"trailers")))
