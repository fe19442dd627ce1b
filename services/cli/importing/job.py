"""One import: opens what it needs, finds out where to go on, runs, and leaves its progress whatever happens."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import msgspec

from services.cli.endpoints import find_http_door, find_write_key
from services.cli.errors import Misused
from services.cli.importing import progress
from services.cli.importing.csv_rows import CsvRows
from services.cli.importing.door import ANSWER_TIMEOUT_S, Door
from services.cli.importing.json_rows import JsonRows
from services.cli.importing.lanes import Lanes
from services.cli.importing.ledger import REJECTED, Counts, Ledger, Rejects
from services.cli.importing.mapper import Mapper
from services.cli.importing.mapping import EventMapping, MappingError, check_columns, parse_mapping, without_redacted
from services.cli.importing.parquet_rows import ParquetRows
from services.cli.importing.progress import Progress
from services.cli.importing.rows import Content, Place, Rows, content_of, empty, format_of
from services.cli.importing.run import Nowhere, Run
from services.cli.telling import Teller, telling

NOTE_EVERY_S = 10.0  # why something is sent again
STOP_WAIT_S = ANSWER_TIMEOUT_S + 1.0  # what is on its way is answered by then, or isn't


@dataclass(frozen=True)
class Options:
    file: Path
    mapping: Path
    write_key: str
    url: str
    format: str
    state_dir: Path
    restart: bool
    dry_run: bool


@dataclass
class Job:
    options: Options
    environ: Mapping[str, str]
    mapping: EventMapping
    rows: Rows
    content: Content
    setup: str
    write_key: str
    before: Progress | None
    opened: IO[bytes]
    rejects: Rejects = field(init=False)
    ledger: Ledger = field(init=False)
    kept: str = ""  # where what an earlier import left is now
    lanes: Lanes | None = None
    rows_a_second: int = 0

    def __post_init__(self) -> None:
        before = self.before
        self.rejects = Rejects(
            self.path("dry-run.jsonl" if self.options.dry_run else "rejects.jsonl"), before.rejects_bytes if before else 0
        )
        place = Place(before.row, before.line, before.offset) if before else None
        self.ledger = Ledger(place, before.counts if before else Counts(), self.rejects)

    @classmethod
    @contextmanager
    def open(cls, options: Options, environ: Mapping[str, str]) -> Iterator[Job]:
        """Raises Misused when file, mapping and an earlier import don't fit together."""
        mapping_text = _read(options.mapping)
        mapping = _mapping(options.mapping, mapping_text)
        with _locked(options.file) as opened:
            rows = _rows(options, mapping, opened)
            mapping = without_redacted(mapping, columns := rows.columns())
            if columns is not None:
                with _blaming(options.mapping):
                    check_columns(mapping, columns)
            write_key = "" if options.dry_run else options.write_key or find_write_key(environ)
            setup = progress.setup_of(mapping_text, write_key)
            found = None if options.restart or options.dry_run else progress.read(_path(options, "progress.json"))
            with telling("reading") as teller:
                content = _content(opened, found.size_bytes if found else 0, teller)
            before = _earlier(options.file, found, content, setup) if found else None
            kept = _keep(options) if found and found.row and before is None else ""
            job = cls(options, environ, mapping, rows, content, setup, write_key, before, opened, kept=kept)
            try:
                yield job
            finally:
                job.rejects.close()

    @property
    def is_done(self) -> bool:
        return self.before is not None and self.before.done

    @property
    def counts(self) -> Counts:
        return self.ledger.counts

    def path(self, kind: str) -> Path:
        return _path(self.options, kind)

    def run(self) -> None:
        """Raises CommandError, KeyboardInterrupt; what has its verdict by then is remembered."""
        began, rows_before = time.monotonic(), self.counts.rows
        mapper = Mapper(self.mapping, self.content.digest)
        stamp = _stamp(self.opened)
        self._save()
        with telling("importing") as teller:
            self.lanes = None if self.options.dry_run else self._lanes(teller)

            def told(ledger: Ledger) -> None:
                counts = ledger.counts
                rate = (counts.rows - rows_before) / max(time.monotonic() - began, 0.001)
                teller.tell(self._share(), f"{counts.rows:,} rows, {counts.rejected:,} rejected, {rate:,.0f} rows/s")

            with self.lanes.interruptible() if self.lanes else nullcontext():
                try:
                    Run(mapper, self.ledger, self.lanes or Nowhere(), self._save, told).whole(
                        self.rows.read(self.mapping.columns(), self.ledger.place)
                    )
                except BaseException:
                    self._end(finished=False)
                    teller.note(f"ended early, after {self.counts.rows:,} rows: {self._told()}")
                    raise
        if _stamp(self.opened) != stamp:
            raise Misused("FILE_CHANGED", f"{self.options.file} was written to while it was imported")
        self._end(finished=True)
        self.rows_a_second = round((self.counts.rows - rows_before) / max(time.monotonic() - began, 0.001))

    def _told(self) -> str:
        return ", ".join(f"{count:,} {status}" for status, count in sorted(self.counts.statuses.items())) or "none has its verdict"

    def result(self) -> dict[str, Any]:
        counts = self.counts
        return {
            "rows": counts.rows,
            **{status: counts.statuses[status] for status in sorted(counts.statuses) if status != REJECTED},
            "rejected": counts.rejected,
            "reasons": counts.reasons,
            "rejects": str(self.rejects.path) if counts.rejected else "",
            "position": self.lanes.position if self.lanes else "",
            "rows_a_second": self.rows_a_second,
        }

    def _lanes(self, teller: Teller) -> Lanes:
        url = self.options.url or find_http_door(self.environ)

        noted_at = -NOTE_EVERY_S

        def told(why: str) -> None:
            nonlocal noted_at
            if time.monotonic() - noted_at > NOTE_EVERY_S:
                noted_at = time.monotonic()
                teller.note(f"{why}; sending again")

        return Lanes(lambda stop: Door(url, self.write_key, stop, told))

    def _end(self, finished: bool) -> None:
        if self.lanes is not None:
            self.lanes.stop(STOP_WAIT_S)
        self.ledger.advance()
        self._save(finished)

    def _save(self, done: bool = False) -> None:
        rejects_bytes = self.rejects.flush()
        if self.options.dry_run:
            return
        place = self.ledger.place or Place(0, 0, 0)
        progress.write(
            self.path("progress.json"),
            Progress(
                content=self.content.digest.hex(),
                size_bytes=self.content.size_bytes,
                setup=self.setup,
                row=place.row,
                line=place.line,
                offset=place.offset,
                counts=self.counts,
                rejects_bytes=rejects_bytes,
                done=done,
            ),
        )

    def _share(self) -> float:
        return self.rows.share_read(self.ledger.place) if self.ledger.place else 0.0


