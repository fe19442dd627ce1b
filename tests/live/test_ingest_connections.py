"""Clients that are slow, broken or many: the door lets go of them, and tells them why where it can."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from services.ingest.api.answers import SenderProtocol
from shared.http import connections
from shared.http.connections import MAX_HEAD_BYTES, MAX_HEADERS
from shared.http.server import HttpServer

DEADLINE_S = 20.0
ANSWER_BYTES = 64 * 1024 * 1024  # more than the buffers between two ends hold
POST = b"POST / HTTP/1.1\r\nhost: here\r\ncontent-length: %d\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"
H2C = b"POST / HTTP/1.1\r\nhost: here\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AA\r\n"


class Impatient(SenderProtocol):
    head_s = 0.2
    request_s = 0.4
    unread_s = 0.2


class Echo:
    """Answers with the size of the body; counts who left before their request was whole."""

    def __init__(self) -> None:
        self.gone = 0
        self.open: Callable[[], int] = lambda: 0

    async def answer(self, request: Request) -> Response:
        if request.method == "GET":
            return Response(b"x" * ANSWER_BYTES)
        try:
            return Response(str(len(await request.body())))
        except ClientDisconnect:
            self.gone += 1
            return Response()


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
async def port(echo: Echo) -> AsyncIterator[int]:
    server = HttpServer("127.0.0.1:0", Starlette(routes=[Route("/", echo.answer, methods=["GET", "POST"])]), Impatient)
    echo.open = lambda: len(server._server.server_state.connections)
    running = asyncio.create_task(server.run())
    yield server.port
    await server.stop()
    await running


async def talk(port: int, *pieces: bytes, reading: bool = True) -> bytes:
    """All that the server says until it ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(DEADLINE_S):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            return await reader.read() if reading else b""
    finally:
        writer.close()


