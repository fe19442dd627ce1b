"""What the door notes in memory and writes a second later, so that no answer waits for it.

One rule for all of it. While the database is down it is kept, up to a number of entries; what the database refuses is dropped
and told, because notes never end the door; a process that is killed loses what the last second brought.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Generic, TypeVar

from shared.store.pool import DOWN
from shared.telemetry import logger

WRITE_EVERY_S: Final = 1.0
K = TypeVar("K")
V = TypeVar("V")

log = logger("behind")


async def _nothing() -> None:
    return None


class Behind(Generic[K, V]):
    """`merge` makes one of an older and a newer note of a key, in any order of writing the same; `save` adds notes to a table."""

    def __init__(
        self, what: str, at_most: int, merge: Callable[[V, V], V], save: Callable[[Mapping[K, V]], Awaitable[None]]
    ) -> None:
        self._what = what
        self._at_most = at_most
        self._merge = merge
        self._save = save
        self._waiting: dict[K, V] = {}
        self._under_way: dict[K, V] = {}
        self._writing = asyncio.Lock()

    def has_room(self, key: K) -> bool:
        """Whether a note of it takes no more memory than there is."""
        return key in self._waiting or len(self._waiting) + len(self._under_way) < self._at_most

    def add(self, key: K, note: V) -> None:
        self._waiting[key] = self._merge(self._waiting[key], note) if key in self._waiting else note

    async def run(self, tidy: Callable[[], Awaitable[None]] = _nothing) -> None:
        """Never returns; raises when the database is down. `tidy` follows every write."""
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            await self.write()
            await self._outlive(tidy())

    async def write(self) -> None:
        """All that was noted before. Raises when the database is down, and then keeps it."""
        async with self._writing:
            self._under_way, self._waiting = self._waiting, {}
            try:
                if self._under_way:
                    await self._outlive(self._save(self._under_way))
            except BaseException:
                newer, self._waiting = self._waiting, self._under_way
                for key, note in newer.items():
                    self.add(key, note)
                raise
            finally:
                self._under_way = {}

    async def _outlive(self, work: Awaitable[None]) -> None:
        try:
            await work
        except DOWN:
            raise
        except Exception as error:
            log.error("notes were refused, and dropped", what=self._what, notes=len(self._under_way), error=type(error).__name__)
