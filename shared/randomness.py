"""Random bytes for ids and nonces, fetched many at a time: the system call is most of what one costs."""

import os
from collections import deque

AHEAD = 256  # pieces of a size that are fetched together

_ready: dict[int, deque[bytes]] = {}
os.register_at_fork(after_in_child=_ready.clear)  # a child must not draw what its parent draws


def draw(size: int) -> bytes:
    """`size` bytes that nobody else gets, in whatever thread. Not for keys, which should lie in no buffer."""
    try:
        return _ready[size].popleft()  # atomic
    except LookupError:  # none of this size are left, or there never were any
        page = os.urandom(size * AHEAD)
        _ready.setdefault(size, deque()).extend(page[at : at + size] for at in range(size, len(page), size))
        return page[:size]
