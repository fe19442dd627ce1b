"""Streams that last longer than a connection."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from services.cli import render
from services.cli.errors import NotReachable

T = TypeVar("T")
RECONNECTS_AT_MOST: Final = 30  # in a row, without anything in between
RECONNECT_DELAY_S: Final = 1.0


def reconnecting(stream: Callable[[], Iterator[T]]) -> Iterator[T]:
    """What a stream tells, begun again while the service is away, but not when it never was there. Raises NotReachable."""
    seen, failures = False, 0
    while True:
        try:
            for item in stream():
                yield item
                seen, failures = True, 0
        except NotReachable:
            failures += 1
            if not seen or failures > RECONNECTS_AT_MOST:
                raise
            if failures == 1:  # else it is said each second
                render.note("connection lost; connecting again")
        time.sleep(RECONNECT_DELAY_S)
