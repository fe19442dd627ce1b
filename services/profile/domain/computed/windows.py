"""Which occurrences an aggregate is over at an instant, exactly to the microsecond.

Sliding, `30d`: those after `at - window`, up to `at`. Session, `{"session": "30m"}`: the run of occurrences that is open at `at`, each
less than the gap after the one before it; none, once the gap has passed with no further one. A session is at most a day long.
"""

import re
from bisect import bisect_right

import msgspec

from services.profile.domain.computed.occurrences import Kept, Occurrence, instant_of
from shared.errors import InvalidInput
from shared.instants import DAY, SECOND

MAX_WINDOW_US = 3_660 * DAY  # ten years
MAX_SESSION_US = DAY  # what is older than that before a session's newest occurrence isn't part of it
_UNITS = {"s": SECOND, "m": 60 * SECOND, "h": 3_600 * SECOND, "d": DAY}
_DURATION = re.compile(r"([1-9]\d{0,8})([smhd])")


class SessionWindow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    session: str  # the gap


Window = str | SessionWindow | None


class Span(msgspec.Struct, frozen=True):
    """`sliding_us` or `gap_us`, or neither: open, all occurrences."""

    sliding_us: int | None = None
    gap_us: int | None = None

    @property
    def is_open(self) -> bool:
        return self.sliding_us is None and self.gap_us is None

    @property
    def horizon_us(self) -> int | None:
        if self.gap_us is not None:
            return MAX_SESSION_US
        return None if self.sliding_us is None else self.sliding_us


def span_of(window: Window, where: str) -> Span:
    """Raises InvalidInput (RULES_INVALID)."""
    if window is None:
        return Span()
    if isinstance(window, SessionWindow):
        return Span(gap_us=duration(window.session, where, MAX_SESSION_US))
    return Span(sliding_us=duration(window, where, MAX_WINDOW_US))


def duration(text: str, where: str, most: int) -> int:
    """Microseconds of `45s`, `30m`, `12h`, `30d`. Raises InvalidInput (RULES_INVALID)."""
    found = _DURATION.fullmatch(text)
    if found is None or (length := int(found[1]) * _UNITS[found[2]]) > most:
        raise InvalidInput(
            f"{where}: a duration is a whole number of s, m, h or d, such as 30d, and here at most {most // DAY}d",
            reason="RULES_INVALID",
        )
    return length


def within(kept: Kept, span: Span, at: int) -> list[Occurrence]:
    """Those the window holds at `at`, oldest first. A clock that is behind the newest of them is taken to be there."""
    start = _start(kept.occurrences, span, at)
    return kept.occurrences[start:] if start else kept.occurrences


def is_cut(kept: Kept, span: Span, at: int) -> bool:
    """Whether one was given up that the window might hold."""
    if kept.cut_at == 0:
        return False
    if span.gap_us is not None:
        held = within(kept, span, at)
        return bool(held) and held[0][0] - kept.cut_at < span.gap_us and held[-1][0] - kept.cut_at < MAX_SESSION_US
    return span.sliding_us is None or kept.cut_at > max(at, kept.occurrences[-1][0]) - span.sliding_us


def next_leaving(kept: Kept, span: Span, at: int) -> int | None:
    """When the next one leaves the window that holds at `at`, if none comes."""
    held = kept.occurrences
    start = _start(held, span, at)
    if start == len(held):
        return None
    if span.sliding_us is not None:
        return held[start][0] + span.sliding_us
    return None if span.gap_us is None else held[-1][0] + span.gap_us


def _start(held: list[Occurrence], span: Span, at: int) -> int:
    """The place of the oldest that the window holds; beyond the last, when it holds none."""
    if not held or span.is_open:
        return 0
    at = max(at, held[-1][0])
    if span.gap_us is not None:
        return _session_start(held, span.gap_us, at)
    assert span.sliding_us is not None, "of the three kinds of windows"
    oldest = at - span.sliding_us
    return 0 if held[0][0] > oldest else bisect_right(held, oldest, key=instant_of)


def _session_start(held: list[Occurrence], gap_us: int, at: int) -> int:
    newest = held[-1][0]
    if at - newest >= gap_us:
        return len(held)
    start = len(held) - 1
    first = bisect_right(held, newest - MAX_SESSION_US, key=instant_of)
    while start > first and held[start][0] - held[start - 1][0] < gap_us:
        start -= 1
    return start