def parsed(answer: bytes) -> tuple[int, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


@pytest.mark.parametrize(
    "begun",
    [b"POST / HTTP/1.1\r\nhost: he", POST % 10 + b"12345", CHUNKED + b"5\r\n12"],
    ids=["head", "body", "chunk"],
)
async def test_a_request_that_stalls_gets_408_and_an_end(port: int, echo: Echo, begun: bytes) -> None:
    status, body = parsed(await talk(port, begun))
    assert (status, body["code"]) == (408, "REQUEST_TOO_SLOW")
    assert body["message"]
    assert body["requestId"]


async def test_a_head_that_dribbles_in_gets_408_however_steady_it_is(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def dribble() -> None:
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.01)

    writer.write(b"POST / HTTP/1.1\r\nx: ")
    dribbling = asyncio.create_task(dribble())
    async with asyncio.timeout(DEADLINE_S):
        assert parsed(await reader.readuntil(b"}"))[0] == 408
    dribbling.cancel()
    writer.close()


@pytest.mark.parametrize("said", [b"", b"\r\n"], ids=["nothing", "an empty line"])
async def test_a_connection_without_a_request_is_ended_without_an_answer(port: int, said: bytes) -> None:
    assert await talk(port, said) == b""


async def test_empty_lines_after_a_request_keep_no_connection(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(POST % 1 + b"1")
    async with asyncio.timeout(DEADLINE_S):
        await reader.readuntil(b"\r\n\r\n1")
        writer.write(b"\r\n")
        assert await reader.read() == b""
    writer.close()


async def test_requests_that_come_in_pieces_or_at_once_are_answered_in_order(port: int) -> None:
    answer = await talk(port, POST % 4, b"12", b"34", POST % 2 + b"12" + POST % 1 + b"1", POST % 3 + b"1")
    assert [part[:1] for part in answer.split(b"\r\n\r\n")[1:]] == [b"4", b"2", b"1", b"{"]


async def test_a_client_that_offers_another_protocol_is_answered_in_this_one(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(DEADLINE_S):
        for _ in range(2):
            writer.write(H2C + b"content-length: 5\r\n\r\n12345")
            assert (await reader.readuntil(b"\r\n\r\n5")).startswith(b"HTTP/1.1 200 OK")
    writer.close()


@pytest.mark.parametrize("cut", [20, len(H2C) - 1, len(H2C) + 19, len(H2C) + 21, len(H2C) + 23])
async def test_an_offer_may_come_in_pieces_and_behind_a_request(port: int, cut: int) -> None:
    offer = H2C + b"content-length: 5\r\n\r\n12345"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(DEADLINE_S):
        for pieces in ((offer[:cut], offer[cut:]), (POST % 5 + b"12345" + offer[:cut], offer[cut:] + offer)):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.02)  # so that it comes in by itself
        for _ in range(4):
            assert (await reader.readuntil(b"\r\n\r\n5")).startswith(b"HTTP/1.1 200 OK")
    writer.close()


async def test_a_connect_is_not_http_as_we_know_it(port: int) -> None:
    status, body = parsed(await talk(port, b"CONNECT here:80 HTTP/1.1\r\nhost: here\r\n\r\n"))
    assert (status, body["code"]) == (400, "HTTP_BROKEN")


@pytest.mark.parametrize(
    "head",
    [b"a:\r\n" * (MAX_HEADERS + 1), b"a: " + b"x" * MAX_HEAD_BYTES + b"\r\n", b"a:\r\n" * 16_000],
    ids=["lines", "bytes", "flood"],
)
async def test_a_head_with_too_much_in_it_gets_431_though_it_came_at_once(port: int, head: bytes) -> None:
    status, body = parsed(await talk(port, b"POST / HTTP/1.1\r\n" + head + b"content-length: 1\r\n\r\n1"))
    assert (status, body["code"]) == (431, "HEAD_TOO_LARGE")


async def test_all_heads_together_have_a_bound(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_HEADS_BYTES", 1_000)
    others = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
    for _, writer in others:
        writer.write(b"POST / HTTP/1.1\r\na: " + b"x" * 450)
    await until(lambda: Impatient.heads.size_bytes > 900)
    assert parsed(await talk(port, b"POST / HTTP/1.1\r\na: " + b"x" * 450))[0] == 429
    for _, writer in others:
        writer.close()
    await until(lambda: Impatient.heads.size_bytes == 0)


@pytest.mark.parametrize("broken", [b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", CHUNKED + b"XYZ\r\n"])
async def test_what_is_not_http_gets_400_as_json(port: int, broken: bytes) -> None:
    status, body = parsed(await talk(port, broken))
    assert (status, body["code"]) == (400, "HTTP_BROKEN")


async def test_what_is_broken_behind_a_request_is_not_taken_for_its_answer(port: int) -> None:
    assert await talk(port, POST % 4 + b"1234GARBAGE\r\n\r\n") == b""


async def test_a_head_without_end_gets_431(port: int) -> None:
    status, body = parsed(await talk(port, b"POST / HTTP/1.1\r\nx: " + b"x" * (MAX_HEAD_BYTES + 1)))
    assert (status, body["code"]) == (431, "HEAD_TOO_LARGE")


async def test_who_leaves_in_the_middle_of_a_body_frees_the_handler(port: int, echo: Echo) -> None:
    await talk(port, POST % 10 + b"12345", reading=False)
    await until(lambda: echo.gone == 1)


async def test_an_answer_that_nobody_reads_is_not_kept(port: int, echo: Echo) -> None:
    deaf = socket.create_connection(("127.0.0.1", port))
    deaf.sendall(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n")
    await until(lambda: echo.open() == 1)
    await until(lambda: echo.open() == 0)
    deaf.close()


async def test_too_many_connections_get_429(port: int, echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 1)
    first = await asyncio.open_connection("127.0.0.1", port)
    await until(lambda: echo.open() == 1)
    answer = await talk(port)
    assert parsed(answer)[0] == 429
    assert b"retry-after: 1\r\n" in answer
    first[1].close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in the server's callbacks
            await asyncio.sleep(0.01)
