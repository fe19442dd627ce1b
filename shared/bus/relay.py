"""Publishes what a log holds, in order, each message with the sequence its number gives it: sequence = number + 1.

The stream's last sequence is therefore the published position. `Nats-Expected-Last-Sequence` makes a second publisher, or
a repeated publish whose acknowledgement was lost, harmless: it is refused and the relay reads the position anew.
"""

import asyncio
from collections.abc import Awaitable, Callable

import nats.js.errors
from nats.aio.client import Client
from nats.js.api import Header

from shared import telemetry
from shared.bus.connection import BROKER_DOWN, REQUEST_TIMEOUT_S, ensure_stream
from shared.store.pool import DOWN as STORE_DOWN

RETRY_S = 0.3
PAGE_MESSAGES = 200
WAIT_S = 5.0  # how long to trust being told of news before looking again

# (first number, limit) -> consecutive (number, message)s from there on; the first may be later when older ones were trimmed.
ReadOutbox = Callable[[int, int], Awaitable[list[tuple[int, bytes]]]]

log = telemetry.logger("relay")


async def publish_at(client: Client, stream: str, number: int, data: bytes) -> None:
    """Publishes `data` as message `number`. Raises BadRequestError when the stream stands elsewhere."""
    headers = {Header.EXPECTED_LAST_SEQUENCE.value: str(number)}
    await client.jetstream(timeout=REQUEST_TIMEOUT_S).publish(stream, data, headers=headers)


class Relay:
    """One relay a stream. `tell` says that there is news; `run` never ends."""

    def __init__(self, client: Client, stream: str, read: ReadOutbox) -> None:
        self._client = client
        self._stream = stream
        self._read = read
        self._news = asyncio.Event()
        self.published = 0  # messages in the stream, by number: the next to publish

    def tell(self) -> None:
        self._news.set()

    async def run(self) -> None:
        while True:
            try:
                await self._catch_up()
            except (*BROKER_DOWN, *STORE_DOWN, nats.js.errors.APIError) as error:
                log.warning("cannot publish yet", stream=self._stream, error=type(error).__name__)
                await asyncio.sleep(RETRY_S)

    async def _catch_up(self) -> None:
        """Finds where the stream stands, then publishes what comes after, until something goes wrong."""
        page = await self._read(0, 1)
        oldest = page[0][0] if page else 0
        state = await ensure_stream(self._client, self._stream, oldest + 1)
        self.published = state.last_seq
        while True:
            self._news.clear()
            page = await self._read(self.published, PAGE_MESSAGES)
            for number, data in page:
                await publish_at(self._client, self._stream, number, data)
                self.published = number + 1
            if not page:
                await self._wait_for_news()

    async def _wait_for_news(self) -> None:
        try:
            await asyncio.wait_for(self._news.wait(), WAIT_S)
        except TimeoutError:
            state = await ensure_stream(self._client, self._stream, self.published + 1)
            self.published = state.last_seq
