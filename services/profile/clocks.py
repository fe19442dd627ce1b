"""The two clocks that a read of the past is asked by."""

from typing import Final

import msgspec

from shared.instants import END_OF_TIME


class Instant(msgspec.Struct, frozen=True):
    """valid_at: only what had happened by then. known_at: only what our log knew by then."""

    valid_at: int = END_OF_TIME
    known_at: int = END_OF_TIME

    @property
    def earlier(self) -> int:
        """Of a thing that happens when it becomes known: until when it counts."""
        return min(self.valid_at, self.known_at)

    @property
    def is_now(self) -> bool:
        return self.valid_at == self.known_at == END_OF_TIME


NOW: Final = Instant()
