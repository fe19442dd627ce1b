"""A gRPC server with health, reflection, metrics, the error mapping, and a shutdown that finishes what it began."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from shared import tracing
from shared.callers import Callers
from shared.errors import InvalidInput
from shared.health import ALIVE, LOOKUPS, READS, STANDS_BY
from shared.rpc import guarding
from shared.rpc.callers import count_miss
from shared.rpc.core.call import Call
from shared.rpc.core.server import CoreServer
from shared.rpc.door import Door, Method, method_of
from shared.rpc.errors import to_status
from shared.rpc.keepalive import OF_SERVERS
from shared.rpc.security import Security
from shared.rpc.standing import Standing
from shared.telemetry import RPC_SECONDS

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
MAX_METADATA_BYTES = 16 * 1024
# The default server cancels what comes in a burst; these bounds let 4,000 calls wait instead (docs/decisions).
MAX_WAITING_CALLS = 20_000
MOST_STREAMS = 4_096
DRAIN_S = 5.0
DEFAULT_DEADLINE_S = 5.0  # for callers that set none
WAITING_SHARE = 0.9
ANSWERING_S = 5.0  # that is left of a longer deadline, for the answer itself

OPTIONS = [
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.server.max_pending_requests", MAX_WAITING_CALLS),
    ("grpc.server.max_pending_requests_hard_limit", 2 * MAX_WAITING_CALLS),
    # Between a soft limit and a hard one the core refuses by chance (of tokens, say); here they are the same.
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.max_concurrent_streams", MOST_STREAMS),  # further ones of a connection wait with whoever calls
    ("grpc.so_reuseport", 0),
    *OF_SERVERS,
]


# With the answer, as it goes over the wire, once it may be sent; with nothing when it has to be made after all, or with why it isn't told.
Tell = Callable[[bytes | None, Exception | None], None]
# Of a request; False, and nothing is told, when its answer isn't ready.
FindReady = Callable[[bytes, Any, Tell], bool]


def seconds_left(context: Any) -> float:
    """That may be spent waiting, so that the caller still gets an answer with its reason before its deadline."""
    left = context.time_remaining()
    left = DEFAULT_DEADLINE_S if left is None else max(0.0, left)
    return max(left * WAITING_SHARE, left - ANSWERING_S)


class RpcServer:
    """`add` services, then `start`; `set_ready` once their state is loaded; `stop` drains."""

    def __init__(self, address: str, receive_bytes: int = MAX_MESSAGE_BYTES, security: Security | None = None) -> None:
        """`receive_bytes` is the most that a message to it may have. Health and the protos are told to everybody."""
        options = [*OPTIONS, ("grpc.max_receive_message_length", receive_bytes)]
        self._server = CoreServer(options)
        security = security or Security(Callers())
        if security.credentials:
            self.port = self._server.add_secure_port(address, security.credentials)
        else:
            self.port = self._server.add_insecure_port(address)
        self._door, self.callers = security.door, security.callers
        self._health = health_aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)  # type: ignore[arg-type]
        self._halted = False
        self._standing = Standing()
        self._names = [health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME]

    def add(
        self,
        register: Callable[[Any, Any], None],
        servicer: object,
        service_name: str,
        ready: Mapping[str, FindReady] | None = None,
    ) -> None:
        """`register` is the generated function; `ready` finds answers by the name of the method."""
        register(servicer, _Edge(self._server, ready or {}, self._door, self._standing))
        self._names.append(service_name)

    async def start(self) -> None:
        protos = reflection.aio.ReflectionServicer(self._names, pool=descriptor_pool.Default())
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(protos, self._server)  # type: ignore[no-untyped-call]
        await self.set_ready(False)
        await self._health.set(ALIVE, health_pb2.HealthCheckResponse.SERVING)
        await self._server.start()

    async def start_standing_by(self, until: Callable[[], Awaitable[object]], lookups: Collection[str] = ()) -> None:
        """As `start`; returns after `until` does. Calls are refused until then, but for `lookups`: methods by their full names."""
        self._standing.by, self._standing.lookups = True, lookups
        await self.start()
        await self._health.set(STANDS_BY, health_pb2.HealthCheckResponse.SERVING)
        await until()
        await self._health.set(STANDS_BY, health_pb2.HealthCheckResponse.NOT_SERVING)
        self._standing.by = False

    async def set_answering(self, *names: str) -> None:
        """That who stands by answers what it was started with, by names of health (`shared/health.py`)."""
        for name in names:
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def halt(self) -> None:
        """Not ready until the process is restarted: something behind this service waits for people. Calls are still answered."""
        self._halted = True
        await self.set_ready(False)

    async def set_ready(self, ready: bool) -> None:
        ready = ready and not self._halted
        status = health_pb2.HealthCheckResponse.SERVING if ready else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", LOOKUPS, READS, *self._names):
            await self._health.set(name, status)

    async def stop(self) -> None:
        await self._health.enter_graceful_shutdown()
        await self._server.stop(DRAIN_S)


class _Edge:
    """Stands before the server while a service registers: times every call and maps what it raises; handlers only raise."""

    def __init__(self, server: Any, ready: Mapping[str, FindReady], door: Door | None, standing: Standing) -> None:
        self._server = server
        self._ready = ready
        self._door = door
        self._standing = standing

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """What the generated code says twice is heard once, below."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        wrapped = {name: self._wrapped(f"/{service}/{name}", handler, self._ready.get(name)) for name, handler in handlers.items()}
        self._server.add_registered_method_handlers(service, wrapped)

    def _wrapped(self, method: str, handler: Any, find: FindReady | None) -> Any:
        """Requests are read within: what can't be read is refused as all else is, and for a ready answer nothing is read."""
        read, write = handler.request_deserializer, handler.response_serializer
        if handler.unary_unary:
            if find is not None:
                self._server.add_quick(method, _Quick(find, self._door, method_of(method), handler, self._standing))
            answer = guarding.unary(handler.unary_unary, self._door, method_of(method))
            return grpc.unary_unary_rpc_method_handler(_unary(_reading(answer, read), method, self._standing), None, write)
        if handler.stream_stream:
            call = guarding.streams(handler.stream_stream, self._door, method_of(method))
            return grpc.stream_stream_rpc_method_handler(_stream(_reading_each(call, read), method, self._standing), None, write)
        assert handler.unary_stream, "no other shapes are served yet"
        call = guarding.stream(handler.unary_stream, self._door, method_of(method))
        return grpc.unary_stream_rpc_method_handler(_stream(_reading(call, read), method, self._standing), None, write)


