"""How much is done while nobody else has the loop."""

import asyncio
from collections.abc import Callable
from typing import Any, Self


class Turns:
    """Counts what is done of some work between two turns of others on the loop."""

    def __init__(self) -> None:
        self.most = 0
        self.done = 0
        self._over = False

    def of(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def count(*arguments: Any) -> Any:
            self.done += 1
            return work(*arguments)

        return count

    async def __aenter__(self) -> Self:
        self._taking = asyncio.create_task(self._take())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._over = True
        await self._taking

    async def _take(self) -> None:
        while not self._over:
            self.most, self.done = max(self.most, self.done), 0
            await asyncio.sleep(0)
