"""Crashes at named points, and the loss of what the broker has on disk."""

import shutil
import time

from services.stack.stack import Stack
from shared import faults

EVERY_POINT = {
    "ingest": (faults.BEFORE_PUBLISH, faults.AFTER_PUBLISH),  # its log has sources alone
    "identity": faults.POINTS,
    "profile": faults.POINTS,
    "consent": faults.POINTS,
}
POLL_S = 0.02
REACHED_S = 30.0


class PointNotReached(AssertionError):
    """The traffic doesn't pass this point."""


def crash_at(stack: Stack, service: str, point: str, times: int = 1) -> None:
    """Returns when the service was killed there and runs again, without the fault."""
    stack.kill(service, **{faults.VARIABLE: f"{point}:{times}"})
    deadline = time.monotonic() + REACHED_S
    while (armed := stack.pid(service)) is None:
        _pause(deadline, service, point)
    while stack.pid(service) == armed:
        _pause(deadline, service, point)
    stack.wait_ready(service)


def lose_broker_store(stack: Stack) -> None:
    """Everything JetStream had on disk is gone, as after the loss of its volume; returns when it runs again, empty."""
    store = stack.data_directory / "nats"
    lost = store.with_name("nats.lost")
    store.rename(lost)  # the running server keeps writing to what is lost
    stack.kill("nats")
    stack.wait_ready("nats")
    shutil.rmtree(lost)


def _pause(deadline: float, service: str, point: str) -> None:
    if time.monotonic() > deadline:
        raise PointNotReached(f"{service} never came to the point {point}")
    time.sleep(POLL_S)
