"""A lake's directory. A commit is one replacement of the manifest.

New files are moved to their places before it: until it is there they are nobody's, and the next start deletes them. Files that are
written anew wait beside it, and replace the old ones after it: the next start goes on with that. So whatever dies at any moment,
nobody who reads the directory finds a row twice, and no file that the manifest lists is missing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from services.cli.errors import Misused
from services.cli.lake import parquet
from services.cli.lake.buffers import Waiting
from services.cli.lake.manifest import NAME, DataFile, Manifest, Passing, load, store, sync
from shared import faults

STAGING, LOCK = ".staging", ".lock"
DATA_FILES = "*/day=*/*.parquet"

AMID_STAGING, AMID_MOVES = "amid the staging", "amid the moves"
BEFORE_MANIFEST, AFTER_MANIFEST = "before the manifest", "after the manifest"
POINTS = (AMID_STAGING, AMID_MOVES, BEFORE_MANIFEST, AFTER_MANIFEST)  # at which tests have it killed

SMALL_FILES = 12  # of a table and day, from so many on they become one
SMALL_ROWS = 50_000  # a file with fewer is small
MERGED_ROWS = 200_000  # of files that become one, and of the one: what is in memory when it is written anew
MERGED_BYTES = 16 * 1024 * 1024  # the same, packed

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Tables = dict[str, list[DataFile]]


class Lake:
    """Made by `opened`; nobody else writes to the directory meanwhile."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.manifest = manifest
        self._folder = folder

    def commit(self, waiting: Waiting) -> None:
        """Rows, erasures and positions together, or nothing. Raises OSError."""
        tables = self._without(waiting.erased)
        for (table, day), columns in waiting.tables.items():
            content = parquet.to_arrow(table, columns, waiting.types[table])
            file = self._stage(table, f"{table}/day={day}/{self._next:08d}.parquet", content, waiting.erased)
            if file is not None:
                tables.setdefault(table, []).append(file)
        self._commit(
            tables,
            **_reached(waiting),
            **_passed(waiting),
            recorded_through=_later(self.manifest.recorded_through, waiting.recorded_us),
            events=self.manifest.events + waiting.events,
        )

    def take_out(self, people: Collection[str]) -> None:
        """Every row about them, from all files. Raises OSError."""
        self._commit(self._without(people))

    def people(self) -> Iterator[list[str]]:
        """Whom the rows are about, file by file."""
        for path in sorted(self.manifest.paths()):
            yield parquet.people(self._folder / path)

    def merge_small_files(self) -> None:
        """Makes one of many in each table and day that has too many. Raises OSError."""
        tables = {table: list(files) for table, files in self.manifest.tables.items()}
        merged = False
        for table, files in tables.items():
            for small in _many_small(files):
                content = parquet.joined([self._folder / file.path for file in small])
                one = self._stage(table, small[0].path, content, ())
                tables[table] = [one if file is small[0] and one else file for file in tables[table] if file not in small[1:]]
                merged = True
        if merged:
            self._commit(tables)

    @property
    def _next(self) -> int:
        return self.manifest.commit + 1

    def _without(self, people: Collection[str]) -> Tables:
        """Stages anew, under their names, the files that hold rows about them. What is listed then."""
        left: Tables = {}
        for table, files in self.manifest.tables.items():
            for file in files:
                kept: DataFile | None = file
                if people and parquet.holds(self._folder / file.path, people):
                    kept = self._stage(table, file.path, parquet.read(self._folder / file.path), people)
                if kept is not None:
                    left.setdefault(table, []).append(kept)
        return left

    def _stage(self, table: str, path: str, content: Any, people: Collection[str]) -> DataFile | None:
        """None when no row is left without these people."""
        content = parquet.trimmed(table, parquet.without(content, people) if people else content)
        if not len(content):
            return None
        place = self._staged / path
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        size_bytes = parquet.write(place, content)
        faults.reach(AMID_STAGING)
        return DataFile(path, len(content), size_bytes, parquet.free_types(table, content))

    @property
    def _staged(self) -> Path:
        return self._folder / STAGING / str(self._next)

    def _commit(self, tables: Tables, **changed: Any) -> None:
        staged, old = self._staged, self.manifest.paths()
        in_order = {table: files for table, files in sorted(tables.items()) if files}
        self.manifest = msgspec.structs.replace(self.manifest, commit=self._next, tables=in_order, **changed)
        if staged.exists():
            _sync(folder for folder in (staged, *staged.rglob("*")) if folder.is_dir())
            _sync([staged.parent, self._folder])
        self._move(staged, sorted(self.manifest.paths() - old))
        faults.reach(BEFORE_MANIFEST)
        store(self._folder, self.manifest)
        faults.reach(AFTER_MANIFEST)
        self.tidy()

    def tidy(self) -> None:
        """Brings the directory to what the manifest says."""
        wanted = self.manifest.paths()
        for path in self._folder.glob(DATA_FILES):
            if str(path.relative_to(self._folder)) not in wanted:
                path.unlink()
                _remove_if_empty(path.parent)
                _remove_if_empty(path.parent.parent)
        staged = self._folder / STAGING / str(self.manifest.commit)
        self._move(staged, [str(path.relative_to(staged)) for path in sorted(staged.glob(DATA_FILES))])
        shutil.rmtree(self._folder / STAGING, ignore_errors=True)

    def _move(self, staged: Path, paths: Iterable[str]) -> None:
        changed = {self._folder}
        for path in paths:
            place = self._folder / path
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.replace(staged / path, place)
            changed |= {place.parent, place.parent.parent}
            faults.reach(AMID_MOVES)
        _sync(changed)  # only then may what is staged go


