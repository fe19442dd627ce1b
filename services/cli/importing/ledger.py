"""What became of the rows, counted in the order of the file: a row counts once all before it have their verdict.

So the place that is remembered, the counts and the report of rejects always belong together, whatever order answers come in.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from services.cli.errors import Misused
from services.cli.importing.rows import Place, Row

ACCEPTED, DUPLICATE, QUARANTINED, REJECTED = "accepted", "duplicate", "quarantined", "rejected"
SKIPPED = "skipped"  # as the mapping says
TAKEN = frozenset({ACCEPTED, DUPLICATE, QUARANTINED})


class Entry:
    """A row without a verdict yet, or with one that can't be counted yet."""

    __slots__ = ("after", "field", "line", "message", "reason", "row", "status")

    def __init__(self, row: Row) -> None:
        self.row = row.at.row
        self.line = row.at.line
        self.after = row.after
        self.status = self.reason = self.message = self.field = ""

    def take(self, status: str) -> None:
        self.status = status

    def refuse(self, reason: str, message: str = "", field: str = "") -> None:
        self.reason, self.message, self.field = reason, message, field
        self.status = REJECTED  # last: whoever sees it sees the rest


class Counts(msgspec.Struct):
    """Rows by what became of them, and rejected ones by reason."""

    statuses: dict[str, int] = {}
    reasons: dict[str, int] = {}

    @property
    def rows(self) -> int:
        return sum(self.statuses.values())

    @property
    def rejected(self) -> int:
        return self.statuses.get(REJECTED, 0)


class Rejects:
    """FILE.rejects.jsonl: row, line, reason. The row itself stays in the file that the user has."""

    def __init__(self, path: Path, size_bytes: int = 0) -> None:
        """What lies beyond `size_bytes` was written after the progress was last saved, and will be again."""
        self.path = path
        self._file: Any = None
        with self._told():
            if size_bytes:
                self._file = path.open("r+b")
                self._file.truncate(size_bytes)
                self._file.seek(size_bytes)
            else:
                path.unlink(missing_ok=True)

    def add(self, entry: Entry) -> None:
        told = {"row": entry.row, "line": entry.line, "reason": entry.reason, "field": entry.field, "message": entry.message}
        with self._told():
            if self._file is None:
                self._file = self.path.open("wb")
            self._file.write(msgspec.json.encode({name: value for name, value in told.items() if value}) + b"\n")

    def flush(self) -> int:
        """How many bytes of it are in the file."""
        if self._file is None:
            return 0
        with self._told():
            self._file.flush()
        return int(self._file.tell())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Misused("REJECTS_UNWRITABLE", f"{self.path}: {error.strerror}") from error


class Ledger:
    """`place` is where the first row begins that is not counted. One thread opens and advances; others give verdicts."""

    def __init__(self, place: Place | None, counts: Counts, rejects: Rejects) -> None:
        self.place = place
        self._statuses: Counter[str] = Counter(counts.statuses)
        self._reasons: Counter[str] = Counter(counts.reasons)
        self._rejects = rejects
        self._open: deque[Entry] = deque()

    def open(self, row: Row) -> Entry:
        entry = Entry(row)
        self._open.append(entry)
        return entry

    def advance(self) -> None:
        while self._open and self._open[0].status:
            entry = self._open.popleft()
            self.place = entry.after
            self._statuses[entry.status] += 1
            if entry.status == REJECTED:
                self._reasons[entry.reason] += 1
                self._rejects.add(entry)

    @property
    def open_rows(self) -> int:
        return len(self._open)

    @property
    def counts(self) -> Counts:
        return Counts(dict(self._statuses), dict(self._reasons))
