"""Crashes at named points, and the loss of what the broker has on disk."""

import random
import shutil
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import compress, zip_longest

from services.stack.stack import Stack
from shared import faults

EVERY_POINT = {
    "ingest": (faults.BEFORE_PUBLISH, faults.AFTER_PUBLISH),  # its log has sources alone
    "identity": faults.POINTS,
    "profile": faults.POINTS,
    "consent": faults.POINTS,
}
POLL_S = 0.02
REACHED_S = 60.0  # generous: a busy machine starts several services at once


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


def crash_together(stack: Stack, points: Mapping[str, str]) -> list[tuple[str, str]]:
    """A point of each of some services, all armed at once; returns those that were reached."""

    def crash(service: str, point: str) -> bool:
        try:
            crash_at(stack, service, point)
        except PointNotReached:
            return False
        return True

    with ThreadPoolExecutor(len(points)) as threads:
        return list(compress(points.items(), threads.map(crash, points.keys(), points.values())))


def rounds(choose: random.Random) -> list[dict[str, str]]:
    """Every point of every service once, in an order of its own for each service; at most one of each in a round."""
    orders = {service: choose.sample(points, len(points)) for service, points in EVERY_POINT.items()}
    return [
        {service: point for service, point in zip(orders, at_once, strict=True) if point is not None}
        for at_once in zip_longest(*orders.values())
    ]


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
