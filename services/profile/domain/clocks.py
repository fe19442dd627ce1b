"""The two clocks that a read of the past is asked by."""

from typing import Final, Literal

import msgspec

from shared.instants import END_OF_TIME

Order = Literal["known", "happened"]  # along which of the two a history is told, while the other stands still


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

    def along(self, order: Order) -> tuple[int, int]:
        """Of the clock that is walked along, and of the one that stands still."""
        return (self.known_at, self.valid_at) if order == "known" else (self.valid_at, self.known_at)


NOW: Final = Instant()
