"""Streams hold something of ours while they last; who stops reading one doesn't keep it."""

import asyncio
import math
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TypeVar

from shared.errors import CustomerError, DeadlineExceeded, LimitExceeded

T = TypeVar("T")


def _not_read() -> CustomerError:
    return DeadlineExceeded("this stream was not read for too long; begin again", reason="STREAM_NOT_READ")


class Running:
    """How many streams of a kind run: from their first item asked for until they are closed, so who was given up doesn't count."""

    def __init__(self, busy: Callable[[int], LimitExceeded]) -> None:
        """`busy` makes what is told to one too many, from how many there may be."""
        self._busy = busy
        self._number = 0

    async def limited(self, items: AsyncGenerator[T, None], at_most: int) -> AsyncGenerator[T, None]:
        """As `items`. Raises what `busy` makes."""
        async with aclosing(items):
            if self._number >= at_most:
                raise self._busy(at_most)
            self._number += 1
            try:
                async for item in items:
                    yield item
            finally:
                self._number -= 1


async def taken_in_time(
    items: AsyncGenerator[T, None],
    timeout_s: float,
    too_late: Callable[[], CustomerError] = _not_read,
    in_all_s: float = math.inf,
) -> AsyncGenerator[T, None]:
    """As `items`, which are closed as soon as one, or all together, weren't taken in time, whether anybody reads on or not.

    Raises what `too_late` makes, DeadlineExceeded (STREAM_NOT_READ), at whoever reads on after that.
    """
    loop, closing, left_s = asyncio.get_running_loop(), None, in_all_s

    def give_up() -> None:
        nonlocal closing
        closing = asyncio.ensure_future(items.aclose())

    try:
        async for item in items:
            given_at = loop.time()
            timer = loop.call_later(min(timeout_s, max(left_s, 0.0)), give_up)
            try:
                yield item
            finally:
                timer.cancel()
                left_s -= loop.time() - given_at
            if closing is not None:
                raise too_late()
    finally:
        await (closing or items.aclose())
