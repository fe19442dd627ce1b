"""How many were in a segment at instants of the past, as it was written then, and where that isn't known. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from shared.instants import DAY, SECOND

SHORTEST_STEP_US: Final = SECOND
LONGEST_STEP_US: Final = 3_653 * DAY  # ten years
STEPS_BY_DEFAULT: Final = 30

NOT_BEGUN: Final = "not_begun"
NOT_DEFINED: Final = "not_defined"
NOT_SETTLED: Final = "not_settled"
NOT_IN_PURPOSE: Final = "not_in_purpose"


class Settling(msgspec.Struct, frozen=True):
    """By a version of the rules everybody was looked at, from `begun_at` on; `settled_at` is when that was done, None where it wasn't."""

    rules_version: int
    begun_at: int
    settled_at: int | None = None


class Size(msgspec.Struct, frozen=True):
    """At an instant, by a version of the rules (0: there were none). `size` is None for a reason, `unknown`."""

    at: int
    size: int | None
    unknown: str
    rules_version: int


def instants(first: int, last: int, step: int, at_most: int) -> list[int]:
    """From `first`, in steps, up to `last` where they come to it."""
    return list(range(first, last + 1, step)[:at_most])


def sizes(
    asked: Sequence[int], grown: Mapping[int, int], settlings: Sequence[Settling], sees: Callable[[int], bool | None]
) -> list[Size]:
    """At the instants that are `asked`, which rise. `grown` has by index in `asked` how many more there were than at the one before (of the first:
    than none); `settlings` are oldest first. `sees` says of a version of the rules whether the condition may be told of, None where
    it has no such segment."""
    found, size, place = [], 0, -1
    for index, at in enumerate(asked):
        size += grown.get(index, 0)
        while place + 1 < len(settlings) and settlings[place + 1].begun_at <= at:
            place += 1
        by = settlings[place] if place >= 0 else None
        unknown = _unknown(by, at, sees)
        found.append(Size(at, None if unknown else size, unknown, by.rules_version if by else 0))
    return found


def _unknown(by: Settling | None, at: int, sees: Callable[[int], bool | None]) -> str:
    if by is None:
        return NOT_BEGUN
    if (seen := sees(by.rules_version)) is None:
        return NOT_DEFINED
    if not seen:
        return NOT_IN_PURPOSE
    return "" if by.settled_at is not None and by.settled_at <= at else NOT_SETTLED
