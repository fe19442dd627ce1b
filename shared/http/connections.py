"""Connections that take no more than their share. uvicorn bounds neither how long a request takes to come in, nor the size
of its head, nor how long an answer waits to be read; and what it says about broken HTTP is no JSON.

A door gives its own form to what is refused before any handler sees it.
"""

import asyncio
import resource
import uuid
from http import HTTPStatus
from typing import Any, ClassVar, Final

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shared.telemetry import HTTP_REQUESTS

HEAD_S: Final = 10.0  # from a request's first byte to the end of its head; as long may a new connection be silent
REQUEST_S: Final = 60.0  # from a request's first byte to its last: the largest body at 70 KB/s
UNREAD_S: Final = 30.0  # an answer that the other end doesn't read
MAX_HEAD_BYTES: Final = 16 * 1024
MAX_HEADERS: Final = 100
MAX_HEADS_BYTES: Final = 32 * 1024 * 1024  # of all heads that are coming in
MAX_CONNECTIONS: Final = 8_192
FILES_KEPT: Final = 256  # of those the system lets us open: for the servers behind us, and our logs
RETRY_AFTER_S: Final = 1


class HeadTooLargeError(Exception):
    """Ends the parsing of a head."""


class Heads:
    """How many bytes of heads are coming in, on all connections."""

    def __init__(self) -> None:
        self.size_bytes = 0


