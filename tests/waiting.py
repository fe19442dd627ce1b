"""Waiting for what another process or thread does, with a deadline."""

import time
from collections.abc import Callable

POLL_S = 0.02
DEADLINE_S = 20.0
# Deadlines of a call that is told what it waited for in vain, a tenth ahead of them: the next one where a busy machine was late.
WAITS_S = (0.5, 2.0, 10.0)


def eventually(happened: Callable[[], bool], timeout_s: float = DEADLINE_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(POLL_S)
