"""What events say again and again, heard once. Pure.

A consent platform writes into every event what its person chose at some time. What that is stands until something else is said: the
choice was made when it was said first, and saying it again is none. Else a cookie of last year would outdo what was withdrawn since.
"""

from collections.abc import Iterable
from typing import NamedTuple

from services.consent.domain.signals.signal import Sealed
from shared.events.signals import SignalKind


class Voice(NamedTuple):
    """Who says something of one kind, and where: each has a choice of its own."""

    identifier_hash: bytes
    source: str
    kind: SignalKind


class Instant(NamedTuple):
    """Of two that are said at the same microsecond one is the later, whichever comes first."""

    at: int
    text: str


class Run(Sealed, frozen=True, array_like=True):
    """The newest that is said in one voice: of which text, and when first and last as far as is known."""

    text: str
    first_at: int
    last_at: int

    @property
    def first(self) -> Instant:
        return Instant(self.first_at, self.text)

    @property
    def last(self) -> Instant:
        return Instant(self.last_at, self.text)


def hear(run: Run | None, said: Instant) -> tuple[Run, list[Instant]]:
    """What is said now in this voice, and what of it is news, to be kept as signals with what they decide.

    What comes late and says something else stood in between, so behind it the newer is news once more.
    """
    if run is None or said > run.last:
        if run is not None and run.text == said.text:
            return Run(run.text, run.first_at, said.at), []
        return Run(said.text, said.at, said.at), [said]
    if run.text == said.text and said >= run.first:
        return run, []
    if said < run.first:
        return run, [said]
    return Run(run.text, run.last_at, run.last_at), [said, run.last]


def hear_all(run: Run | None, instants: Iterable[Instant]) -> tuple[Run | None, list[Instant]]:
    news: list[Instant] = []
    for said in instants:
        run, more = hear(run, said)
        news += more
    return run, news
