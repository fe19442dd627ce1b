"""Since when a customer is, or isn't, in a segment: by what happened when, whenever it became known. Pure."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from services.profile.domain.golden import VerifiedValue
from services.profile.domain.membership import standing_by
from services.profile.domain.rules import Rules
from services.profile.domain.segments import Segments
from services.profile.domain.state import State

Piece = tuple[int, frozenset[str]]  # from an instant on the segments that a customer is in


class Interval(msgspec.Struct, frozen=True):
    """What the streams of a customer amount to by `at`, and until something happens again."""

    at: int
    states: Mapping[bytes, State]

    def __repr__(self) -> str:
        return f"<Interval from {self.at} sealed>"


def pieces(
    interval: Interval, until: int, rules: Rules, segments: Segments, verified_at: Mapping[VerifiedValue, int]
) -> Iterator[Piece]:
    """Of an interval that ends before `until`: one wherever time, or that a value was verified, may have changed something of these
    segments of the rules."""
    at: int | None = interval.at
    while at is not None:
        verified = {value for value, since in verified_at.items() if since <= at}
        found = standing_by(dict(interval.states), rules, segments, verified, at)
        yield at, found.segments
        soonest = [found.due_at] if found.due_at is not None else []
        at = min((later for later in [*soonest, *verified_at.values()] if at < later < until), default=None)


class Runs:
    """Finds where the last run of being in a segment, or not, began. It is told pieces, the latest first.

    `began` has the earliest instant so far from which on all was alike.
    """

    def __init__(self, wanted: Mapping[str, bool]) -> None:
        """By segment, whether the customer is in it at the end."""
        self.began: dict[str, int] = {}
        self._open = dict(wanted)

    def told(self, before: Sequence[Piece]) -> bool:
        """Of pieces in their order, ahead of all that it was told. Whether any run may begin even earlier."""
        for at, segments in reversed(before):
            for name, is_in in list(self._open.items()):
                if (name in segments) is is_in:
                    self.began[name] = at
                else:
                    del self._open[name]
        return bool(self._open)
