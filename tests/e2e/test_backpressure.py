"""When what is behind the door lags, callers are told early; everything that was answered 200 is applied later."""

import os
import signal
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import httpx
import pytest

from services.stack.stack import Stack
from tests.e2e.client import DEADLINE_S, Platform, by_identifier

LIMIT_EVENTS = 3_000
BATCH = 100
POLL_S = 0.05
SENDERS = 8  # at a time
BROKER_AWAY = 'c360_door_unavailable_total{door="http",reason="BROKER_DOWN"}'


class Sender:
    def __init__(self, stack: Stack, platform: Platform) -> None:
        self.user_id = f"u-{uuid.uuid4().hex[:8]}"
        self.write_key = platform.register_source(f"pressed-{self.user_id}")
        self.taken: list[str] = []
        self._http = httpx.Client(base_url=stack.endpoints.ingest_http, auth=(self.write_key, ""), timeout=DEADLINE_S)

    def new_batch(self) -> list[dict[str, str]]:
        names = [str(uuid.uuid4()) for _ in range(BATCH)]
        return [{"type": "track", "event": name, "userId": self.user_id, "messageId": name} for name in names]

    def post(self, batch: list[dict[str, str]]) -> httpx.Response:
        return self._http.post("/v1/batch", json={"batch": batch})

    def send(self) -> httpx.Response:
        batch = self.new_batch()
        answer = self.post(batch)
        if answer.status_code == 200:
            self.taken += [event["event"] for event in batch]
        return answer

    def until(self, status: int, batch: list[dict[str, str]] | None = None) -> httpx.Response:
        """With new events each time, unless there is a batch."""
        give_up_at = time.monotonic() + DEADLINE_S
        while (answer := self.post(batch) if batch else self.send()).status_code != status:
            assert time.monotonic() < give_up_at, answer.text
            if answer.status_code != 200:
                time.sleep(POLL_S)
        return answer

    def close(self) -> None:
        self._http.close()


@pytest.fixture
def platform(own_stack: Stack) -> Iterator[Platform]:
    with Platform(own_stack.endpoints) as platform:
        yield platform


def metric(stack: Stack, service: str, name: str, otherwise: float | None = None) -> float:
    lines = httpx.get(stack.endpoints.metrics[service]).text.splitlines()
    found = [float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)]
    return found[0] if found or otherwise is None else otherwise


def test_while_identity_stands_still_callers_get_429_and_nothing_that_was_taken_is_lost(
    own_stack: Stack, platform: Platform
) -> None:
    own_stack.kill("ingest", C360_BACKLOG_EVENTS=str(LIMIT_EVENTS))
    own_stack.wait_ready("ingest")
    sender = Sender(own_stack, platform)
    pid = own_stack.pid("identity")
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        refused = sender.until(429)
        assert (refused.json()["code"], int(refused.headers["retry-after"]) > 0) == ("OVERLOADED", True)
        assert LIMIT_EVENTS - BATCH < len(sender.taken) <= LIMIT_EVENTS
        assert metric(own_stack, "ingest", "c360_backlog_events") == len(sender.taken)
        assert metric(own_stack, "ingest", "c360_backlog_seconds") > 0
    finally:
        os.kill(pid, signal.SIGCONT)
    sender.until(200)
    newest = platform.newest_position(sender.write_key)
    timeline = platform.get_timeline(by_identifier("user_id", sender.user_id), "audit", newest, kinds=("tracked",))
    assert Counter(entry.name for entry in timeline) == Counter(sender.taken)
    assert metric(own_stack, "identity", 'c360_lag_messages{stream="INGEST"}') == 0
    sender.close()


def test_while_the_broker_hangs_every_caller_hears_of_it_and_what_is_sent_again_counts_once(stack: Stack) -> None:
    """A caller whose answer doesn't come within its deadline would fail here, whatever the broker does later."""
    with Platform(stack.endpoints) as platform, closing(Sender(stack, platform)) as sender, ThreadPoolExecutor(SENDERS) as threads:
        batches = [sender.new_batch() for _ in range(3 * SENDERS)]
        pid = stack.pid("nats")
        assert pid is not None
        assert sender.post(batches[0]).status_code == 200
        before = metric(stack, "ingest", BROKER_AWAY, 0)
        os.kill(pid, signal.SIGSTOP)
        try:
            refused = list(threads.map(sender.post, batches[1:]))
        finally:
            os.kill(pid, signal.SIGCONT)
        assert {(answer.status_code, answer.json()["code"]) for answer in refused} == {(429, "BROKER_DOWN")}
        assert all(int(answer.headers["retry-after"]) > 0 for answer in refused)
        assert metric(stack, "ingest", BROKER_AWAY) - before == len(refused)  # which its status doesn't tell from a limit
        for batch in batches:
            sender.until(200, batch)  # some of it may have arrived, in spite of its answer
        newest = platform.newest_position(sender.write_key)
        timeline = platform.get_timeline(by_identifier("user_id", sender.user_id), "audit", newest, kinds=("tracked",))
        assert Counter(entry.name for entry in timeline) == Counter(event["event"] for batch in batches for event in batch)


def test_what_stands_too_long_closes_the_door_and_a_restart_of_ingest_forgets_nothing_of_it(
    own_stack: Stack, platform: Platform
) -> None:
    sender = Sender(own_stack, platform)
    pid = own_stack.pid("identity")
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        assert sender.send().status_code == 200
        own_stack.kill("ingest", C360_BACKLOG_AGE_S="1")
        own_stack.wait_ready("ingest")
        assert sender.until(429).json()["code"] == "OVERLOADED"
    finally:
        os.kill(pid, signal.SIGCONT)
    sender.until(200)
    sender.close()
