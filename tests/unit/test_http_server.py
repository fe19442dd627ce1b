"""A server that looks seldom whether it is to leave leaves at once all the same, and its date goes on."""

import asyncio
from email.utils import parsedate_to_datetime
from time import time

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.http import server
from shared.http.connections import BoundedProtocol
from shared.http.server import HttpServer

DEADLINE_S = 20.0
ASK = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"


async def nothing(_: Request) -> Response:
    return Response()


def a_server() -> HttpServer:
    return HttpServer("127.0.0.1:0", Starlette(routes=[Route("/", nothing)]), BoundedProtocol)


async def date(port: int) -> float:
    """Seconds, of an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(ASK)
    answer = await reader.read()
    writer.close()
    told = next(line for line in answer.decode().split("\r\n") if line.lower().startswith("date:"))
    return parsedate_to_datetime(told.partition(":")[2].strip()).timestamp()


async def test_it_leaves_at_once_however_seldom_it_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "LOOK_S", 10 * DEADLINE_S)
    one = a_server()
    running = asyncio.create_task(one.run())
    await date(one.port)
    async with asyncio.timeout(DEADLINE_S):
        await one.stop()
        await running


async def test_the_date_of_its_answers_goes_on() -> None:
    one = a_server()
    running = asyncio.create_task(one.run())
    first = await date(one.port)
    async with asyncio.timeout(DEADLINE_S):
        while (later := await date(one.port)) == first:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    assert first < later <= time()
    await one.stop()
    await running
