"""A gRPC load generator that costs little beside what it measures: one request made beforehand, frames of HTTP/2 (RFC 9113) by hand.

    python -m benchmarks.grpc_load closed ADDRESS METHOD REQUEST_HEX SECONDS         as many calls as the server answers
    python -m benchmarks.grpc_load open   ADDRESS METHOD REQUEST_HEX SECONDS RATE    RATE calls/s, whatever the server does

Prints JSON: {"calls", "seconds", "failed", "latencies_ms"}. A latency counts from when the call was due, not from when it was sent
(coordinated omission). It speaks only as much of the protocol as an answer without flow control needs: its windows are as
large as they get, 2 GiB of answers a connection.
"""

import json
import selectors
import socket
import struct
import sys
import time
from collections import deque

CONNECTIONS = 4
CALLS_AT_ONCE = 16  # a connection, in the closed loop
RECEIVE_BYTES = 1 << 18
PATIENCE_S = 5.0  # for what is under way at the end
LARGEST_WINDOW = 2**31 - 1
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4
INITIAL_WINDOW_SIZE = 4
FRAME = struct.Struct(">BHBBI")  # length in two parts, type, flags, stream


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return FRAME.pack(len(payload) >> 16, len(payload) & 0xFFFF, kind, flags, stream) + payload


def literal(name: bytes, value: bytes) -> bytes:
    """A header field that no table keeps (RFC 7541, 6.2.2); both shorter than 127 bytes."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


PREFACE = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    + frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, LARGEST_WINDOW))
    + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", LARGEST_WINDOW - 65_535))
)


class Connection:
    """Calls under way by stream; `done` has (stream, whether it was answered, when it was due)."""

    def __init__(self, address: str, method: str, request: bytes) -> None:
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(PREFACE)
        fields = ((b":method", b"POST"), (b":scheme", b"http"), (b":path", method.encode()), (b":authority", address.encode()))
        more = ((b"content-type", b"application/grpc"), (b"te", b"trailers"))
        self._headers = b"".join(literal(*field) for field in (*fields, *more))
        self._message = b"\0" + len(request).to_bytes(4) + request
        self._next_stream = 1
        self._received = b""
        self._credit = 65_535  # bytes of requests that the server takes before it says more
        self._waiting: deque[float] = deque()
        self._answered: set[int] = set()
        self.under_way: dict[int, float] = {}

    def call(self, due: float) -> None:
        self._waiting.append(due)

    def send(self) -> None:
        """What waits, as far as the server takes it."""
        frames = []
        while self._waiting and self._credit >= len(self._message):
            stream, self._next_stream = self._next_stream, self._next_stream + 2
            self._credit -= len(self._message)
            self.under_way[stream] = self._waiting.popleft()
            frames.append(frame(HEADERS, END_HEADERS, stream, self._headers) + frame(DATA, END_STREAM, stream, self._message))
        if frames:
            self.socket.sendall(b"".join(frames))

    def receive(self) -> list[tuple[float, bool]]:
        """(due, whether it was answered with a message) of the calls that ended."""
        data = self.socket.recv(RECEIVE_BYTES)
        if not data:
            raise ConnectionError("the server hung up")
        data, at, ended = self._received + data, 0, []
        while len(data) - at >= FRAME.size:
            high, low, kind, flags, stream = FRAME.unpack_from(data, at)
            end = at + FRAME.size + (high << 16 | low)
            if end > len(data):
                break
            if kind == DATA:
                self._answered.add(stream)
            elif (kind == HEADERS and flags & END_STREAM) or kind == RST_STREAM:
                if (due := self.under_way.pop(stream, None)) is not None:  # a server may reset a stream that it has ended
                    ended.append((due, stream in self._answered))
                self._answered.discard(stream)
            elif kind not in (HEADERS, RST_STREAM):
                self._control(kind, flags, stream, data[at + FRAME.size : end])
            at = end
        self._received = data[at:]
        return ended

    def _control(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == GOAWAY:
            raise ConnectionError("the server sends us away")
        if kind == WINDOW_UPDATE and not stream:
            self._credit += int.from_bytes(payload)
        elif kind in (SETTINGS, PING) and not flags & ACK:
            self.socket.sendall(frame(kind, ACK, 0, payload if kind == PING else b""))


class Load:
    def __init__(self, address: str, method: str, request: bytes) -> None:
        self.connections = [Connection(address, method, request) for _ in range(CONNECTIONS)]
        self._selector = selectors.DefaultSelector()
        for connection in self.connections:
            self._selector.register(connection.socket, selectors.EVENT_READ, connection)
        self.failed = 0
        self.latencies_ms: list[float] = []

    def closed(self, seconds: float) -> None:
        began = time.perf_counter()
        for connection in self.connections:
            for _ in range(CALLS_AT_ONCE):
                connection.call(began)
            connection.send()
        while time.perf_counter() < began + seconds:
            for connection, ended in self._receive(PATIENCE_S):
                now = time.perf_counter()
                for _ in range(ended):
                    connection.call(now)
                connection.send()

    def open(self, seconds: float, rate: float) -> None:
        began, sent = time.perf_counter(), 0
        while (now := time.perf_counter()) < began + seconds or self._under_way():
            while sent < seconds * rate and began + sent / rate <= now:
                self.connections[sent % CONNECTIONS].call(began + sent / rate)
                sent += 1
            for connection in self.connections:
                connection.send()
            self._receive(max(0.0, began + sent / rate - time.perf_counter()) if sent < seconds * rate else PATIENCE_S)
            if now > began + seconds + PATIENCE_S:
                raise TimeoutError("calls are not answered")

    def _under_way(self) -> bool:
        return any(connection.under_way for connection in self.connections)

    def _receive(self, timeout_s: float) -> list[tuple[Connection, int]]:
        """Connections, and how many of their calls ended."""
        found = []
        for key, _ in self._selector.select(timeout_s):
            ended = key.data.receive()
            now = time.perf_counter()
            self.latencies_ms += [1_000 * (now - due) for due, _ in ended]
            self.failed += sum(not answered for _, answered in ended)
            found.append((key.data, len(ended)))
        return found


def main(kind: str, address: str, method: str, request: str, seconds: str, rate: str = "0") -> None:
    load, began = Load(address, method, bytes.fromhex(request)), time.perf_counter()
    if kind == "closed":
        load.closed(float(seconds))
    else:
        load.open(float(seconds), float(rate))
    took = time.perf_counter() - began
    shown = {"calls": len(load.latencies_ms), "seconds": took, "failed": load.failed, "latencies_ms": load.latencies_ms}
    print(json.dumps(shown))


if __name__ == "__main__":
    main(*sys.argv[1:])
