"""A stream of batches over one call: many under way at a time, answered in order, and never more than a few owed."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, Final

from c360.ingest.v1.ingest_pb2 import StreamEventsRequest, StreamEventsResponse

from shared.errors import CustomerError, Unavailable
from shared.waiting import end

# Requests of a stream whose answers are owed. The next is read only when the caller has taken the oldest, so that who
# doesn't read is soon held up by HTTP/2 in sending too; more of them don't make a stream faster (one message at a time).
IN_FLIGHT: Final = 4

Answer = Callable[[StreamEventsRequest], Awaitable[StreamEventsResponse]]
Owed = asyncio.Queue[asyncio.Task[StreamEventsResponse] | None]


class Streams:
    """All the streams that are open; `close` ends them, each with what it still owes."""

    def __init__(self) -> None:
        self._closing = asyncio.Event()

    def close(self) -> None:
        self._closing.set()

    async def serve(
        self, requests: AsyncIterator[StreamEventsRequest], answer: Answer
    ) -> AsyncGenerator[StreamEventsResponse, None]:
        """Raises what `answer` raised, with the `sequence` of that request, and Unavailable (STOPPING)."""
        owed: Owed = asyncio.Queue()
        room = asyncio.Semaphore(IN_FLIGHT)
        begun: set[asyncio.Task[Any]] = set()
        reading = asyncio.create_task(self._read(requests, answer, owed, room, begun))
        try:
            while (answering := await owed.get()) is not None:
                yield await answering
                room.release()
            await reading
        finally:
            await end([reading, *begun])

    async def _read(
        self, requests: AsyncIterator[StreamEventsRequest], answer: Answer, owed: Owed, room: asyncio.Semaphore, begun: set[Any]
    ) -> None:
        try:
            while True:
                await room.acquire()
                request = await self._next(requests)
                if request is None:
                    return
                answering = asyncio.create_task(_answer(answer, request))
                begun.add(answering)
                answering.add_done_callback(begun.discard)
                owed.put_nowait(answering)
        finally:
            owed.put_nowait(None)

    async def _next(self, requests: AsyncIterator[StreamEventsRequest]) -> StreamEventsRequest | None:
        """None: the caller has said all. Raises Unavailable (STOPPING)."""
        coming = asyncio.ensure_future(anext(requests, None))
        closing = asyncio.create_task(self._closing.wait())
        try:
            await asyncio.wait({coming, closing}, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                raise Unavailable("the service is stopping; go on elsewhere after the last answer", reason="STOPPING")
            return coming.result()
        finally:
            await end([coming, closing])


async def _answer(answer: Answer, request: StreamEventsRequest) -> StreamEventsResponse:
    try:
        return await answer(request)
    except CustomerError as error:
        error.facts["sequence"] = str(request.sequence)
        raise
