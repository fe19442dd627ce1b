"""Waiting for what another process does, with a deadline."""

import time
from collections.abc import Callable

POLL_S = 0.02
DEADLINE_S = 20.0


def eventually(happened: Callable[[], bool], timeout_s: float = DEADLINE_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(POLL_S)
