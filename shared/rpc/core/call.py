"""One call: what a handler is given as its context, with as much of grpc.aio's as handlers here use."""

import asyncio
import contextlib
import contextvars
import inspect
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final

import grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # no stubs

from shared.telemetry import logger

PLAIN: Final = 0  # flags of an operation
DRAIN_S: Final = 0.1
NEVER_S: Final = 1e11  # the core's deadline of callers that set none is far behind it

Metadata = Sequence[tuple[str, str | bytes]]

log = logger("rpc")


class Refused(Exception):
    """The handler ends the call with a status that isn't OK."""

    def __init__(self, code: grpc.StatusCode, details: str, metadata: Metadata | None) -> None:
        super().__init__(code.name)
        self.code = code
        self.details = details
        self.metadata = metadata


class Call:
    """`forget` is told once nothing of it is under way any more; `encode` makes bytes of what a handler writes."""

    __slots__ = (
        "_coming",
        "_context",
        "_core",
        "_details",
        "_encode",
        "_forget",
        "_given_up",
        "_gone",
        "_left",
        "_loop",
        "_metadata",
        "_task",
        "_told",
        "method",
        "runs",
    )

    def __init__(self, event: Any, loop: asyncio.AbstractEventLoop, forget: Callable[["Call"], None]) -> None:
        self.method: str = event.call_details.method.decode(errors="replace")
        self.runs = False  # its handler was begun
        self._core = event.call
        self._details = event.call_details
        self._metadata: Metadata = event.invocation_metadata
        self._context = contextvars.copy_context()
        self._loop = loop
        self._forget = forget
        self._encode: Callable[[Any], bytes] | None = None
        self._task: asyncio.Task[None] | None = None
        self._coming: asyncio.Future[bytes | None] | None = None
        self._told = False  # its initial metadata
        self._given_up = False  # the server stops, and waits for it no longer
        self._gone = False  # whoever called, or the server, which stops
        self._left = 2  # to come: that the caller has it all, or is gone; and that its status is sent
        self._start(cygrpc.ReceiveCloseOnServerOperation(PLAIN), tag=self._closed)

    def invocation_metadata(self) -> Metadata:
        return self._metadata

    def time_remaining(self) -> float | None:
        """Seconds; None if the caller set no deadline."""
        deadline: float = self._details.deadline
        return None if deadline > NEVER_S else max(0.0, deadline - time.time())

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        return {name.decode(): values for name, values in (cygrpc.auth_context(self._core) or {}).items()}

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata | None = None) -> None:
        raise Refused(code, details, trailing_metadata)

    async def abort_with_status(self, status: grpc.Status) -> None:
        raise Refused(status.code, status.details, status.trailing_metadata)

    async def write(self, response: Any) -> None:
        """Until there is room for the next. Raises CancelledError when the caller is gone."""
        sent: asyncio.Future[bool] = self._loop.create_future()
        message = response if self._encode is None else self._encode(response)
        self._send(cygrpc.SendMessageOperation(message, PLAIN), tag=lambda event: settle(sent, event.success))
        if not await sent:
            raise asyncio.CancelledError

    async def requests(self, decode: Callable[[bytes], Any] | None) -> AsyncIterator[Any]:
        """Of a stream of them, each when it is asked for."""
        while (request := await self._read()) is not None:
            yield request if decode is None else decode(request)

    async def _read(self) -> bytes | None:
        if self._coming is None or self._coming.done():  # else somebody gave up waiting for it
            come = self._coming = self._loop.create_future()
            self.read_one(lambda request: settle(come, request))
        return await asyncio.shield(self._coming)

    async def _drain(self) -> None:
        """What a caller is still sending: grpc.aio's client, if that fails, tells so instead of why the call was refused."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                while await self._read() is not None:
                    pass

    def read_one(self, then: Callable[[bytes | None], None]) -> None:
        """None: the caller has no more, or is gone."""
        self._start(cygrpc.ReceiveMessageOperation(PLAIN), tag=lambda event: then(event.batch_operations[0].message()))

    def run(self, handler: Any, request: bytes | None, quick: "Quick | None" = None) -> None:
        """`request` is None where the handler reads a stream of them."""
        self.runs = True
        try:
            taken = quick is not None and not self._gone and self._context.run(quick, request, self)
        except Exception as error:
            self._fail(error)
            return
        if not taken:
            self.handle(handler, request)

    def handle(self, handler: Any, request: bytes | None) -> None:
        """In a task, which is cancelled when the caller is gone."""
        if self._gone:  # before there was anything to cancel
            self._end_cancelled()
            return
        self._encode = handler.response_serializer
        self._task = self._loop.create_task(self._run(handler, request), context=self._context)
        self._task.add_done_callback(self._ran)

    async def _run(self, handler: Any, request: bytes | None) -> None:
        try:
            response = await self._answered(handler, request)
        except Refused as refused:
            if request is None:
                await self._drain()
            return self.end(refused.code, refused.details, refused.metadata)
        except Exception as error:
            return self._fail(error)
        return self.end(grpc.StatusCode.OK, message=response)

    async def _answered(self, handler: Any, request: bytes | None) -> bytes | None:
        """The only response; None where what there was is written."""
        decode, encode = handler.request_deserializer, handler.response_serializer
        asked = self.requests(decode) if request is None else request if decode is None else decode(request)
        if handler.unary_unary:
            response = await handler.unary_unary(asked, self)
            return response if encode is None else encode(response)  # type: ignore[no-any-return]
        answers = (handler.stream_stream or handler.unary_stream)(asked, self)
        if not inspect.isasyncgen(answers):
            return await answers  # type: ignore[no-any-return]  # it writes, and answers nothing besides
        async with contextlib.aclosing(answers):
            async for answer in answers:
                await self.write(answer)
        return None

    def _ran(self, task: asyncio.Task[None]) -> None:
        """Whoever is gone may be so before the task has begun; and an answer may be none that the core sends."""
        if task.cancelled():
            self._end_cancelled()
        elif (error := task.exception()) is not None:
            self._fail(error)

    def _end_cancelled(self) -> None:
        if self._given_up or not self._gone:  # by nobody who called: the loop ends, with the service
            self.end(grpc.StatusCode.UNAVAILABLE, "the service stops; ask again")
        else:
            self.end(grpc.StatusCode.CANCELLED)

    def _fail(self, error: BaseException) -> None:
        log.error("unforeseen error", method=self.method, exc_info=error)
        self.end(grpc.StatusCode.UNKNOWN, "unforeseen error")

    def end(self, code: grpc.StatusCode, details: str = "", metadata: Metadata | None = None, message: bytes | None = None) -> None:
        status = cygrpc.SendStatusFromServerOperation(metadata, code.value[0], details.encode(errors="replace"), PLAIN)
        messages = () if message is None else (cygrpc.SendMessageOperation(message, PLAIN),)
        self._send(*messages, status, tag=self._over)

    def _send(self, *operations: Any, tag: Callable[[Any], None]) -> None:
        head = () if self._told else (cygrpc.SendInitialMetadataOperation(None, PLAIN),)
        self._start(*head, *operations, tag=tag)
        self._told = True

    def _start(self, *operations: Any, tag: Callable[[Any], None]) -> None:
        """Raises CancelledError when the call is over: the core may be given up, and would end the process."""
        if not self._left:
            raise asyncio.CancelledError
        if self._core.start_server_batch(operations, tag) != cygrpc.CallError.ok:
            raise RuntimeError("the core takes no more of the same before it is done")  # and never calls the tag

    def _closed(self, event: Any) -> None:
        if event.batch_operations[0].cancelled():
            self.cancel()
        self._over(event)

    def cancel(self) -> None:
        """Once: a second time would cut short what the handler does at its end."""
        if self._task is not None and not self._gone:
            self._task.cancel()
        self._gone = True

    def give_up(self) -> None:
        """The server stops: whoever called is told to ask again, as soon as the handler has ended."""
        self._given_up = True
        self.cancel()

    def _over(self, _event: Any) -> None:
        self._left -= 1
        if not self._left:
            self._forget(self)


# Answers a call without a task of its own, by `end` or `handle`, at once or later; False: its handler is to be run. What it tells
# whoever is gone already goes nowhere.
Quick = Callable[[Any, Call], bool]


def settle(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)
