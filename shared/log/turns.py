"""One writer's turns. What is in memory follows the log only while every turn succeeds; after one that failed it is loaded anew."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from shared.errors import Fenced


class Turns:
    """`load` claims the partitions and reads where they stand. A writer that was fenced has no turn again, ever.

    Were it to claim once more, it would fence the one that took over from it, which would do the same, and so on.
    """

    def __init__(self, load: Callable[[], Awaitable[None]]) -> None:
        self._load = load
        self._lock = asyncio.Lock()
        self._loaded = False
        self.fenced = asyncio.Event()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Raises Fenced when another process has taken over, and what `load` raises."""
        async with self._lock:
            if self.fenced.is_set():
                raise Fenced("another writer has taken over these partitions, for good")
            try:
                if not self._loaded:
                    await self._load()
                self._loaded = False
                yield
            except Fenced:
                self.fenced.set()
                raise
            self._loaded = True
