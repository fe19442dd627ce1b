"""Waiting for news without losing a cancellation, and ending work that may lose one."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from shared.errors import Unavailable

CANCEL_AGAIN_S = 1.0
T = TypeVar("T")


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


class Patience:
    """For callers who rather hear soon that a server hangs than wait for it.

    Work that takes too long goes on by itself, because a driver that is cancelled waits for the same server. While
    `at_most` of such are left, no more is begun.
    """

    def __init__(self, seconds: float, at_most: int = 8) -> None:
        self._seconds = seconds
        self._at_most = at_most
        self._late: set[asyncio.Task[Any]] = set()

    async def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Raises Unavailable (DEPENDENCY_DOWN), and what the work raises."""
        if len(self._late) >= self._at_most:
            work.close()
            raise _hanging()
        task = asyncio.ensure_future(work)
        try:
            done, _ = await asyncio.wait({task}, timeout=self._seconds)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if not done:
            self._late.add(task)
            task.add_done_callback(self._came)
            raise _hanging()
        return task.result()

    def _came(self, task: asyncio.Task[Any]) -> None:
        self._late.discard(task)
        if not task.cancelled():
            task.exception()  # nobody waits for it any more


def _hanging() -> Unavailable:
    return Unavailable("a server behind this service doesn't answer; send again later", reason="DEPENDENCY_DOWN")
