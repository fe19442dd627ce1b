"""Publishes what a log holds, in order, each message with the sequence its number gives it: sequence = number + 1.

The stream's last sequence is therefore the published position. `Nats-Expected-Last-Sequence` makes a second publisher, or a
repeated publish whose acknowledgement was lost, harmless: it is refused and the relay reads the position anew. A stream that
lost messages is made anew from the outbox when a follower misses them.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import Header

from shared import faults, telemetry, tracing
from shared.bus.connection import BROKER_DOWN, REQUEST_TIMEOUT_S, STREAM_AGE_S, ensure_stream, last_sequence_of, refill_subject
from shared.poison import Halted
from shared.store.pool import DOWN as STORE_DOWN
from shared.waiting import wait_for_news

RETRY_S = 0.3
PAGE_MESSAGES = 200
LARGEST, MAX_DIGITS = 2**63 - 1, 19  # of a number in the outbox
WAIT_S = 5.0  # how long to trust being told of news before looking again

# (first number, limit) -> consecutive (number, message)s from there on; the first may be later when older ones were trimmed.
ReadOutbox = Callable[[int, int], Awaitable[list[tuple[int, bytes]]]]
Knows = Callable[[int], Awaitable[bool]]  # whether the log itself has a message, whoever wrote it
TracesOf = Callable[[int], tracing.Traces]  # that a message goes back to; what was forgotten with a restart is none

log = telemetry.logger("relay")


async def publish_at(client: Client, stream: str, number: int, data: bytes) -> None:
    """Publishes `data` as message `number`. Raises BadRequestError when the stream stands elsewhere."""
    headers = {Header.EXPECTED_LAST_SEQUENCE.value: str(number)} | tracing.to_headers(tracing.carried())
    await client.jetstream(timeout=REQUEST_TIMEOUT_S).publish(stream, data, headers=headers)


class Relay:
    """One relay a stream. `tell` says that there is news; `run` never ends.

    `read` may answer from memory; `knows`, where it does, asks the log: a process that has just lost the log to another one doesn't
    know yet what that has written and published, and must not take it for what nobody wrote. `max_age_s` is how long the stream keeps a message; None is for ever, for what is small and must never be missed.
    """

    def __init__(
        self,
        client: Client,
        stream: str,
        read: ReadOutbox,
        max_age_s: float | None = STREAM_AGE_S,
        traces_of: TracesOf = lambda _number: (),
        knows: Knows | None = None,
    ) -> None:
        self._client = client
        self._stream = stream
        self._read = read
        self._max_age_s = max_age_s
        self._traces_of = traces_of
        self._knows = knows or self._reads
        self._news = asyncio.Event()
        self._missing: int | None = None  # sequence that a follower misses
        self.published = 0  # messages in the stream, by number: the next to publish

    def tell(self) -> None:
        self._news.set()

    async def run(self) -> None:
        """Raises Halted (STREAM_AHEAD)."""
        subscription = await self._client.subscribe(refill_subject(self._stream), cb=self._on_missing)
        try:
            while True:
                try:
                    await self._catch_up()
                except (*BROKER_DOWN, *STORE_DOWN, nats.js.errors.APIError) as error:
                    log.warning("cannot publish yet", stream=self._stream, error=type(error).__name__)
                    await asyncio.sleep(RETRY_S)
        finally:
            with contextlib.suppress(nats.errors.Error, OSError):
                await subscription.unsubscribe()

    async def _catch_up(self) -> None:
        """Finds where the stream stands, then publishes what comes after, until the stream is found elsewhere.

        A stream that is lost is made anew and filled from the oldest message that the log still has.
        """
        page = await self._read(0, 1)
        oldest = page[0][0] if page else 0
        await self._ensure(oldest)
        while True:
            self._news.clear()
            if self._missing is not None:
                await self._refill(self._missing)
            page = await self._read(self.published, PAGE_MESSAGES)
            for number, data in page:
                faults.reach(faults.BEFORE_PUBLISH)
                with tracing.stage(f"publish {self._stream}", self._traces_of(number)):
                    await publish_at(self._client, self._stream, number, data)
                faults.reach(faults.AFTER_PUBLISH)
                self.published = number + 1
            if not page and not await wait_for_news(self._news, WAIT_S) and await self._has_moved():
                return

    async def _has_moved(self) -> bool:
        """The stream was lost, or lost its end."""
        return await last_sequence_of(self._client, self._stream) != self.published

    async def _ensure(self, first_number: int) -> None:
        state = await ensure_stream(self._client, self._stream, first_number + 1, max_age_s=self._max_age_s)
        self.published = state.last_seq
        if state.messages and not await self._knows(self.published - 1):
            raise Halted(f"{self._stream} has messages that its log doesn't know: was the database restored?", "STREAM_AHEAD")

    async def _reads(self, number: int) -> bool:
        return bool(await self._read(number, 1))

    async def _on_missing(self, message: Msg) -> None:
        if not message.data.isdigit() or len(message.data) > MAX_DIGITS or not 0 < (missing := int(message.data)) <= LARGEST:
            log.warning("asked to fill from what is no sequence", stream=self._stream)
            return
        self._missing = missing if self._missing is None else min(missing, self._missing)
        self._news.set()

    async def _refill(self, missing: int) -> None:
        """Makes the stream anew from the message that is missing, if the outbox still has it."""
        self._missing = None
        page = await self._read(missing - 1, 1)
        if not page or page[0][0] != missing - 1:
            log.error("a follower misses what is in no outbox any more; restore it", stream=self._stream, missing=missing)
            return
        log.warning("filling the stream again", stream=self._stream, first=missing)
        await self._client.jetstream(timeout=REQUEST_TIMEOUT_S).delete_stream(self._stream)
        await self._ensure(missing - 1)
