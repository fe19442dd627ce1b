"""Handlers that answer only whom the door lets in."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from shared.rpc.door import Door, Entered, Method

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
        async with aclosing(call(request, context)) as answers:
            async for answer in answers:
                yield answer

    return guarded


def streams(call: Stream, door: Door | None, method: Method) -> Stream:
    """As `stream`, of a stream of requests, each of which is asked for by itself."""
    if door is None:
        return call

    async def guarded(requests: AsyncIterator[Any], context: Any) -> AsyncGenerator[Any, None]:
        entered = await door.enter(context, method)
        asked = requests if entered is None else _each(requests, entered, method)
        async with aclosing(call(asked, context)) as answers:
            async for answer in answers:
                yield answer

    return guarded


async def admit(door: Door, context: Any, method: Method, request: Any) -> None:
    """Raises what `Door.enter` and `Door.ask` do."""
    if (entered := await door.enter(context, method)) is not None:
        entered.ask(method, request)


async def _each(requests: AsyncIterator[Any], entered: Entered, method: Method) -> AsyncIterator[Any]:
    async for request in requests:
        entered.ask(method, request)
        yield request