def _earlier(file: Path, found: Progress, content: Content, setup: str) -> Progress | None:
    """What to go on from; None: from the first row. Raises Misused (FILE_CHANGED) where that would double rows."""
    if found.row == 0:
        return None
    if found.content == content.digest.hex():
        return found if found.setup == setup else None
    grown = content.earlier_digest is not None and content.earlier_digest.hex() == found.content
    if found.done and not grown:
        return None  # another delivery under the same name
    rows = f"{found.counts.rows:,} rows of it were imported"
    failure = Misused("FILE_CHANGED", f"{file} has grown since {rows}" if grown else f"{file} is not what it was when {rows}")
    failure.hint = "--restart imports it as a new file: rows that were in the old one too count again unless messageId is mapped."
    raise failure


def _keep(options: Options) -> str:
    """What an earlier import of this name did, and rejected, stays to be read."""
    moved = progress.keep([_path(options, "progress.json"), _path(options, "rejects.jsonl")])
    return ", ".join(str(path) for path in moved)


def _path(options: Options, kind: str) -> Path:
    return options.state_dir / f"{options.file.name}.{kind}"


def _rows(options: Options, mapping: EventMapping, opened: IO[bytes]) -> Rows:
    if not (size_bytes := os.fstat(opened.fileno()).st_size):
        raise empty(f"{options.file} is empty")
    match format_of(options.file, options.format):
        case "csv":
            return CsvRows(opened, mapping.csv, size_bytes)
        case "jsonl":
            return JsonRows(opened, size_bytes)
    return ParquetRows(options.file)


def _content(opened: IO[bytes], earlier_bytes: int, teller: Teller) -> Content:
    size_bytes = os.fstat(opened.fileno()).st_size or 1
    return content_of(opened, earlier_bytes, lambda read: teller.tell(read / size_bytes, "reading"))


@contextmanager
def _locked(path: Path) -> Iterator[IO[bytes]]:
    """The lock is on the file itself, and goes with the process."""
    try:
        opened = path.open("rb")
    except OSError as error:
        raise Misused("FILE_UNREADABLE", f"{path}: {error.strerror}") from error
    with opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Misused("IMPORT_RUNNING", f"{path} is being imported by another process") from None
        except OSError:  # a file system without locks: the message ids still keep rows from doubling
            pass
        yield opened


def _mapping(path: Path, text: bytes) -> EventMapping:
    try:
        data = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise Misused("MAPPING_INVALID", f"{path} is not JSON: {error}") from error
    with _blaming(path):
        return parse_mapping(data)


@contextmanager
def _blaming(path: Path) -> Iterator[None]:
    try:
        yield
    except MappingError as error:
        raise Misused("MAPPING_INVALID", f"{path}: {error}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Misused("MAPPING_UNREADABLE", f"{path}: {error.strerror}") from error


def _stamp(opened: IO[bytes]) -> tuple[int, int]:
    found = os.fstat(opened.fileno())
    return found.st_size, found.st_mtime_ns
