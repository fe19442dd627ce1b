"""Streams hold something of ours while they last; who stops reading one doesn't keep it."""

import asyncio
import math
from collections.abc import AsyncGenerator, Callable
from typing import TypeVar

from shared.errors import CustomerError, DeadlineExceeded

T = TypeVar("T")


def _not_read() -> CustomerError:
    return DeadlineExceeded("this stream was not read for too long; begin again", reason="STREAM_NOT_READ")


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