class BoundedProtocol(HttpToolsProtocol):
    """Watches only what doesn't come in one piece, so that a usual request costs no timer."""

    head_s = HEAD_S
    request_s = REQUEST_S
    unread_s = UNREAD_S
    heads: ClassVar = Heads()

    @staticmethod
    def refusal(status: int, reason: str, message: str, request_id: str) -> dict[str, Any]:
        """What the body of a refusal says, in the form that this door's callers know."""
        raise NotImplementedError

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.parser: Any = DeafParser(self)
        self._offered = False  # another protocol, with the request whose head is being read
        self._arriving = False  # a request has begun and is not whole
        self._in_head = False
        self._head_bytes = 0  # that came since its beginning
        self._fields_bytes = 0  # of those, in whole lines
        self._counted_bytes = 0  # among those of all heads
        self._began = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > most_connections():
            self._refuse(429, "OVERLOADED", "too many connections at a time; send again later")
        else:
            self._watch_from_now()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watching()
        self._give_time_to_read(False)
        self._count_head(0)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse_head()
                return
            self._count_head(self._head_bytes)
            if self.heads.size_bytes > MAX_HEADS_BYTES:
                self._refuse(429, "OVERLOADED", "too many requests at a time; send again later")
                return
        if not self._arriving and not self._is_idle():
            self._stop_watching()
        elif self._watch is None:
            self._watch_from_now()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._arriving = self._in_head = True
        self._offered = False
        self._head_bytes = self._fields_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._count_field(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_field(len(name) + len(value) + len(": \r\n"))
        if len(self.headers) >= MAX_HEADERS:
            raise HeadTooLargeError
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            self._offered = True
            return
        self._in_head = False
        self._count_head(0)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        if self._offered:
            return
        super().on_message_complete()
        self._arriving = False

    def head_without_offer(self) -> bytes:
        """Of the request that offered another protocol, as it came otherwise."""
        first = b"%s %s HTTP/%s\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        kept = [b"%s: %s\r\n" % (name, value) for name, value in self.headers if name != b"upgrade"]
        return first + b"".join(kept) + b"\r\n"

    def send_400_response(self, msg: str) -> None:
        if self._in_head and (len(self.headers) >= MAX_HEADERS or self._fields_bytes > MAX_HEAD_BYTES):
            self._refuse_head()
        else:
            self._refuse(400, "HTTP_BROKEN", "this is not HTTP as we know it")

    def _refuse_head(self) -> None:
        self._refuse(431, "HEAD_TOO_LARGE", "a request's head has at most 16 KB and 100 lines")

    def _count_field(self, size_bytes: int) -> None:
        """A head may come whole in one piece, which is larger than it may be."""
        self._fields_bytes += size_bytes
        if self._fields_bytes > MAX_HEAD_BYTES:
            raise HeadTooLargeError

    def _count_head(self, size_bytes: int) -> None:
        self.heads.size_bytes += size_bytes - self._counted_bytes
        self._counted_bytes = size_bytes

    def pause_writing(self) -> None:
        super().pause_writing()
        self._give_time_to_read(True)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._give_time_to_read(False)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():  # by us, after what is still in the buffer
            self._give_time_to_read(True)

    def timeout_keep_alive_handler(self) -> None:
        """An answer that nobody has read by now would hold up an orderly end."""
        self.transport.abort()

    def _is_idle(self) -> bool:
        """Bytes came that begin no request: empty lines."""
        return self.timeout_keep_alive_task is None and (self.cycle is None or self.cycle.response_complete)

    def _watch_from_now(self) -> None:
        self._began = self.loop.time()
        self._watch = self.loop.call_later(self.head_s, self._look)

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _look(self) -> None:
        late = self._in_head or not self._arriving or self.loop.time() - self._began >= self.request_s
        ours = self.flow.read_paused or (self._in_head and not self._has_answered())  # it is we who let it wait
        if ours or not late:
            self._watch = self.loop.call_later(self.head_s if late else self.request_s - self.head_s, self._look)
        elif self._arriving:
            self._refuse(408, "REQUEST_TOO_SLOW", "the request took too long to come in")
        else:
            self.transport.close()  # a browser that connected ahead expects no answer

    def _has_answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Ends the connection; with an answer, unless it could be taken for that to an earlier request."""
        HTTP_REQUESTS.labels("other", str(status)).inc()
        if self._has_answered() or self._is_of_current():
            self.transport.write(self._plain(status, code, message))
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()
        self._give_time_to_read(True)

    def _plain(self, status: int, reason: str, message: str) -> bytes:
        """The last answer on a connection, of a request that was never whole."""
        request_id = str(uuid.uuid4())
        body = msgspec.json.encode(self.refusal(status, reason, message, request_id))
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", "content-type: application/json", f"content-length: {len(body)}"]
        lines += ["connection: close", f"x-request-id: {request_id}", f"retry-after: {RETRY_AFTER_S}" if status == 429 else ""]
        return "\r\n".join(line for line in lines if line).encode() + b"\r\n\r\n" + body

    def _is_of_current(self) -> bool:
        """The request whose body is coming in is the one that is being answered."""
        return not self._in_head and self.cycle.more_body and not self.cycle.response_started and not self.pipeline

    def _give_time_to_read(self, needed: bool) -> None:
        if self._unread is not None:
            self._unread.cancel()
        self._unread = self.loop.call_later(self.unread_s, self.transport.abort) if needed else None


class DeafParser:
    """Java's own client offers HTTP/2 with every first request. The offer may be ignored, but httptools takes the end of such
    a head for the end of the request, and what follows for something else: here it reads the head again, without the offer."""

    def __init__(self, protocol: BoundedProtocol) -> None:
        self._protocol = protocol
        self._begin()

    def feed_data(self, data: bytes) -> None:
        """Raises httptools.HttpParserError."""
        while True:
            try:
                return self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                if self.get_method() == b"CONNECT":  # is nothing but an offer
                    raise httptools.HttpParserError from None
                data = self._protocol.head_without_offer() + data[offer.args[0] :]
                self._begin()

    def _begin(self) -> None:
        self._parser = httptools.HttpRequestParser(self._protocol)
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.get_method = self._parser.get_method
        self.get_http_version = self._parser.get_http_version
        self.should_keep_alive = self._parser.should_keep_alive
        self.should_upgrade = self._parser.should_upgrade


def most_connections() -> int:
    return min(MAX_CONNECTIONS, max(1, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - FILES_KEPT))
