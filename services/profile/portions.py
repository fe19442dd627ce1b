"""How many customers are looked at in one step, so that whatever else is due waits for no more than a step.

Most cost one look. Of whoever moves it may be hundreds, to find since when; so the next portion is as large as by the last one fits into
LOOKS_A_STEP. One that doesn't fit is given up, and tried again with fewer when everything else has had its turn.
"""

from typing import Final

from services.profile.beginnings import LOOKS_AT_MOST
from shared.pieces import AT_ONCE, Pieces

LOOKS_A_STEP: Final = 5 * LOOKS_AT_MOST  # at the past of those who move, each some tenths of a millisecond: a second or so
FEWER: Final = 4  # times, after a portion that didn't fit; twice as many after one that took less than this part of what fits


class TooMany(Exception):
    """The portion is given up."""


class Looks(Pieces):
    """Counts what is done of a portion. Raises TooMany when that is more than `at_most`; None: however much it is."""

    def __init__(self, at_most: int | None) -> None:
        super().__init__(AT_ONCE)
        self._at_most = at_most
        self.made = 0

    async def done(self, much: int) -> None:
        self.made += much // AT_ONCE  # single events are nothing beside looks
        if self._at_most is not None and self.made > self._at_most:
            raise TooMany
        await super().done(much)


class Portion:
    """`size` is of customers; of events that are followed, of each partition. A single one is looked at however long it takes."""

    def __init__(self, most: int, looks_a_step: int = LOOKS_A_STEP) -> None:
        self._most = self.size = most
        self._looks_a_step = looks_a_step

    def looks(self) -> Looks:
        return Looks(self._looks_a_step if self.size > 1 else None)

    def fitted(self, looks: Looks) -> None:
        if looks.made < self._looks_a_step // FEWER:
            self.size = min(2 * self.size, self._most)

    def did_not_fit(self) -> None:
        self.size = max(1, self.size // FEWER)
