"""Two processes of each service: when the one that serves dies, is stopped or is paused, the other goes on, and nothing is lost."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from services.stack.ports import HOST
from services.stack.stack import Stack
from tests.e2e.test_kill import wait_for_progress
from tests.e2e.turmoil import Turmoil, turmoil
from tests.stacks import fresh_stack

OWNED = ("identity", "profile", "consent")  # one of their processes owns the log
TAKEOVER_S = 10.0
BUSY = 3  # times that, on a machine with as much else to do
DEADLINE_S = 60.0
POLL_S = 0.05
FENCED = "another writer has taken over these partitions"


@pytest.fixture
def replicated() -> Iterator[Stack]:
    with fresh_stack(replicas=2) as stack:
        yield stack


@pytest.mark.timeout(600)
def test_another_process_takes_over_and_nothing_is_lost_or_doubled(replicated: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    doors = [f"http://{HOST}:{replicated.ports[name]}" for name in ("ingest_http", "ingest_http.2")]
    took = {}
    with turmoil(replicated, random.Random(9), people=10, doors=doors) as running:
        for how, end in (("SIGKILL", killed), ("SIGTERM", stopped), ("SIGSTOP", paused)):
            for service in OWNED:
                took[service, how] = handed_over(replicated, running, service, end)
        for name in ("ingest", "ingest.2"):
            wait_for_progress(running)
            replicated.kill(name)
        wait_for_progress(running)
        result = running.finish()
    with capsys.disabled():
        print(f"\n{result}; seconds: {', '.join(f'{service} {how} {seconds:.1f}' for (service, how), seconds in took.items())}")
    assert [problem for problem in result.problems if FENCED not in problem] == []
    assert result.visible == result.sent == result.acknowledged
    assert (result.lost, result.doubled) == (0, 0)
    assert max(took.values()) < TAKEOVER_S * BUSY


def handed_over(stack: Stack, running: Turmoil, service: str, end: Callable[[Stack, str], Callable[[], None]]) -> float:
    """Seconds from the end of the one that served until the other serves."""
    wait_for_progress(running)
    stack.wait_ready()
    before = stack.serving(service)
    assert before is not None
    began = time.monotonic()
    bring_back = end(stack, before)
    until(lambda: stack.serving(service) not in (before, None))
    seconds = time.monotonic() - began
    wait_for_progress(running)
    bring_back()
    stack.wait_ready(before)
    assert stack.serving(service) != before, "who comes back stands by"
    return seconds


def killed(stack: Stack, process: str) -> Callable[[], None]:
    stack.take_down(process, signal.SIGKILL)
    return lambda: stack.bring_up(process)


def stopped(stack: Stack, process: str) -> Callable[[], None]:
    stack.take_down(process, signal.SIGTERM)
    return lambda: stack.bring_up(process)


def paused(stack: Stack, process: str) -> Callable[[], None]:
    pid = stack.pid(process)
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)

    def wake() -> None:
        os.kill(pid, signal.SIGCONT)
        until(lambda: stack.pid(process) not in (pid, None))  # it leaves, and is started again

    return wake


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(POLL_S)
