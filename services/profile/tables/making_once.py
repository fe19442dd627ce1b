"""What several reads miss at once is made by one of them, for all."""

import asyncio
from collections.abc import Hashable
from weakref import WeakValueDictionary


class MakingOnce:
    def __init__(self) -> None:
        self._under_way: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()

    def turn(self, what: Hashable) -> asyncio.Lock:
        """Whoever has it looks first whether it is there by now."""
        return self._under_way.setdefault(what, asyncio.Lock())
