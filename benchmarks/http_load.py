"""A load generator that costs little: blocking sockets, bodies made beforehand, only the message ids differ.

    python -m benchmarks.http_load batches ADDRESS WRITE_KEY SECONDS   as many batches of 100 as the door takes
    python -m benchmarks.http_load singles ADDRESS WRITE_KEY SECONDS   300 requests/s of one event each, whatever the door does

Prints JSON: {"events", "seconds", "refused", "latencies_ms"}. A latency counts from when the request was due, not from when it was
sent, so that a door that stalls can't hide behind its own silence (coordinated omission).
"""

import base64
import itertools
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Self

BATCH_EVENTS = 100
BATCH_CONNECTIONS = 12
SINGLE_CONNECTIONS = 48
SINGLES_PER_S = 300
MARK = b"@" * 24  # becomes what makes message ids unique


class Connection:
    """Keeps alive; one request at a time."""

    def __init__(self, address: str, write_key: str) -> None:
        host, port = address.rsplit(":", 1)
        self._socket = socket.create_connection((host, int(port)))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        credentials = base64.b64encode(f"{write_key}:".encode()).decode()
        self._head = f"host: {address}\r\ncontent-type: application/json\r\nauthorization: Basic {credentials}\r\n".encode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def post(self, path: bytes, body: bytes) -> int:
        """The status."""
        head = b"POST " + path + b" HTTP/1.1\r\n" + self._head + b"content-length: %d\r\n\r\n" % len(body)
        self._socket.sendall(head + body)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._received()
        head, _, rest = answer.partition(b"\r\n\r\n")
        left = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n", 1)[0]) - len(rest)
        while left > 0:
            left -= len(self._received())
        return int(head.split(b" ", 2)[1])

    def _received(self) -> bytes:
        data = self._socket.recv(262_144)
        assert data, "the door hung up"
        return data


def event(number: int) -> dict[str, object]:
    """About 500 bytes, as a shop sends them: three orders, then what became known of the person."""
    call: dict[str, object] = {
        "messageId": f"{MARK.decode()}-{number:04d}",
        "userId": f"customer-{number * 7919 % 100_000}",
        "timestamp": "2026-03-03T12:00:00.123Z",
        "context": {"ip": "203.0.113.7", "locale": "de-DE", "library": {"name": "analytics-node", "version": "3.1.0"}},
        "integrations": {},
    }
    if number % 4 == 3:
        traits = {"first_name": "Ann", "Business type": "Retail trade", "Land": "Deutschland", "dob": "03.03.1990", "vip": True}
        return call | {"type": "identify", "traits": traits | {"email": f"customer{number}@example.com"}}
    lines = [{"sku": f"sku-{line}", "quantity": line, "price": 9.9 * line} for line in range(1, 4)]
    return call | {
        "type": "track",
        "event": "Order Completed",
        "properties": {"order_id": "o-1", "total": 59.4, "currency": "EUR", "lines": lines},
    }


def batch() -> bytes:
    return json.dumps({"batch": [event(number) for number in range(BATCH_EVENTS)]}).encode()


class Load:
    def __init__(self, address: str, write_key: str) -> None:
        self._connect: Callable[[], Connection] = lambda: Connection(address, write_key)
        self._marks: Iterator[int] = itertools.count()
        self._run = os.urandom(6).hex()
        self.events = self.refused = 0
        self.latencies_ms: list[float] = []

    def batches(self, until: float) -> None:
        connection, body = self._connect(), batch()
        while time.perf_counter() < until:
            self._post(connection, b"/v1/batch", body, BATCH_EVENTS)

    def singles(self, first: int, began: float, until: float) -> None:
        connection, body = self._connect(), json.dumps(event(0)).encode()
        for number in itertools.count(first, SINGLE_CONNECTIONS):
            due = began + number / SINGLES_PER_S
            if due > until:
                return
            time.sleep(max(0.0, due - time.perf_counter()))
            self._post(connection, b"/v1/track", body, 1)
            self.latencies_ms.append(1_000 * (time.perf_counter() - due))

    def _post(self, connection: Connection, path: bytes, body: bytes, events: int) -> None:
        mark = f"{self._run}{next(self._marks):012d}".encode()
        if connection.post(path, body.replace(MARK, mark)) == 200:
            self.events += events
        else:
            self.refused += 1
            time.sleep(0.05)


def main(kind: str, address: str, write_key: str, seconds: float) -> None:
    load, began = Load(address, write_key), time.perf_counter()
    until = began + seconds
    if kind == "batches":
        work = [threading.Thread(target=load.batches, args=[until]) for _ in range(BATCH_CONNECTIONS)]
    else:
        work = [threading.Thread(target=load.singles, args=[number, began, until]) for number in range(SINGLE_CONNECTIONS)]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    took = time.perf_counter() - began
    print(json.dumps({"events": load.events, "seconds": took, "refused": load.refused, "latencies_ms": load.latencies_ms}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4]))
