"""An event that was answered 200 is in the profile exactly once, whatever process is killed in between."""

import random
import time

import pytest

from services.stack.stack import Stack
from tests.e2e.turmoil import Turmoil, turmoil

PROGRESS_EVENTS = 100  # answered after a kill, before the next one: the system works again
PROGRESS_DEADLINE_S = 30.0
POLL_S = 0.05
IN_FLIGHT_S = 0.2  # longer than a sender's pause, shorter than a server's restart
PAIRS = (("nats", "ingest"), ("postgres", "ingest"), ("postgres", "identity"), ("postgres", "profile"), ("nats", "consent"))


@pytest.mark.timeout(300)  # about 20 s on two idle cores; a busy machine takes several times that
def test_each_process_is_killed_once_and_nothing_is_lost_or_doubled(own_stack: Stack) -> None:
    with turmoil(own_stack, random.Random(6), people=10) as running:
        for victim in own_stack.names:
            wait_for_progress(running)
            own_stack.kill(victim)
            own_stack.wait_ready(victim)
        for server, service in PAIRS:
            wait_for_progress(running)
            kill_both(own_stack, running, server, service)
        wait_for_progress(running)
        tally = running.finish()
    assert tally.problems == []
    assert (tally.lost, tally.doubled) == (0, 0), str(tally)
    assert tally.visible == tally.sent == tally.acknowledged > PROGRESS_EVENTS * len(own_stack.names)
    assert len(running.decider.answered) == running.decider.confirmed > 0


def kill_both(stack: Stack, running: Turmoil, server: str, service: str) -> None:
    """The service dies with what the dead server did not take: nothing of that may have been answered."""
    sent = running.sent
    stack.kill(server)
    give_up_at = time.monotonic() + IN_FLIGHT_S
    while running.sent == sent and time.monotonic() < give_up_at:
        time.sleep(POLL_S / 10)
    stack.kill(service)
    stack.wait_ready(server, service)


def wait_for_progress(running: Turmoil) -> None:
    target = running.acknowledged + PROGRESS_EVENTS
    give_up_at = time.monotonic() + PROGRESS_DEADLINE_S
    while running.acknowledged < target:
        running.check()
        assert time.monotonic() < give_up_at, "events are not answered any more"
        time.sleep(POLL_S)
