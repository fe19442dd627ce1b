"""What a consumer does when something can't be applied. Three cases, three types, so that none is taken for another:

- retryable: a server is down (`BROKER_DOWN`, `store.pool.DOWN`); `keep_going` begins again from what is committed.
- `Poison`: this one can't be opened or decoded however often it is read; it is parked with its reason, the rest goes on.
- `Halted`: going on would be wrong, or would park everything; the consumer stops where it is, tells, and waits for people.
"""

from typing import Final

POISON_RUN_LIMIT: Final = 20  # in a row: then the cause is ours (a lost key, a wrong release), not theirs


class Poison(Exception):
    """`reason` is a machine-readable word, never personal data."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Halted(Exception):
    """`reason` is a machine-readable word; the text tells people what to look at."""

    reason = "HALTED"

    def __init__(self, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason or type(self).reason


class Run:
    """How many poison ones came in a row. The length is kept with what is parked, so that a restart doesn't forget it."""

    def __init__(self, limit: int = POISON_RUN_LIMIT) -> None:
        self._limit = limit
        self.length = 0

    def good(self) -> None:
        self.length = 0

    def poison(self) -> int:
        """The length with this one. Raises Halted (POISON_RUN)."""
        self.length += 1
        if self.length >= self._limit:
            raise Halted(f"{self.length} in a row can't be applied; the last of them is not parked", "POISON_RUN")
        return self.length
