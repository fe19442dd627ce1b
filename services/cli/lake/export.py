"""Takes changes from the service into a lake: once, or on and on. Stops cleanly when it is told to."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from services.cli.errors import CommandError, NotReachable
from services.cli.lake.buffers import Waiting
from services.cli.lake.directory import Lake
from services.cli.lake.manifest import Passing
from services.cli.lake.progress import Progress
from services.cli.telling import Teller

if TYPE_CHECKING:
    from c360.profile.v1 import export_pb2


CHECK_EVERY_S = 3600.0  # with --follow; each run begins with it
COMMIT_EVERY_S = 30.0  # what is killed loses no more than that, however slowly it goes


class Stop:
    """Set by the first Ctrl-C or SIGTERM, which also ends the call under way; a second Ctrl-C interrupts whatever is done."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self.call: Any = None

    @property
    def asked(self) -> bool:
        return self._asked.is_set()

    def ask(self, *_: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self._asked.set()
        if self.call is not None:
            self.call.cancel()

    def wait(self, seconds: float) -> None:
        self._asked.wait(seconds)


@contextmanager
def stoppable() -> Iterator[Stop]:
    stop = Stop()
    before = {number: signal.signal(number, stop.ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Counts:
    """Of this run."""

    def __init__(self) -> None:
        self.events = self.rows = self.erased = self.taken_out = self.withheld = 0

    def add(self, waiting: Waiting) -> None:
        self.events += waiting.events
        self.rows += waiting.rows
        self.erased += len(waiting.erased)


class Exporter:
    """Takes out whose permission has ended, then takes what is new."""

    def __init__(
        self,
        lake: Lake,
        stop: Stop,
        teller: Teller,
        clock: Callable[[], float] = time.monotonic,
        commit_every_s: float = COMMIT_EVERY_S,
    ) -> None:
        """`clock`: in seconds."""
        self._lake = lake
        self._stop = stop
        self._teller = teller
        self._clock = clock
        self._commit_every_s = commit_every_s
        self.counts = Counts()
        self.progress = Progress(teller, clock)
        self._checked_at = self._refreshed_at = -CHECK_EVERY_S

    def once(self, request: export_pb2.ExportChangesRequest) -> None:
        """Up to the end of the log, or until it is stopped; what came until then is committed. Raises CommandError."""
        if self._clock() - self._checked_at >= CHECK_EVERY_S:
            self._check(request.purpose)
        self._begin()
        failure: CommandError | None = None
        withheld = self.counts.withheld
        self.progress.begin()
        try:
            for answer in self._answers(request):
                self.counts.withheld = withheld + answer.withheld_count
                self._take(answer)
        except CommandError as error:
            failure = error
        self._commit()
        if failure is not None and not self._stop.asked:
            raise failure
        if not self._stop.asked and self._clock() - self._refreshed_at >= CHECK_EVERY_S:
            self._refresh()

    def follow(self, request: export_pb2.ExportChangesRequest, every_s: float) -> None:
        """Again and again, until it is stopped; while the service is away or busy, it tries on. Raises CommandError."""
        while not self._stop.asked:
            try:
                self.once(request)
            except CommandError as failure:
                if not isinstance(failure, NotReachable) and failure.reason != "EXPORTS_BUSY":
                    raise
                self._teller.note(f"{failure.reason}: {failure.message}; trying again in {every_s:g} s")
            self._stop.wait(every_s)

    def _check(self, purpose: str) -> None:
        """Stopped amid it, it takes out nobody; the next one will."""
        from services.cli.lake.permission import refused_of

        people = self.progress.files(self._lake.people(), len(self._lake.manifest.paths()))
        gone = refused_of(people, purpose, lambda: self._stop.asked)
        if self._stop.asked:
            return
        if gone:
            self._lake.take_out(gone)
            self.counts.taken_out += len(gone)
        self._checked_at = self._clock()

    def _refresh(self) -> None:
        """What changed with no event, one time of rules after the other. Stopped amid it, it keeps what is committed, and the next one
        goes on there."""
        since_us = self._lake.manifest.passed_us
        while not self._stop.asked:
            since_us, goes_on = self._refresh_under_one(since_us)
            if not goes_on:
                self._refreshed_at = self._clock()
                return

    def _refresh_under_one(self, since_us: int) -> tuple[int, bool]:
        """Up to when it looked, and whether there is more to look at behind that."""
        from services.cli.lake.lapses import lapsed_of

        self._begin()
        self.progress.begin()
        through_us, goes_on = since_us, False
        for lapsed in lapsed_of(self._lake.people(), self._lake.manifest, since_us, lambda: self._stop.asked):
            for traits in lapsed.traits:
                self._waiting.take_lapse(traits, lapsed.through_us)
            through_us, goes_on = lapsed.through_us, lapsed.goes_on
            self.progress.looked_at("changes with no event", lapsed.looked_at, lapsed.customers)
            if self._is_due:
                self._waiting.passed = Passing(through_us, lapsed.customer)
                self._commit()
                self._begin()
        if not self._stop.asked and (self._waiting.rows or goes_on or self._lake.manifest.passing is not None):
            self._waiting.passed = through_us
            self._commit()
        return through_us, goes_on

    def _begin(self) -> None:
        """`_open` are changes of an instant whose end hasn't come yet."""
        self._waiting = Waiting(self._lake.manifest.types())
        self._open: list[Any] = []
        self._begun_at = self._clock()

    @property
    def _is_due(self) -> bool:
        return self._waiting.is_full or self._clock() - self._begun_at >= self._commit_every_s

    def _take(self, answer: export_pb2.ExportChangesResponse) -> None:
        self._open.extend(answer.changes)
        if not answer.next_positions:
            return
        for change in self._open:
            self._waiting.take(change)
        self._open = []
        self._waiting.positions = {position.partition: position.number for position in answer.next_positions}
        self._waiting.rules_place = answer.new_rules.place
        if self._is_due:
            self._commit()
            self._begin()
        self.progress.took(answer, self.counts.events + self._waiting.events)

    def _commit(self) -> None:
        waiting, manifest = self._waiting, self._lake.manifest
        reached = waiting.positions, waiting.rules_place
        moved = waiting.positions and reached != (manifest.next_positions, manifest.rules_place)
        if moved or self._waiting.passed is not None:
            self._lake.commit(self._waiting)
            self.counts.add(self._waiting)
            self._lake.merge_small_files()
            self.progress.committed(self._lake.manifest.rows)

    def _answers(self, request: export_pb2.ExportChangesRequest) -> Iterator[export_pb2.ExportChangesResponse]:
        """Without a deadline: how long it takes depends on how much there is."""
        from c360.common.v1.common_pb2 import Position
        from c360.profile.v1 import export_pb2_grpc

        from services.cli.client import connect

        del request.next_positions[:]
        request.rules_place = self._lake.manifest.rules_place
        positions = self._lake.manifest.next_positions.items()
        request.next_positions.extend(
            Position(log="profile", partition=partition, number=number) for partition, number in positions
        )
        with connect("profile") as channel:
            self._stop.call = call = export_pb2_grpc.ExportServiceStub(channel).ExportChanges(request)
            try:
                yield from call
            finally:
                call.cancel()
                self._stop.call = None
