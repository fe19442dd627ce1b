"""Wakes who waits for a change: watchers of streams, and the publisher of notices."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager


class Hub:
    """Wakes, never queues: a slow watcher finds the newest state, and nothing piles up."""

    def __init__(self) -> None:
        self._watchers: defaultdict[bytes, set[asyncio.Event]] = defaultdict(set)

    @contextmanager
    def watching(self, streams: Collection[bytes], changed: asyncio.Event) -> Iterator[None]:
        for stream in streams:
            self._watchers[stream].add(changed)
        try:
            yield
        finally:
            for stream in streams:
                self._watchers[stream].discard(changed)
                if not self._watchers[stream]:
                    del self._watchers[stream]

    def changed(self, streams: Collection[bytes]) -> None:
        for stream in streams:
            for watcher in self._watchers.get(stream, ()):
                watcher.set()

    def everything_changed(self) -> None:
        """Consent or purposes changed: every watcher looks again."""
        self.changed(list(self._watchers))
