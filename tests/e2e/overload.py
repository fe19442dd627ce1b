"""`make overload DURATION_S=30`: twice as many events as the door can take, and each one that was answered 200 is found in a profile.

What it takes is measured first, by senders that wait for their answers. Then batches leave on time whatever the door says; a
refusal has to be a 429 that says when to come again, and nothing is sent twice. Exits 0 only when nothing is lost or doubled.
"""

import base64
import http.client
import itertools
import json
import os
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

import grpc

from services.stack.console import Console
from services.stack.stack import Stack
from shared.ids import derived_id, to_text
from tests.e2e.client import Platform, by_identifier
from tests.e2e.tally import wait_visible

BATCH_EVENTS = 250
PEOPLE = 40
FEW, MANY = 4, 48  # connections
CAPACITY_S = 1.5
TIMEOUT_S = 30.0
BACKLOG_EVENTS = "20000"  # so that a short overload is one
PAUSE_S = 1.0


@dataclass
class Outcome:
    capacity: float = 0.0  # events/s
    offered: int = 0
    taken: dict[str, set[str]] = field(default_factory=dict)  # event ids by user id
    refused: int = 0  # events
    lost: int = 0
    doubled: int = 0

    @property
    def accepted(self) -> int:
        return sum(map(len, self.taken.values()))

    def __str__(self) -> str:
        counts = f"offered={self.offered} accepted={self.accepted} refused={self.refused}"
        return f"capacity={self.capacity:,.0f} events/s {counts} lost={self.lost} doubled={self.doubled}"


class Senders:
    """Batches of one person each, over connections that are kept."""

    def __init__(self, url: str, source: str, write_key: str) -> None:
        self._address = url.removeprefix("http://")
        self._source = source
        credentials = base64.b64encode(f"{write_key}:".encode()).decode()
        self._headers = {"authorization": f"Basic {credentials}", "content-type": "application/json"}
        self._numbers: Iterator[int] = itertools.count()
        self._run = uuid.uuid4().hex[:12]
        self._lock = threading.Lock()
        self.outcome = Outcome()
        self.failures: list[BaseException] = []

    def closed(self, seconds: float) -> float:
        """Events/s that are taken when everybody waits for the answer."""
        until, before = time.monotonic() + seconds, self.outcome.accepted

        def work(_: int) -> None:
            with closing(http.client.HTTPConnection(self._address, timeout=TIMEOUT_S)) as connection:
                while time.monotonic() < until:
                    self._send(connection)

        began = time.monotonic()
        self._together(FEW, work)
        return (self.outcome.accepted - before) / (time.monotonic() - began)

    def open(self, seconds: float, events_per_s: float) -> None:
        """Batch after batch at its time; a connection that still waits delays only its own."""
        began, batches_per_s = time.monotonic(), events_per_s / BATCH_EVENTS

        def work(first: int) -> None:
            with closing(http.client.HTTPConnection(self._address, timeout=TIMEOUT_S)) as connection:
                for number in range(first, int(seconds * batches_per_s), MANY):
                    time.sleep(max(0.0, began + number / batches_per_s - time.monotonic()))
                    self._send(connection)

        self._together(MANY, work)

    def _together(self, connections: int, work: Callable[[int], None]) -> None:
        def guarded(number: int) -> None:
            try:
                work(number)
            except BaseException as error:
                self.failures.append(error)

        threads = [threading.Thread(target=guarded, args=[number]) for number in range(connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.failures:
            raise self.failures[0]

    def _send(self, connection: http.client.HTTPConnection) -> None:
        number = next(self._numbers)
        user_id = f"{self._run}-{number % PEOPLE}"
        ids = [f"{self._run}-{number}-{place}" for place in range(BATCH_EVENTS)]
        batch = [{"type": "track", "event": "Offered", "userId": user_id, "messageId": message_id} for message_id in ids]
        connection.request("POST", "/v1/batch", json.dumps({"batch": batch}), self._headers)
        answer = connection.getresponse()
        body = json.loads(answer.read())
        with self._lock:
            self.outcome.offered += BATCH_EVENTS
            if answer.status == 200:
                assert [result["status"] for result in body["results"]] == ["accepted"] * BATCH_EVENTS, body
                self.outcome.taken.setdefault(user_id, set()).update(map(self._event_id, ids))
            else:
                assert (answer.status, body["code"]) == (429, "OVERLOADED"), body
                assert int(answer.headers["retry-after"]) >= 1
                self.outcome.refused += BATCH_EVENTS

    def _event_id(self, message_id: str) -> str:
        return to_text(derived_id(b"event", self._source.encode(), message_id.encode()))


def overload(stack: Stack, seconds: float) -> Outcome:
    """Of a stack of its own: its door is made to refuse early."""
    stack.kill("ingest", C360_BACKLOG_EVENTS=BACKLOG_EVENTS)
    stack.wait_ready("ingest")
    with Platform(stack.endpoints) as platform:
        source = f"overload-{uuid.uuid4().hex[:8]}"
        write_key = platform.register_source(source)
        senders = Senders(platform.url, source, write_key)
        senders.outcome.capacity = senders.closed(CAPACITY_S)
        senders.open(seconds, 2 * senders.outcome.capacity)
        _wait_taken(platform, write_key)
        for user_id, event_ids in senders.outcome.taken.items():
            seen = Counter(
                e.event_id for e in platform.get_timeline(by_identifier("user_id", user_id), "audit", kinds=("tracked",))
            )
            senders.outcome.lost += len(event_ids - seen.keys())
            senders.outcome.doubled += seen.total() - len(seen)
    return senders.outcome


def _wait_taken(platform: Platform, write_key: str) -> None:
    """While the backlog is full, the event that asks for the newest position is refused too."""
    give_up_at = time.monotonic() + 120
    while True:
        try:
            return wait_visible(platform, write_key)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED or time.monotonic() > give_up_at:
                raise
        time.sleep(PAUSE_S)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="c360-overload-") as directory, Stack(directory, console=Console(sys.stdout)) as stack:
        outcome = overload(stack, float(os.environ.get("DURATION_S") or 30))
    print(outcome)
    return 0 if outcome.lost == outcome.doubled == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
