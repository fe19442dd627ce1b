"""What an answer is made from: noted while it is made, wherever that is, so that whoever keeps the answer knows when to drop it."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from shared.instants import END_OF_TIME


class Reading:
    """`keys` are what was looked up in caches, found or not; from `until` on the clock alone may give another answer."""

    def __init__(self) -> None:
        self.keys: set[bytes] = set()
        self.until = END_OF_TIME


_under_way: ContextVar[Reading | None] = ContextVar("reading", default=None)


@contextmanager
def noted() -> Iterator[Reading]:
    """Of what this task reads."""
    reading = Reading()
    token = _under_way.set(reading)
    try:
        yield reading
    finally:
        _under_way.reset(token)


def looked_up(keys: Collection[bytes]) -> None:
    if (reading := _under_way.get()) is not None:
        reading.keys.update(keys)


def steady_until(instant: int) -> None:
    if (reading := _under_way.get()) is not None:
        reading.until = min(reading.until, instant)
