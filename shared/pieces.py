"""Long work gives way: between two pieces of it, whoever else waits for the loop has a turn."""

import asyncio
import time
from typing import Final

AT_ONCE: Final = 100  # events, or what takes as long: a millisecond or ten
LEFT_AT_MOST_S: Final = 0.05  # to others, between two pieces of work that nobody waits for
BYTES_AT_ONCE: Final = 256 * 1024  # sealed or opened: a millisecond or ten


class Pieces:
    """Of work that is told as it is done, in whatever it is measured."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._done = 0

    async def done(self, much: int) -> None:
        self._done += much
        if self._done >= self._at_once:
            self._done = 0
            await asyncio.sleep(0)


class Leisure(Pieces):
    """Of work that nobody waits for: between two pieces others have as much time as a piece took."""

    def __init__(self, at_once: int) -> None:
        super().__init__(at_once)
        self._since = time.monotonic()

    async def done(self, much: int) -> None:
        self._done += much
        if self._done >= self._at_once:
            self._done = 0
            await asyncio.sleep(min(time.monotonic() - self._since, LEFT_AT_MOST_S))
            self._since = time.monotonic()
