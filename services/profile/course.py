"""The way through a history: what is walked along, and the instants that are stopped at."""

from collections.abc import Mapping, Sequence

import msgspec

from services.profile.domain.clocks import Instant, Order
from services.profile.domain.diff import Side
from services.profile.domain.rules import Rules
from services.profile.tables.snapshots import Past
from shared.log import Record


class Walk(msgspec.Struct, frozen=True):
    """What is walked along: one clock up to an instant, while the other stands still."""

    customer: bytes
    order: Order
    until: Instant
    rules: Rules
    erased: bool

    def point(self, at: int) -> Instant:
        return Instant(self.until.valid_at, at) if self.order == "known" else Instant(at, self.until.known_at)

    def at(self, record: Record) -> int:
        return record.recorded_at if self.order == "known" else record.entry.occurred_at


class Step(msgspec.Struct, frozen=True):
    """An instant that is stopped at, and what came then; none where only time passed or the person decided."""

    at: int
    records: Sequence[Record] = ()


class Pause(msgspec.Struct, frozen=True):
    """What is known of streams from an instant on, and what comes then: of the steps those behind so many that are `done`, which may
    not be all that come."""

    at: int
    past: Mapping[bytes, Past]
    steps: Sequence[Step]
    complete: bool
    done: int = 0

    @property
    def is_read(self) -> bool:
        """Whether it is known what comes next, if anything does."""
        return self.complete or self.done < len(self.steps)

    def holds_at(self, instant: int) -> bool:
        """Whether nothing came between the two."""
        if self.done < len(self.steps):
            return self.at <= instant < self.steps[self.done].at
        return self.at <= instant if self.complete else self.at == instant

    def __repr__(self) -> str:
        return f"<Pause of {len(self.past)} streams sealed>"


class Course:
    """The instants that are stopped at on the way to the end, where that is reached, or to the last of what was read."""

    def __init__(self, walk: Walk, begin: Pause) -> None:
        self._steps, self._complete, self._done = begin.steps, begin.complete, begin.done
        self._until = walk.until.along(walk.order)[0]
        end = self._until if walk.order == "known" else walk.until.earlier
        read = self._steps[-1].at if self._steps else 0
        self._last = max(end, read) if self._complete else read
        self.at = begin.at  # the instant that was stopped at last
        self.is_last = False  # nothing comes after it

    def pause(self, past: Mapping[bytes, Past]) -> Pause:
        """Here; `past` is what is known by now."""
        return Pause(self.at, past, self._steps, self._complete, self._done)

    def next(self, old: Side) -> Step | None:
        """`old`: what is told so far."""
        if self.is_last:
            return None
        passes = None if old.next_at is None or old.next_at > self._until else old.next_at
        coming = self._steps[self._done] if self._done < len(self._steps) else None
        if coming is not None and (passes is None or coming.at <= passes):
            self._done += 1
            step = coming
        elif passes is not None and passes < self._last:
            step = Step(passes)
        elif self._complete:
            step = Step(self._last)
        else:
            return None
        self.at, self.is_last = step.at, self._complete and step.at == self._last
        return step
