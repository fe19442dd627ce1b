"""Calls that are answered without a task of their own."""

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import grpc

from shared.rpc.core.call import Call
from tests.unit.test_rpc_core import SERVICE, TIMEOUT_S, Handlers, one, served, told, until

WHOSE: ContextVar[str] = ContextVar("whose", default="nobody's")
OK = grpc.StatusCode.OK


class Quick:
    """What begins with "at once" and "later" is answered without its handler, which tells whose the call is."""

    def __init__(self) -> None:
        self.waiting: list[Call] = []

    def __call__(self, request: bytes, call: Call) -> bool:
        kind = request.decode()
        WHOSE.set(kind)
        if kind == "at once":
            call.end(OK, message=b"quick")
        elif kind == "later":
            self.waiting.append(call)
        elif kind == "wrong":
            raise ValueError(kind)
        elif kind == "handed over":
            asyncio.get_running_loop().call_soon(call.handle, HANDLER, request)
        return kind in ("at once", "later", "handed over")

    def answer(self) -> None:
        for call in self.waiting:
            call.end(OK, message=b"in time")


async def whose(_request: bytes, _context: Any) -> bytes:
    return WHOSE.get().encode()


HANDLER: Any = grpc.unary_unary_rpc_method_handler(whose)


@asynccontextmanager
async def quickly() -> AsyncIterator[tuple[Any, Handlers, Any, Quick]]:
    async with served("core") as (server, handlers, channel):
        quick = Quick()
        server.add_registered_method_handlers(SERVICE, {"whose": HANDLER})
        server.add_quick(f"/{SERVICE}/whose", quick)
        yield server, handlers, channel, quick


async def test_it_is_answered_without_its_handler_or_by_it_and_each_call_knows_what_was_set_of_it_alone() -> None:
    async with quickly() as (_server, _handlers, channel, _quick):
        said = [b"at once", b"not at all", b"handed over"] * 20
        found = await asyncio.gather(*(told(one(channel, "whose", kind)) for kind in said))
        assert found == [b"quick", b"not at all", b"handed over"] * 20
        assert WHOSE.get() == "nobody's"


async def test_what_fails_stays_inside_and_the_next_call_is_answered() -> None:
    async with quickly() as (_server, _handlers, channel, _quick):
        code, details, _ = await told(one(channel, "whose", b"wrong"))
        assert (code, details) == ("UNKNOWN", "unforeseen error")
        assert await told(one(channel, "whose", b"at once")) == b"quick"


async def test_whoever_is_gone_when_it_is_answered_is_in_nobodys_way() -> None:
    async with quickly() as (server, _handlers, channel, quick):
        gone = [one(channel, "whose", b"later") for _ in range(10)]
        await until(lambda: len(quick.waiting) == 10)
        for call in gone:
            call.cancel()
        await until(lambda: all(call._gone for call in quick.waiting))
        quick.answer()
        await until(lambda: not server._calls)
        assert await told(one(channel, "whose", b"at once")) == b"quick"
        handed = one(channel, "whose", b"later")
        await until(lambda: len(quick.waiting) == 11)
        handed.cancel()
        await until(lambda: quick.waiting[-1]._gone)
        quick.waiting[-1].handle(HANDLER, b"")
        await until(lambda: not server._calls)


async def test_a_server_that_stops_waits_for_the_answers() -> None:
    async with quickly() as (server, _handlers, channel, quick):
        waiting = [asyncio.ensure_future(told(one(channel, "whose", b"later"))) for _ in range(10)]
        await until(lambda: len(quick.waiting) == 10)
        stopping = asyncio.create_task(server.stop(TIMEOUT_S))
        await asyncio.sleep(0.1)
        assert not stopping.done()
        quick.answer()
        assert await asyncio.gather(*waiting) == [b"in time"] * 10
        await stopping


async def test_they_leave_nothing_behind() -> None:
    async with quickly() as (_server, _handlers, channel, _quick):
        await told(one(channel, "whose", b"at once"))
        gc.collect()
        gc.disable()
        try:
            before = Counter(type(thing).__name__ for thing in gc.get_objects())
            for _ in range(300):
                await told(one(channel, "whose", b"at once"))
            await asyncio.sleep(0.1)
            after = Counter(type(thing).__name__ for thing in gc.get_objects())
        finally:
            gc.enable()
        assert {name: more for name, more in (after - before).items() if more >= 150} == {}  # what other tests left behind goes on
