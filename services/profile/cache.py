"""Bounded caches that never keep what was overtaken while it was loaded."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection
from typing import Generic, TypeVar

from services.profile.reading import looked_up
from shared.telemetry import CACHE_LOOKUPS

K = TypeVar("K", bound=bytes)
V = TypeVar("V")

Load = Callable[[Collection[K]], Awaitable[dict[K, V]]]
Watcher = Callable[[Collection[bytes] | None], None]


class Counts:
    def __init__(self, cache: str) -> None:
        self._hits, self._misses = (CACHE_LOOKUPS.labels(cache, outcome) for outcome in ("hit", "miss"))

    def add(self, hits: int, misses: int) -> None:
        """Each costs a lock."""
        if hits:
            self._hits.inc(hits)
        if misses:
            self._misses.inc(misses)


class LoadingCache(Generic[K, V]):
    """Least recently used goes first. A value loaded while anything was invalidated is used once and not kept.

    It holds values of `most` together, by `size_of` each, which must not change while it is held.
    """

    def __init__(self, load: Load[K, V], most: int, size_of: Callable[[V], int] = lambda _: 1, name: str = "") -> None:
        """One with a name tells in the metrics how often it helps."""
        self._load = load
        self._most = most
        self._size_of = size_of
        self._size = 0
        self._held: OrderedDict[K, V] = OrderedDict()
        self._generation = 0
        self._watchers: list[Watcher] = []
        self._counts = Counts(name) if name else None

    def watch(self, watcher: Watcher) -> None:
        """It is told the keys whose values are others from now on; None: all."""
        self._watchers.append(watcher)

    async def get(self, keys: Collection[K]) -> dict[K, V]:
        """Keys that the loader doesn't know are absent."""
        looked_up(keys)
        found = {key: self._held[key] for key in keys if key in self._held}
        for key in found:
            self._held.move_to_end(key)
        if missing := [key for key in keys if key not in found]:
            generation = self._generation
            loaded = await self._load(missing)
            if generation == self._generation:
                self._keep(loaded)
            found |= loaded
        if self._counts is not None:
            self._counts.add(len(keys) - len(missing), len(missing))
        return found

    def at_hand(self, keys: Collection[K]) -> dict[K, V]:
        """Of these, what needn't be loaded."""
        looked_up(keys)
        return {key: self._held[key] for key in keys if key in self._held}

    def put(self, values: dict[K, V]) -> None:
        """Values just committed: what is being loaded meanwhile may be older."""
        self._generation += 1
        self._keep(values)
        self._tell(values)

    def drop(self, keys: Collection[K]) -> None:
        self._generation += 1
        for key in keys:
            self._forget(key)
        self._tell(keys)

    def clear(self) -> None:
        self._generation += 1
        self._held.clear()
        self._size = 0
        self._tell(None)

    def _tell(self, keys: Collection[bytes] | None) -> None:
        for watcher in self._watchers:
            watcher(keys)

    def _keep(self, values: dict[K, V]) -> None:
        for key, value in values.items():
            self._forget(key)
            self._held[key] = value
            self._size += self._size_of(value)
        while self._size > self._most:
            _, value = self._held.popitem(last=False)
            self._size -= self._size_of(value)

    def _forget(self, key: K) -> None:
        if (value := self._held.pop(key, None)) is not None:
            self._size -= self._size_of(value)
