"""Tells every service which callers there are, and what they may do more for a while: consent publishes all of them at once, the stream keeps the last message.

It is told again at an interval, so that a message that was lost, or that overtook a newer one, counts for no longer.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec
from nats.aio.client import Client

from shared.bus.connection import REQUEST_TIMEOUT_S, ensure_stream
from shared.bus.follower import Follower
from shared.callers import Callers, Told
from shared.poison import Halted
from shared.waiting import wait_for_news

STREAM: Final = "CALLERS"
TELL_AGAIN_S: Final = 30.0

decode = msgspec.msgpack.Decoder(Told).decode
encode = msgspec.msgpack.Encoder().encode


class CallersPublisher:
    """`tell` says that a caller is another now; `run` never ends."""

    def __init__(self, client: Client, read: Callable[[], Awaitable[Told]]) -> None:
        self._client = client
        self._read = read
        self._news = asyncio.Event()

    def tell(self) -> None:
        self._news.set()

    async def run(self) -> None:
        """Raises when a server is down, to be started over."""
        await ensure_stream(self._client, STREAM, 1, max_age_s=None, max_per_subject=1)
        while True:
            self._news.clear()
            told = await self._read()
            if told.callers:  # nobody is there only before the first start has defined the operator
                await self._client.jetstream(timeout=REQUEST_TIMEOUT_S).publish(STREAM, encode(told))
            await wait_for_news(self._news, TELL_AGAIN_S)


async def follow_callers(client: Client, callers: Callers) -> None:
    """Never returns. Raises Halted (UNDECODABLE): among what can't be read may be that a caller is let in no more."""
    follower = Follower(client, STREAM, 0, contiguous=False, watched=False)
    try:
        while True:
            messages: Sequence[Any] = await follower.take()
            try:
                told = decode(messages[-1].data)
            except msgspec.DecodeError as error:
                callers.forget()
                raise Halted(f"{STREAM} can't be decoded ({type(error).__name__})", "UNDECODABLE") from None
            callers.learn(told.callers, told.overrides)
    finally:
        with contextlib.suppress(Exception):
            await follower.close()
