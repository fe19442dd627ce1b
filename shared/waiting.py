"""Waiting for news without losing a cancellation."""

import asyncio


async def wait_for_news(news: asyncio.Event, timeout_s: float) -> bool:
    """Whether there was news in time. (`asyncio.wait_for` of Python 3.11 can swallow a cancellation that comes with the news.)"""
    try:
        async with asyncio.timeout(timeout_s):
            await news.wait()
    except TimeoutError:
        return False
    return True
