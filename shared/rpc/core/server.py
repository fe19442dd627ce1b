"""A gRPC server on the event loop."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # no stubs

from shared.rpc.core.call import Call, Quick, settle
from shared.rpc.core.completions import Completions
from shared.telemetry import logger

AWAITED_AT_ONCE = 100  # calls that the core may hand over before one of them is looked at
MOST_CALLS = 10_000  # of one method whose handlers run, streams that last above all; other methods are answered all the same
TELL_S = 0.5  # in which those whose calls didn't end in time are told to ask again
END_S = 1.0  # that cancelled handlers have at least to end

log = logger("rpc")


class CoreServer:
    """Takes the handlers that generated code registers. Needs a running loop."""

    def __init__(self, options: Sequence[tuple[str, Any]], most_calls: int = MOST_CALLS) -> None:
        self._completions = Completions()
        self._loop = asyncio.get_running_loop()
        self._server = cygrpc.Server(tuple(options), False)
        self._server.register_completion_queue(self._completions.queue)
        self._handlers: dict[str, Any] = {}
        self._quick: dict[str, Quick] = {}
        self._calls: set[Call] = set()
        self._most_calls = most_calls
        self._running: Counter[str] = Counter()
        self._awaited = 0
        self._started = False
        self._stopping = False
        self._idle = asyncio.Event()  # no call is left; of use once it stops
        self._stopped = asyncio.Event()

    def add_insecure_port(self, address: str) -> int:
        """Raises RuntimeError when it can't be had."""
        return _bound(address, self._server.add_http2_port(address.encode()))

    def add_secure_port(self, address: str, credentials: grpc.ServerCredentials) -> int:
        """Raises RuntimeError when it can't be had."""
        return _bound(address, self._server.add_http2_port(address.encode(), credentials._credentials))  # type: ignore[attr-defined]

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """What generated code says twice is heard once, below."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        self._handlers |= {f"/{service}/{name}": handler for name, handler in handlers.items()}

    def add_quick(self, method: str, quick: Quick) -> None:
        """Of a method of one request and one response that has a handler too."""
        self._quick[method] = quick

    async def start(self) -> None:
        self._server.start()
        self._started = True
        self._await_calls()
        self._completions.start()

    async def stop(self, grace_s: float) -> None:
        """No call is begun any more; those that are under way have that long to end. May be called twice, and before it is started."""
        if not self._started:
            return
        if self._stopping:
            await self._stopped.wait()
            return
        self._stopping = True
        try:
            await self._stop(grace_s)
        finally:
            self._stopped.set()

    async def _stop(self, grace_s: float) -> None:
        left: asyncio.Future[None] = self._loop.create_future()
        self._server.shutdown(self._completions.queue, lambda _event: settle(left, None))
        if not await _within(grace_s, left):
            for call in tuple(self._calls):
                call.give_up()
            if not await _within(TELL_S, left):
                self._server.cancel_all_calls()
        for call in tuple(self._calls):
            call.cancel()
        try:
            await asyncio.wait_for(self._end(left), max(grace_s, END_S))
        except TimeoutError:
            methods = sorted({call.method for call in self._calls})
            log.error(
                "left behind: handlers that go on although they were cancelled, or who reads nothing of what is sent",
                methods=methods,
            )
            return
        self._server.destroy()
        await self._completions.stop()

    async def _end(self, left: asyncio.Future[None]) -> None:
        """Until the core may be given up: once callers are gone, and no handler is left that would still use it."""
        await asyncio.shield(left)
        while self._calls:
            self._idle.clear()
            await self._idle.wait()

    def _await_calls(self) -> None:
        while not self._stopping and self._awaited < AWAITED_AT_ONCE:
            self._awaited += 1
            self._server.request_call(self._completions.queue, self._completions.queue, self._begun)

    def _begun(self, event: Any) -> None:
        self._awaited -= 1
        if not event.success:  # the server stops
            return
        call = Call(event, self._loop, self._forget)
        self._calls.add(call)
        self._await_calls()
        if (handler := self._handlers.get(call.method)) is None:
            call.end(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        elif handler.request_streaming:
            self._run(call, handler, None)
        else:
            call.read_one(lambda request: self._asked(call, handler, request))

    def _asked(self, call: Call, handler: Any, request: bytes | None) -> None:
        if request is None:  # it is too large, and the core has refused it; or the caller is gone
            call.end(grpc.StatusCode.CANCELLED)
        else:
            self._run(call, handler, request)

    def _run(self, call: Call, handler: Any, request: bytes | None) -> None:
        if self._running[call.method] >= self._most_calls:
            call.end(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many calls of this method are under way; try again later")
        else:
            self._running[call.method] += 1
            call.run(handler, request, self._quick.get(call.method))

    def _forget(self, call: Call) -> None:
        self._calls.discard(call)
        if call.runs:
            self._running[call.method] -= 1
        self._await_calls()
        if not self._calls:
            self._idle.set()


async def _within(seconds: float, happens: asyncio.Future[None]) -> bool:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(happens), seconds)
    return happens.done()


def _bound(address: str, port: int) -> int:
    if port == 0:
        raise RuntimeError(f"can't listen at {address}")
    return port
