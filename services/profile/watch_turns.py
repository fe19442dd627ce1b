"""Watches take turns: of many that have much to look at only a few are at it at a time, so that the loop comes round to all others.

Forty that looked at a hundred customers each, one after the other within one round of the loop, kept everybody else waiting for a second:
the lease to serve what needs consent ran out.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

AT_IT_AT_ONCE: Final = 2  # while one waits for the store the other goes on
FEW: Final = 10  # customers, some milliseconds: those are looked at without a turn
TOLD_AT_ONCE: Final = 3  # customers, a millisecond; then whoever waits for the loop has it


class WatchTurns:
    def __init__(self) -> None:
        self._free = asyncio.Semaphore(AT_IT_AT_ONCE)

    @asynccontextmanager
    async def of(self, customers: int) -> AsyncIterator[None]:
        """Nothing may be waited for within that waits for a turn, or for who watches."""
        if customers <= FEW:
            yield
            return
        async with self._free:
            yield
