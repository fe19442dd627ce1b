"""A collector of traces, as far as OTLP over HTTP asks for: it keeps every span that comes."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from services.stack.ports import HOST


class Collector:
    def __init__(self, url: str, requests: list[bytes]) -> None:
        self.url = url
        self._requests = requests

    def spans(self) -> list[tuple[str, Any]]:
        """(service, span), in the order in which they came."""
        return [
            (_service(resource), span)
            for request in list(self._requests)
            for resource in ExportTraceServiceRequest.FromString(request).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def of(self, trace_id: str) -> list[tuple[str, Any]]:
        return [(service, span) for service, span in self.spans() if span.trace_id.hex() == trace_id]

    def all_bytes(self) -> bytes:
        return b"".join(self._requests)


def _service(resource: Any) -> str:
    return next(str(one.value.string_value) for one in resource.resource.attributes if one.key == "service.name")


@contextmanager
def collecting() -> Iterator[Collector]:
    requests: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.path == "/v1/traces"
            requests.append(gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer((HOST, 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield Collector(f"http://{HOST}:{server.server_port}", requests)
    finally:
        server.shutdown()
        server.server_close()
