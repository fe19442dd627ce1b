"""Wakes who waits for a change: watchers of streams, and who follows the whole log."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager


class News:
    """What a watcher has to look at again, each stream once however often it changed: never more than it watches."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self._streams: set[bytes] = set()

    def tell(self, stream: bytes) -> None:
        self._streams.add(stream)
        self.event.set()

    def take(self) -> set[bytes]:
        """What changed since the last time."""
        taken, self._streams = self._streams, set()
        self.event.clear()
        return taken


class Hub:
    """Wakes, never queues: a slow watcher finds the newest state, and nothing piles up."""

    def __init__(self) -> None:
        self._watchers: defaultdict[bytes, set[News]] = defaultdict(set)
        self._followers: set[asyncio.Event] = set()

    @property
    def is_watched(self) -> bool:
        return bool(self._watchers)

    def watch(self, streams: Collection[bytes], news: News) -> None:
        for stream in streams:
            self._watchers[stream].add(news)

    def leave(self, streams: Collection[bytes], news: News) -> None:
        for stream in streams:
            self._watchers[stream].discard(news)
            if not self._watchers[stream]:
                del self._watchers[stream]

    @contextmanager
    def following(self, changed: asyncio.Event) -> Iterator[None]:
        """Whatever changes: a follower finds in the log what it was."""
        self._followers.add(changed)
        try:
            yield
        finally:
            self._followers.discard(changed)

    def changed(self, streams: Collection[bytes], by: asyncio.Event | None = None) -> None:
        """`by` is the follower who says so and needn't hear of it."""
        for stream in streams:
            for watcher in self._watchers.get(stream, ()):
                watcher.tell(stream)
        for follower in self._followers:
            if follower is not by:
                follower.set()

    def everything_changed(self) -> None:
        """Purposes changed: every watcher looks again."""
        self.changed(list(self._watchers))
