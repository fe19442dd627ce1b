"""Reads, maps and sends a file to its end, and remembers how far it came."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Protocol

from services.cli.importing.cells import RowRefused, RowSkipped
from services.cli.importing.ledger import SKIPPED, Entry, Ledger
from services.cli.importing.mapper import Mapped, Mapper
from services.cli.importing.rows import Row

LOOK_ROWS = 256  # between two looks at answers, clock and failures
OPEN_ROWS_AT_MOST = 50_000  # without a verdict: what a lane that is held up may let the others get ahead
WAIT_S = 0.02
SAVE_EVERY_S = 1.0


class Target(Protocol):
    """Where events go: the lanes, or nowhere when it is only tried."""

    def add(self, entry: Entry, mapped: Mapped) -> None: ...

    def flush_stale(self) -> None: ...

    def flush(self) -> None: ...

    def look(self) -> None: ...


class Nowhere:
    def add(self, entry: Entry, mapped: Mapped) -> None:
        entry.take("readable")

    def flush_stale(self) -> None: ...

    def flush(self) -> None: ...

    def look(self) -> None: ...


class Run:
    """`save` writes down how far the ledger is, `told` shows it."""

    def __init__(
        self, mapper: Mapper, ledger: Ledger, target: Target, save: Callable[[], None], told: Callable[[Ledger], None]
    ) -> None:
        self._mapper = mapper
        self._ledger = ledger
        self._target = target
        self._save = save
        self._told = told
        self._saved_at = time.monotonic()

    def whole(self, rows: Iterator[Row]) -> None:
        """Returns when every row has its verdict. Raises CommandError."""
        for number, row in enumerate(rows):
            self._add(row)
            if number % LOOK_ROWS == 0:
                self._target.flush_stale()
                self._look()
                while self._ledger.open_rows > OPEN_ROWS_AT_MOST:
                    self._wait()
        self._target.flush()
        self._look()
        while self._ledger.open_rows:
            self._wait()

    def _add(self, row: Row) -> None:
        entry = self._ledger.open(row)
        if row.values is None:
            entry.refuse(row.reason)
            return
        try:
            mapped = self._mapper.event(row.at.row, row.values)
        except RowSkipped:
            entry.take(SKIPPED)
            return
        except RowRefused as refused:
            entry.refuse(refused.reason, field=refused.field)
            return
        self._target.add(entry, mapped)

    def _wait(self) -> None:
        self._target.flush()
        time.sleep(WAIT_S)
        self._look()

    def _look(self) -> None:
        self._target.look()
        self._ledger.advance()
        self._told(self._ledger)
        if time.monotonic() - self._saved_at > SAVE_EVERY_S:
            self._save()
            self._saved_at = time.monotonic()
