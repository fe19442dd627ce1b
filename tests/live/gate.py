"""A door before the door: passes requests on to ingest, and can hold one, before or after ingest saw it, so that a test can end
the sender at exactly that moment."""

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

HOLD_AT_MOST_S = 60.0


class Gate:
    """Holds all requests from the `hold_from`th on until `open`. `refuse` says how many get 429 first."""

    def __init__(self, url: str, hold_from: int = 10**9, after_ingest: bool = False, refuse: int = 0) -> None:
        self._target = urlsplit(url)
        self._hold_from = hold_from
        self._after_ingest = after_ingest
        self._refuse = refuse
        self._count = 0
        self._lock = threading.Lock()
        self._opened = threading.Event()
        self.held = threading.Event()
        self.refused = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.open()
        self._server.shutdown()
        self._server.server_close()

    def open(self) -> None:
        self._opened.set()

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        with self._lock:
            self._count += 1
            number = self._count
            if self.refused < self._refuse and number % 2 == 0:
                self.refused += 1
                return 429, {"retry-after": "0"}, b'{"success":false,"code":"OVERLOADED","message":"later"}'
        if number < self._hold_from:
            return self._forward(path, headers, body)
        if not self._after_ingest:
            self._hold()
            return self._forward(path, headers, body)
        answered = self._forward(path, headers, body)
        self._hold()
        return answered

    def _hold(self) -> None:
        self.held.set()
        self._opened.wait(HOLD_AT_MOST_S)

    def _forward(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self._target.hostname or "", self._target.port, timeout=30)
        try:
            connection.request("POST", path, body, headers)
            response = connection.getresponse()
            return response.status, {"content-type": "application/json"}, response.read()
        finally:
            connection.close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        gate = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                kept = {name: self.headers[name] for name in ("authorization", "content-type")}
                status, headers, content = gate.answer(self.path, kept, body)
                try:
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("content-length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                except OSError:  # its sender was killed
                    self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        return Handler
