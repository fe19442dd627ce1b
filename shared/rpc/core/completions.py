"""What has come to pass in grpcio's core, told on the event loop."""

import asyncio
import threading
from typing import Any

from grpc._cython import cygrpc  # type: ignore[attr-defined]  # no stubs

from shared.telemetry import logger

AT_ONCE = 100  # events, after which others on the loop have their turn
AT_END = cygrpc.CompletionType.queue_shutdown
NOTHING_YET = cygrpc.CompletionType.queue_timeout

log = logger("rpc")


class Completions:
    """A completion queue. The tag of each operation is a function, which is called on the loop with its event.

    A thread waits for the first event of a burst alone; the loop takes the others itself. So two threads hand over once a burst,
    where most of the cost of grpc.aio's queue is that they do so at each event.
    """

    def __init__(self) -> None:
        self.queue = cygrpc.CompletionQueue()
        self._loop = asyncio.get_running_loop()
        self._next: Any = None
        self._turn = threading.Lock()  # open when it is the thread's
        self._turn.acquire()
        self._ended = asyncio.Event()
        self._over = False

    def start(self) -> None:
        threading.Thread(target=self._wait, name="grpc-completions", daemon=True).start()

    async def stop(self) -> None:
        """Nothing may be under way any more."""
        self.queue.shutdown()
        await self._ended.wait()

    def _wait(self) -> None:
        """The thread."""
        while not self._over:
            self._next = self.queue.poll()
            try:
                self._loop.call_soon_threadsafe(self._take)
            except RuntimeError:  # the loop was closed, and nobody stopped the server
                return
            self._turn.acquire()

    def _take(self) -> None:
        event, self._next = self._next, None
        for _ in range(AT_ONCE):
            if event.completion_type == NOTHING_YET:
                self._turn.release()
                return
            if event.completion_type == AT_END:
                self._over = True
                self._ended.set()
                self._turn.release()
                return
            self._tell(event)
            event = None  # an event that is held holds its call, which the core may be about to end
            event = self.queue.poll(0)
        self._next = event
        self._loop.call_soon(self._take)

    def _tell(self, event: Any) -> None:
        try:
            event.tag(event)
        except Exception as error:  # of a call; the others go on
            log.error("unforeseen error", method="grpc", exc_info=error)
