"""Group commit: what many requests bring while a message is on its way becomes the next message.

One message is in flight at a time, so the events of a source stay in the order in which they were answered. Nothing
lingers: an idle door publishes at once, a busy one finds its batch waiting (measured: lingering 1 to 3 ms costs a lone
request that time and gains no throughput).
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from shared import tracing
from shared.errors import CustomerError, LimitExceeded, Unavailable

MESSAGE_EVENTS: Final = 5_000
MESSAGE_BYTES: Final = 900 * 1024  # fits a broker with its default of 1 MB a message
BUFFERED_EVENTS: Final = 50_000
BUFFERED_BYTES: Final = 64 * 1024 * 1024

# Makes encoded events durable and returns where they stand. Raises CustomerError when it gave up.
Publish = Callable[[list[bytes]], Awaitable[int]]


class _Piece:
    """Events of one request that go into one message."""

    __slots__ = ("answer", "events", "size_bytes", "traces")

    def __init__(self, events: list[bytes], size_bytes: int) -> None:
        self.events = events
        self.size_bytes = size_bytes
        self.traces = tracing.carried()
        self.answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()


class Batcher:
    """`run` until `close`; `submit` returns when the events are durable."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._waiting: deque[_Piece] = deque()
        self._news = asyncio.Event()
        self._events = 0
        self._bytes = 0
        self._closing = False

    async def submit(self, events: list[bytes]) -> int:
        """Where the last of the events stands. Raises LimitExceeded (OVERLOADED), Unavailable (BROKER_DOWN, STOPPING)."""
        size_bytes = sum(map(len, events))
        if self._closing:
            raise Unavailable("the service is stopping", reason="STOPPING")
        if self._events + len(events) > BUFFERED_EVENTS or self._bytes + size_bytes > BUFFERED_BYTES:
            raise LimitExceeded("too many events are waiting; send again later", reason="OVERLOADED")
        if _fits(events, size_bytes):
            return await self._enqueue(events, size_bytes)
        answers = [self._enqueue(part, sum(map(len, part))) for part in _split(events)]
        return (await asyncio.gather(*answers))[-1]

    async def run(self) -> None:
        """Returns after `close`, when nothing waits any more."""
        while self._waiting or not self._closing:
            if not self._waiting:
                self._news.clear()
                await self._news.wait()
                continue
            await self._flush()

    def close(self) -> None:
        """Takes nothing more; what waits is still published."""
        self._closing = True
        self._news.set()

    async def _flush(self) -> None:
        pieces = self._take()
        if not pieces:
            return
        try:
            with tracing.stage("publish INGEST", tracing.together(piece.traces for piece in pieces), requests=len(pieces)):
                number = await self._publish([event for piece in pieces for event in piece.events])
        except CustomerError as error:
            self._refuse(pieces, error)
        else:
            for piece in pieces:
                if not piece.answer.done():
                    piece.answer.set_result(number)
        finally:
            self._release(pieces)

    def _enqueue(self, events: list[bytes], size_bytes: int) -> asyncio.Future[int]:
        piece = _Piece(events, size_bytes)
        self._waiting.append(piece)
        self._events += len(events)
        self._bytes += size_bytes
        self._news.set()
        return piece.answer

    def _take(self) -> list[_Piece]:
        """As much of what waits as a message holds; not what nobody waits for any more."""
        taken: list[_Piece] = []
        events = size_bytes = 0
        while self._waiting:
            piece = self._waiting[0]
            if taken and (events + len(piece.events) > MESSAGE_EVENTS or size_bytes + piece.size_bytes > MESSAGE_BYTES):
                break
            self._waiting.popleft()
            if piece.answer.cancelled():
                self._release([piece])
                continue
            taken.append(piece)
            events += len(piece.events)
            size_bytes += piece.size_bytes
        return taken

    def _refuse(self, pieces: list[_Piece], error: CustomerError) -> None:
        """What waits behind would wait as long for the same broker; its callers may try again sooner."""
        behind = list(self._waiting)
        self._waiting.clear()
        self._release(behind)
        for piece in (*pieces, *behind):
            if not piece.answer.done():
                piece.answer.set_exception(error)

    def _release(self, pieces: list[_Piece]) -> None:
        self._events -= sum(len(piece.events) for piece in pieces)
        self._bytes -= sum(piece.size_bytes for piece in pieces)


def _fits(events: list[bytes], size_bytes: int) -> bool:
    return len(events) <= MESSAGE_EVENTS and size_bytes <= MESSAGE_BYTES


def _split(events: list[bytes]) -> list[list[bytes]]:
    """Parts that each fit a message, in order."""
    parts: list[list[bytes]] = [[]]
    room = MESSAGE_BYTES
    for event in events:
        if parts[-1] and (len(event) > room or len(parts[-1]) == MESSAGE_EVENTS):
            parts.append([])
            room = MESSAGE_BYTES
        parts[-1].append(event)
        room -= len(event)
    return parts
