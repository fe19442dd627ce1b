"""How far an export is, and how fast: each kind of work by its own count, over the time that it took alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from services.cli.telling import Teller

if TYPE_CHECKING:
    from c360.profile.v1 import export_pb2


class Pace:
    def __init__(self, before: int = 0) -> None:
        """`before`: how many were done when it began."""
        self.reached = before
        self._before = before
        self._spent_s = 0.0

    def reach(self, reached: int, spent_s: float) -> None:
        self.reached = reached
        self._spent_s += spent_s

    @property
    def a_second(self) -> int:
        return round((self.reached - self._before) / max(self._spent_s, 0.001))


class Progress:
    """`clock`: in seconds. The time since what was told before, or since `begin`, is what was done took."""

    def __init__(self, teller: Teller, clock: Callable[[], float]) -> None:
        self._teller = teller
        self._clock = clock
        self._since = clock()
        self._events, self._customers, self._what = Pace(), Pace(), ""
        self._kept = ""

    @property
    def events_a_second(self) -> int:
        return self._events.a_second

    def begin(self) -> None:
        self._since, self._what = self._clock(), ""

    def took(self, answer: export_pb2.ExportChangesResponse, events: int) -> None:
        """`events`: of sources, so far."""
        if answer.HasField("new_rules"):
            rules = answer.new_rules
            self.looked_at(f"rules {rules.version}", rules.looked_at_count, rules.customer_count)
            return
        self._events.reach(events, self._spent())
        self._teller.tell(
            answer.read_count / (answer.total_count or 1), f"{events:,} events, {self._events.a_second:,}/s{self._kept}"
        )

    def looked_at(self, what: str, reached: int, customers: int) -> None:
        """`customers` is 0 where it goes on from there, as long as nothing was done."""
        if not customers or what != self._what or reached < self._customers.reached:
            self._what, self._customers = what, Pace(0 if customers else reached)
        spent_s = self._spent()
        if customers:
            self._customers.reach(reached, spent_s)
            text = f"{what}: {reached:,} of {customers:,} customers, {self._customers.a_second:,}/s{self._kept}"
            self._teller.tell(reached / customers, text)

    def committed(self, rows: int) -> None:
        """So many are in the lake, whatever happens to this run."""
        self._kept = f", {rows:,} rows kept"

    def files(self, people: Iterable[list[str]], count: int) -> Iterator[list[str]]:
        """Of those in each it is asked whether they may stay."""
        for number, ids in enumerate(people, 1):
            yield ids
            self._teller.tell(number / count, f"permissions: {number:,} of {count:,} files")

    def _spent(self) -> float:
        before, self._since = self._since, self._clock()
        return self._since - before