def _reading(call: Callable[[Any, Any], Any], read: Callable[[bytes], Any] | None) -> Callable[[Any, Any], Any]:
    """`read` is None where the handler reads for itself."""
    if read is None:
        return call

    def parsed(request: bytes, context: Any) -> Any:
        return call(_read(read, request), context)

    return parsed


def _reading_each(call: Callable[[Any, Any], Any], read: Callable[[bytes], Any] | None) -> Callable[[Any, Any], Any]:
    """As `_reading`, of a stream of requests."""
    if read is None:
        return call

    async def parsed_each(requests: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for request in requests:
            yield _read(read, request)

    def parsed(requests: AsyncIterator[bytes], context: Any) -> Any:
        return call(parsed_each(requests), context)

    return parsed


def _read(read: Callable[[bytes], Any], request: bytes) -> Any:
    """Raises InvalidInput (REQUEST_UNREADABLE)."""
    try:
        return read(request)
    except DecodeError:
        raise InvalidInput("the request can't be parsed", reason="REQUEST_UNREADABLE") from None


class _Quick:
    """What is ready is answered without a task of its own, and goes by the edge only when it fails: those would be a seventh of its cost."""

    def __init__(self, find: FindReady, door: Door | None, method: Method, handler: Any, standing: Standing) -> None:
        self._find = find
        self._standing = standing
        self._door = door
        self._method = method
        self._read, self._write = handler.request_deserializer, handler.response_serializer
        self._anew = self._handler(_reading(handler.unary_unary, self._read))
        self._seconds = RPC_SECONDS.labels(method.name, "OK")

    def __call__(self, request: bytes, call: Call) -> bool:
        """False: whoever calls has to be looked at more closely, before anything else."""
        started, span = time.perf_counter(), tracing.begin_of(self._method.name, call.invocation_metadata())

        def tell(answer: bytes | None, error: Exception | None) -> None:
            if answer is not None:
                self._seconds.observe(time.perf_counter() - started)
                call.end(grpc.StatusCode.OK, message=answer)
                tracing.finish(span)
            else:  # a span of its own
                call.handle(self._anew if error is None else self._handler(_failing(error)), request)

        try:
            self._standing.check(self._method.name)
            if not self._let_in(request, call):
                return False
            if not self._find(request, call, tell):
                tell(None, None)
        except Exception as error:
            tell(None, error)
        return True

    def _let_in(self, request: bytes, call: Call) -> bool:
        """The request is read for the door alone. Raises what `Entered.ask` does."""
        if self._door is None:
            return True
        if (entered := self._door.at_once(call, self._method)) is None:
            return False
        entered.ask(self._method, _read(self._read, request))
        return True

    def _handler(self, answer: Callable[[Any, Any], Awaitable[Any]]) -> Any:
        return grpc.unary_unary_rpc_method_handler(_unary(answer, self._method.name, self._standing), None, self._write)


def _failing(error: Exception) -> Callable[[Any, Any], Awaitable[Any]]:
    async def fail(_request: Any, _context: Any) -> None:
        raise error

    return fail


def _unary(call: Callable[[Any, Any], Awaitable[Any]], method: str, standing: Standing) -> Callable[[Any, Any], Awaitable[Any]]:
    async def timed(request: Any, context: Any) -> Any:
        async with _edge_of(context, method):
            standing.check(method)
            with tracing.serving(tracing.begin_of(method, context.invocation_metadata())):
                return await call(request, context)

    return timed


def _stream(
    call: Callable[[Any, Any], AsyncGenerator[Any, None]], method: str, standing: Standing
) -> Callable[[Any, Any], Awaitable[None]]:
    """Writes what the handler yields, and closes it at once when the caller is gone: the server would leave that to the collector."""

    async def timed(request: Any, context: Any) -> None:
        async with _edge_of(context, method):
            standing.check(method)
            async with aclosing(call(request, context)) as responses:
                async for response in responses:
                    await context.write(response)

    return timed


@asynccontextmanager
async def _edge_of(context: Any, method: str) -> AsyncIterator[None]:
    """Times one call, and tells the caller what it raises."""
    started, code = time.perf_counter(), "OK"
    try:
        yield
    except asyncio.CancelledError:
        code = "CANCELLED"
        raise
    except Exception as error:
        count_miss(error)
        status = to_status(error, method)
        code = status.code.name
        await context.abort_with_status(status)
    finally:
        RPC_SECONDS.labels(method, code).observe(time.perf_counter() - started)
