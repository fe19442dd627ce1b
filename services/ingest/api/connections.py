"""Connections that take no more than their share. uvicorn bounds neither how long a request takes to come in, nor the size
of its head, nor how long an answer waits to be read; and what it says about broken HTTP is no JSON.
"""

import asyncio
import re
import resource
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.ingest.api.answers import plain_refusal
from shared.telemetry import HTTP_REQUESTS

HEAD_S: Final = 10.0  # from a request's first byte to the end of its head; as long may a new connection be silent
REQUEST_S: Final = 60.0  # from a request's first byte to its last: the largest body at 70 KB/s
UNREAD_S: Final = 30.0  # an answer that the other end doesn't read
MAX_HEAD_BYTES: Final = 64 * 1024
MAX_CONNECTIONS: Final = 8_192
OFFER: Final = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)
FILES_KEPT: Final = 256  # of those the system lets us open: for the servers behind us, and our logs


class BoundedProtocol(HttpToolsProtocol):
    """Watches only what doesn't come in one piece, so that a usual request costs no timer."""

    head_s = HEAD_S
    request_s = REQUEST_S
    unread_s = UNREAD_S

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._arriving = False  # a request has begun and is not whole
        self._in_head = False
        self._head_bytes = 0
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
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._arriving and b"pgrade" in data:
            data = _without_upgrade(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(431, "HEAD_TOO_LARGE", "a request's head has at most 64 KB")
                return
        if not self._arriving and not self._is_idle():
            self._stop_watching()
        elif self._watch is None:
            self._watch_from_now()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._arriving = self._in_head = True
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._arriving = False

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "HTTP_BROKEN", "this is not HTTP as we know it")

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
            self.transport.write(plain_refusal(status, code, message))
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()
        self._give_time_to_read(True)

    def _is_of_current(self) -> bool:
        """The request whose body is coming in is the one that is being answered."""
        return not self._in_head and self.cycle.more_body and not self.cycle.response_started and not self.pipeline

    def _give_time_to_read(self, needed: bool) -> None:
        if self._unread is not None:
            self._unread.cancel()
        self._unread = self.loop.call_later(self.unread_s, self.transport.abort) if needed else None


def _without_upgrade(data: bytes) -> bytes:
    """Java's own client offers HTTP/2 with every first request. It may be ignored, but the parser would skip the body."""
    head, end, body = data.partition(b"\r\n\r\n")
    return OFFER.sub(b"", head) + end + body if end else data


def most_connections() -> int:
    return min(MAX_CONNECTIONS, max(1, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - FILES_KEPT))
