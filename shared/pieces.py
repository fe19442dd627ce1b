"""Long work gives way: between two pieces of it, whoever else waits for the loop has a turn."""

import asyncio
from typing import Final

AT_ONCE: Final = 100  # events, or what takes as long: a millisecond or ten
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
