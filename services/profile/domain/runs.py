"""Since when a customer is, or isn't, in a segment: by what happened when, whenever it became known. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from services.profile.domain.computed.take import join
from services.profile.domain.golden import VerifiedValue
from services.profile.domain.membership import known_at, looked_at_of, sent_values
from services.profile.domain.rules import Rules
from services.profile.domain.segments import Segments, members, next_changes, only
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
    segments of the rules. At each those conditions alone are asked that may have changed."""
    kept = join(state.computed for state in interval.states.values())
    at: int | None = interval.at
    sent, due, found = dict[str, Any](), dict[str, int | None](), set[str]()
    while at is not None:
        asked = {name for name, soonest in due.items() if soonest is not None and soonest <= at}
        if not due or at in verified_at.values():
            verified = {value for value, since in verified_at.items() if since <= at}
            sent = sent_values(looked_at_of(dict(interval.states), rules, segments, verified), segments)
            asked = set(segments.conditions)
        some = only(segments, asked)
        known = known_at(sent, kept, some, at)
        found = (found - asked) | members(some, known)
        due |= next_changes(some, known, kept)
        yield at, frozenset(found)
        soonest = [one for one in due.values() if one is not None]
        at = min((later for later in [*soonest, *verified_at.values()] if at < later < until), default=None)


class Runs:
    """Finds where the last run of being in a segment, or not, began. It is told pieces, the latest first.

    `began` has the earliest instant so far from which on all was alike.
    """

    def __init__(self, wanted: Mapping[str, bool]) -> None:
        """By segment, whether the customer is in it at the end."""
        self.began: dict[str, int] = {}
        self._open = dict(wanted)

    @property
    def open(self) -> Collection[str]:
        """Of which the run may begin even earlier."""
        return self._open.keys()

    def told(self, before: Sequence[Piece]) -> bool:
        """Of pieces in their order, ahead of all that it was told. Whether any run may begin even earlier."""
        for at, segments in reversed(before):
            for name, is_in in list(self._open.items()):
                if (name in segments) is is_in:
                    self.began[name] = at
                else:
                    del self._open[name]
        return bool(self._open)
