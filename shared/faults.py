"""Named points at which a test can have the process killed, as a crash there would.

Off, a point costs the look into an empty dict. `C360_FAULT="before the commit:3"`, read once at the start, arms one point for its
third time. Not for production; nothing but the process itself dies.
"""

import os
import signal
from collections.abc import Collection, Mapping
from typing import Final

BEFORE_POSITION: Final = "before the position"  # decided, and nothing written yet
AFTER_INSERT: Final = "after the insert"
BEFORE_COMMIT: Final = "before the commit"
AFTER_COMMIT: Final = "after the commit"
BEFORE_PUBLISH: Final = "before the publish"
AFTER_PUBLISH: Final = "after the publish"  # the broker has it, and nobody was told
POINTS: Final = (BEFORE_POSITION, AFTER_INSERT, BEFORE_COMMIT, AFTER_COMMIT, BEFORE_PUBLISH, AFTER_PUBLISH)
# Of who keeps memberships of segments: changes are written; so is up to where they were looked for. Neither is committed.
MEMBERSHIPS_WRITTEN: Final = "memberships written"
PLACE_WRITTEN: Final = "place written"
SEGMENT_POINTS: Final = (MEMBERSHIPS_WRITTEN, PLACE_WRITTEN)
# Of who writes down what is read: nobody was answered yet.
BEFORE_DISCLOSURES: Final = "before the disclosures"
AFTER_DISCLOSURES: Final = "after the disclosures"
DISCLOSURE_POINTS: Final = (BEFORE_DISCLOSURES, AFTER_DISCLOSURES)

VARIABLE: Final = "C360_FAULT"

_left: dict[str, int] = {}  # how many more times until it kills


class UnknownPoint(Exception):
    """The variable names a point that isn't one."""


def arm(environ: Mapping[str, str], points: Collection[str] = POINTS + SEGMENT_POINTS + DISCLOSURE_POINTS) -> None:
    """`points` are those that the process has. Raises UnknownPoint."""
    _left.clear()
    if text := environ.get(VARIABLE):
        point, _, times = text.partition(":")
        if point not in points or not (times or "1").isdigit():
            raise UnknownPoint(f"{VARIABLE} is one of {', '.join(points)}, and :TIMES")
        _left[point] = int(times or 1)


def reach(point: str) -> None:
    if _left and point in _left:
        _left[point] -= 1
        if _left[point] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
