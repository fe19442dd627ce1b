"""Waiting for news without losing a cancellation, and ending work that may lose one."""

import asyncio
from collections.abc import Iterable
from typing import Any

CANCEL_AGAIN_S = 1.0


async def wait_for_news(news: asyncio.Event, timeout_s: float) -> bool:
    """Whether there was news in time. (`asyncio.wait_for` of Python 3.11 can swallow a cancellation that comes with the news.)"""
    try:
        async with asyncio.timeout(timeout_s):
            await news.wait()
    except TimeoutError:
        return False
    return True


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels and waits. Code in between may swallow a cancellation (`asyncio.wait_for` of Python 3.11), so it is repeated."""
    tasks = set(tasks)
    while going := {task for task in tasks if not task.done()}:
        for task in going:
            task.cancel()
        await asyncio.wait(going, timeout=CANCEL_AGAIN_S)
