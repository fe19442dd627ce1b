"""How many bytes of requests may be in memory at a time."""

from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import LimitExceeded


class Room:
    def __init__(self, size_bytes: int) -> None:
        self.left_bytes = size_bytes

    @contextmanager
    def share(self, size_bytes: int = 0) -> Iterator["Share"]:
        """Raises LimitExceeded (OVERLOADED)."""
        share = Share(self)
        try:
            share.take(size_bytes)
            yield share
        finally:
            self.left_bytes += share.taken_bytes


class Share:
    """Of one request."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.taken_bytes = 0

    def take(self, size_bytes: int) -> None:
        """Raises LimitExceeded (OVERLOADED); then nothing more was taken."""
        if size_bytes > self._room.left_bytes:
            raise LimitExceeded("too many requests at a time; send again later", reason="OVERLOADED")
        self._room.left_bytes -= size_bytes
        self.taken_bytes += size_bytes
