"""Handlers that answer only whom the door lets in."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from shared.rpc.door import RECHECK_S, Door, Entered, Method

Unary = Callable[[Any, Any], Awaitable[Any]]
Stream = Callable[[Any, Any], AsyncGenerator[Any, None]]


def unary(call: Unary, door: Door | None, method: Method) -> Unary:
    if door is None:
        return call

    async def guarded(request: Any, context: Any) -> Any:
        await admit(door, context, method, request)
        return await call(request, context)

    return guarded


def stream(call: Stream, door: Door | None, method: Method) -> Stream:
    if door is None:
        return call

    async def guarded(request: Any, context: Any) -> AsyncGenerator[Any, None]:
        await admit(door, context, method, request)
        lasting = _Lasting(door, context, method)
        async with aclosing(call(request, context)) as answers:
            async for answer in answers:
                await lasting.check(request)
                yield answer

    return guarded


def streams(call: Stream, door: Door | None, method: Method) -> Stream:
    """As `stream`, of a stream of requests, each of which is asked for by itself."""
    if door is None:
        return call

    async def guarded(requests: AsyncIterator[Any], context: Any) -> AsyncGenerator[Any, None]:
        entered = await door.enter(context, method)
        asked = requests if entered is None else _each(requests, entered, _Lasting(door, context, method), method)
        async with aclosing(call(asked, context)) as answers:
            async for answer in answers:
                yield answer

    return guarded


async def admit(door: Door, context: Any, method: Method, request: Any) -> None:
    """Raises what `Door.enter` and `Entered.ask` do."""
    if (entered := await door.enter(context, method)) is not None:
        entered.ask(method, request)


async def _each(requests: AsyncIterator[Any], entered: Entered, lasting: "_Lasting", method: Method) -> AsyncIterator[Any]:
    async for request in requests:
        await lasting.check(request)
        entered.ask(method, request)
        yield request


class _Lasting:
    """Whoever was let in is looked at again while a stream goes on: nothing more is told when it wouldn't be let in now."""

    def __init__(self, door: Door, context: Any, method: Method) -> None:
        self._door = door
        self._context = context
        self._method = method
        self._at = door.now()

    async def check(self, request: Any) -> None:
        """Raises what `Door.enter` does, NotPermitted (PURPOSE_NOT_ALLOWED)."""
        now = self._door.now()
        if now - self._at < RECHECK_S:
            return
        self._at = now
        if (entered := await self._door.enter(self._context, self._method)) is not None:
            entered.declare(self._method, request)