def _reached(waiting: Waiting) -> dict[str, Any]:
    return {"next_positions": waiting.positions, "rules_place": waiting.rules_place} if waiting.positions else {}


def _passed(waiting: Waiting) -> dict[str, Any]:
    if isinstance(waiting.passed, Passing):
        return {"passing": waiting.passed}
    return {} if waiting.passed is None else {"passing": None, "passed_us": waiting.passed}


@contextmanager
def opened(folder: Path, log: str, purpose: str) -> Iterator[Lake]:
    """A new lake in an empty directory, or the one that is there, as its manifest says. Raises Misused (LAKE_BROKEN, LAKE_BUSY,
    LAKE_NOT_EMPTY, LAKE_OF_ANOTHER_LOG, LAKE_OF_ANOTHER_PURPOSE, LAKE_UNWRITABLE, MANIFEST_BROKEN)."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (folder / LOCK).open("wb") as lock:
            _lock(lock, folder)
            lake = Lake(folder, load(folder) or _new(folder, log, purpose))
            _check(lake.manifest, folder, log, purpose)
            lake.tidy()
            yield lake
    except OSError as error:
        raise Misused("LAKE_UNWRITABLE", f"{folder}: {error.strerror or type(error).__name__}") from None
    except parquet.Broken as error:  # whose text may quote a value
        raise Misused("LAKE_BROKEN", f"{folder}: a file isn't what was written there ({type(error).__name__})") from None


def _lock(file: Any, folder: Path) -> None:
    """Goes with the process."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Misused("LAKE_BUSY", f"another export writes to {folder}") from None


def _new(folder: Path, log: str, purpose: str) -> Manifest:
    """From here on its files are ours to delete."""
    if any(path.name not in (LOCK, f".{NAME}.new") for path in folder.iterdir()):
        raise Misused("LAKE_NOT_EMPTY", f"{folder} has files and no {NAME}; a lake begins in an empty directory")
    manifest = Manifest(log=log, purpose=purpose)
    store(folder, manifest)
    return manifest


def _check(manifest: Manifest, folder: Path, log: str, purpose: str) -> None:
    if manifest.log != log:
        raise Misused("LAKE_OF_ANOTHER_LOG", f"{folder} holds {manifest.log}, and the service has {log}")
    if manifest.purpose != purpose:
        raise Misused(
            "LAKE_OF_ANOTHER_PURPOSE", f"{folder} was exported for {manifest.purpose}; another purpose has its own directory"
        )


def _many_small(files: Iterable[DataFile]) -> Iterator[list[DataFile]]:
    """By day, small files that are to become one: the oldest, as many as fit."""
    days: dict[str, list[DataFile]] = {}
    for file in files:
        if file.rows < SMALL_ROWS:
            days.setdefault(file.path.rpartition("/")[0], []).append(file)
    for small in days.values():
        if len(small) >= SMALL_FILES:
            count = sum(1 for rows, size in _running(small) if rows <= MERGED_ROWS and size <= MERGED_BYTES)
            if count > 1:
                yield small[:count]


def _running(files: Iterable[DataFile]) -> Iterator[tuple[int, int]]:
    """Rows and bytes up to each."""
    rows = size_bytes = 0
    for file in files:
        rows, size_bytes = rows + file.rows, size_bytes + file.bytes
        yield rows, size_bytes


def _sync(folders: Iterable[Path]) -> None:
    for folder in folders:
        sync(folder)


def _later(text: str, recorded_us: int) -> str:
    return max(text, (EPOCH + timedelta(microseconds=recorded_us)).isoformat(timespec="microseconds")) if recorded_us else text


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()
