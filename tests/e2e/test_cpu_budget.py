"""What an event and a read may cost each process: CPU time, in times of what it costs meanwhile to decode an event's JSON.

A budget is about twice what was measured, so that no neighbour breaks it, and what doubles a cost does. `make bench ONLY=path`
tells what is spent.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks import sessions
from benchmarks.http_load import Connection
from benchmarks.loading import cpu_s
from services.stack.stack import Stack
from tests.e2e.client import Platform, by_identifier

WARM, BATCHES, SENDERS = 40, 100, 4
READS, READERS = 2_000, 4
EVENT_BUDGET = {"postgres": 30, "nats": 8, "ingest": 17, "identity": 38, "profile": 18, "consent": 4}
READ_BUDGET = {"profile": 290, "postgres": 120, "consent": 15}

Budget = Mapping[str, int]


class Meter:
    """`within` does work beside a calibration loop; what each process spent on one of `amount`, in decodings."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def within(self, work: Callable[[], None], amount: int) -> dict[str, float]:
        before, done = self._cpu_s(), threading.Event()
        with ThreadPoolExecutor(1) as beside:
            decoding = beside.submit(_decoding_s, done)
            work()
            done.set()
        return {name: (used - before[name]) / amount / decoding.result() for name, used in self._cpu_s().items()}

    def _cpu_s(self) -> dict[str, float]:
        return {name: cpu_s(self._stack.pid(name) or 0, with_children=True) for name in self._stack.names}


def _decoding_s(done: threading.Event) -> float:
    """CPU seconds of this thread for an event. It rests most of the time: it is to feel the load, not to be it."""
    body, spent, times = sessions.batch(0), 0.0, 0
    while not done.wait(0.02) or not times:
        began = time.thread_time()
        json.loads(body)
        spent, times = spent + time.thread_time() - began, times + 1
    return spent / (times * sessions.BATCH_EVENTS)


@pytest.fixture
def shop(own_stack: Stack) -> Iterator[tuple[Stack, Platform, str]]:
    with Platform(own_stack.endpoints) as platform:
        yield own_stack, platform, own_stack.write_key()


def over(spent: Mapping[str, float], budget: Budget) -> dict[str, str]:
    return {name: f"{spent[name]:.0f} of {most}" for name, most in budget.items() if spent[name] > most}


@pytest.mark.timeout(300)
def test_no_process_spends_more_than_its_budget_on_an_event_or_a_read(shop: tuple[Stack, Platform, str]) -> None:
    stack, platform, key = shop
    meter = Meter(stack)

    def send(first: int, amount: int) -> None:
        def some(sender: int) -> None:
            with Connection(stack.endpoints.ingest_http.removeprefix("http://"), key) as connection:
                for number in range(first + sender, first + amount, SENDERS):
                    assert connection.post(b"/v1/batch", sessions.batch(number)) == 200

        with ThreadPoolExecutor(SENDERS) as senders:
            list(senders.map(some, range(SENDERS)))
        platform.get_profile(people[0], "audit", platform.newest_position(key), timeout_s=200)

    def read() -> None:
        with ThreadPoolExecutor(READERS) as readers:
            list(readers.map(lambda number: platform.get_profile(people[number % len(people)], "audit"), range(READS)))

    people = [by_identifier("anonymous_id", f"device-{number:09d}") for number in range(sessions.SESSIONS)]
    send(0, WARM)
    of_event = meter.within(lambda: send(WARM, BATCHES), BATCHES * sessions.BATCH_EVENTS)
    read()
    of_read = meter.within(read, READS)
    for spent in (of_event, of_read):
        print({name: round(times, 1) for name, times in spent.items()})
    assert (over(of_event, EVENT_BUDGET), over(of_read, READ_BUDGET)) == ({}, {})
