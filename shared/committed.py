"""How far the owner of a log has committed, for who stands by and answers from the same tables."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from shared.positions import Progress

LOOK_S: Final = 0.02  # while somebody waits; who doesn't wait is answered from what is committed when it asks


async def follow_committed(progress: Progress, look: Callable[[], Awaitable[None]]) -> None:
    """`look` advances it. Never returns."""
    while True:
        if progress.is_waited_for:
            await look()
        await asyncio.sleep(LOOK_S)
