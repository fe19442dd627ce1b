"""A lake's directory. A commit is one replacement of the manifest; files are staged before it and moved to their places after it.

Whatever dies at any moment: before the replacement nothing has happened, after it the next start moves what is staged. So no row is
ever in two files that somebody reads, or in none.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from services.cli.errors import Misused
from services.cli.lake import parquet
from services.cli.lake.buffers import Waiting
from services.cli.lake.manifest import NAME, DataFile, Manifest, load, store, sync
from shared import faults

STAGING, LOCK = ".staging", ".lock"
DATA_FILES = "*/day=*/*.parquet"

BEFORE_MANIFEST, AFTER_MANIFEST, AMID_MOVES = "before the manifest", "after the manifest", "amid the moves"
POINTS = (BEFORE_MANIFEST, AFTER_MANIFEST, AMID_MOVES)  # at which tests have it killed

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Lake:
    """Made by `opened`; nobody else writes to the directory meanwhile."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.manifest = manifest
        self._folder = folder

    def commit(self, waiting: Waiting) -> None:
        """Rows, erasures and positions together, or nothing. Raises OSError."""
        number = self.manifest.commit + 1
        staged = self._folder / STAGING / str(number)
        tables = {table: list(files) for table, files in self.manifest.tables.items()}
        if waiting.erased:
            tables = self._take_out(waiting.erased, tables, staged)
        for (table, day), columns in waiting.tables.items():
            content = parquet.to_arrow(table, columns, waiting.types[table])
            file = _stage(staged, table, f"{table}/day={day}/{number:08d}.parquet", content, waiting.erased)
            if file is not None:
                tables.setdefault(table, []).append(file)
        self.manifest = msgspec.structs.replace(
            self.manifest,
            commit=number,
            next_positions=waiting.positions,
            recorded_through=_later(self.manifest.recorded_through, waiting.recorded_us),
            events=self.manifest.events + waiting.events,
            tables={table: files for table, files in sorted(tables.items()) if files},
        )
        if staged.exists():
            for folder in (*staged.glob("*/day=*"), *staged.glob("*"), staged, staged.parent, self._folder):
                sync(folder)
        faults.reach(BEFORE_MANIFEST)
        store(self._folder, self.manifest)
        faults.reach(AFTER_MANIFEST)
        self.tidy()

    def tidy(self) -> None:
        """Brings the directory to what the manifest says."""
        self._move(self._folder / STAGING / str(self.manifest.commit))
        wanted = self.manifest.paths()
        for path in self._folder.glob(DATA_FILES):
            if str(path.relative_to(self._folder)) not in wanted:
                path.unlink()
                _remove_if_empty(path.parent)
                _remove_if_empty(path.parent.parent)
        shutil.rmtree(self._folder / STAGING, ignore_errors=True)

    def _move(self, staged: Path) -> None:
        changed = {self._folder}
        for path in sorted(staged.glob(DATA_FILES)):
            place = self._folder / path.relative_to(staged)
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.replace(path, place)
            changed |= {place.parent, place.parent.parent}
            faults.reach(AMID_MOVES)
        for folder in changed:  # only then may what is staged go
            sync(folder)

    def _take_out(self, erased: set[str], tables: dict[str, list[DataFile]], staged: Path) -> dict[str, list[DataFile]]:
        """Stages anew, under the same names, the files that hold rows about the erased."""
        left: dict[str, list[DataFile]] = {}
        for table, files in tables.items():
            for file in files:
                kept: DataFile | None = file
                if parquet.holds(self._folder / file.path, erased):
                    kept = _stage(staged, table, file.path, parquet.read(self._folder / file.path), erased)
                if kept is not None:
                    left.setdefault(table, []).append(kept)
        return left


@contextmanager
def opened(folder: Path, log: str, purpose: str) -> Iterator[Lake]:
    """A new lake in an empty directory, or the one that is there, as its manifest says. Raises Misused (LAKE_BUSY, LAKE_NOT_EMPTY,
    LAKE_OF_ANOTHER_LOG, LAKE_OF_ANOTHER_PURPOSE, LAKE_UNWRITABLE, MANIFEST_BROKEN)."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (folder / LOCK).open("wb") as lock:
            _lock(lock, folder)
            lake = Lake(folder, load(folder) or _new(folder, log, purpose))
            _check(lake.manifest, folder, log, purpose)
            lake.tidy()
            yield lake
    except OSError as error:
        raise Misused("LAKE_UNWRITABLE", f"{folder}: {error.strerror}") from error


def _lock(file: Any, folder: Path) -> None:
    """Goes with the process."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Misused("LAKE_BUSY", f"another export writes to {folder}") from None


def _new(folder: Path, log: str, purpose: str) -> Manifest:
    if any(path.name not in (LOCK, STAGING, f".{NAME}.new") for path in folder.iterdir()):
        raise Misused("LAKE_NOT_EMPTY", f"{folder} has files and no {NAME}; a lake begins in an empty directory")
    return Manifest(log=log, purpose=purpose)


def _check(manifest: Manifest, folder: Path, log: str, purpose: str) -> None:
    if manifest.log != log:
        raise Misused("LAKE_OF_ANOTHER_LOG", f"{folder} holds {manifest.log}, and the service has {log}")
    if manifest.purpose != purpose:
        raise Misused(
            "LAKE_OF_ANOTHER_PURPOSE", f"{folder} was exported for {manifest.purpose}; another purpose has its own directory"
        )


def _stage(staged: Path, table: str, path: str, content: Any, gone: set[str]) -> DataFile | None:
    """None when no row is left."""
    content = parquet.trimmed(table, parquet.without(content, gone) if gone else content)
    if not len(content):
        return None
    (staged / path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    size_bytes = parquet.write(staged / path, content)
    return DataFile(path, len(content), size_bytes, parquet.free_types(table, content))


def _later(text: str, recorded_us: int) -> str:
    return max(text, (EPOCH + timedelta(microseconds=recorded_us)).isoformat(timespec="microseconds")) if recorded_us else text


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()
