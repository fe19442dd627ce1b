"""`manifest.json`: what a lake holds. It alone says which files count and up to where the log is in them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import msgspec

from services.cli.errors import Misused
from services.cli.lake.cells import Types
from services.cli.lake.shapes import TABLES

NAME = "manifest.json"


class DataFile(msgspec.Struct, frozen=True):
    """`path` is within the lake; `columns` are its free ones, with their types."""

    path: str
    rows: int
    bytes: int
    columns: Types = {}


class Passing(msgspec.Struct, frozen=True):
    """Of what changed by then with no event, the rows of customers up to one, by id, are in the lake; the rest isn't yet."""

    through_us: int
    customer: str


class Manifest(msgspec.Struct, kw_only=True):
    """`next_positions` are, by partition of the log, the first that isn't in the lake yet; `rules_place` is set where those are at an instant
    at which rules came into force, and up to whom its rows are in, sealed. `passed_us`: what changed by then with no event is in."""

    format: Literal[1] = 1
    log: str  # which one: its installation and name
    purpose: str
    commit: int = 0
    next_positions: dict[int, int] = {}
    rules_place: bytes = b""
    passed_us: int = 0
    passing: Passing | None = None
    recorded_through: str = ""  # the newest instant of recording that a row of the log has
    events: int = 0  # of sources, ever taken
    tables: dict[str, list[DataFile]] = {}  # in the order in which they came

    def types(self) -> dict[str, Types]:
        """Of the free columns of each table; the first file that has a column decides."""
        found: dict[str, Types] = {table: {} for table in TABLES}
        for table, files in self.tables.items():
            known = found.setdefault(table, {})
            for file in files:
                for column, kind in file.columns.items():
                    known.setdefault(column, kind)
        return found

    def paths(self) -> set[str]:
        return {file.path for files in self.tables.values() for file in files}

    @property
    def rows(self) -> int:
        return sum(file.rows for files in self.tables.values() for file in files)


_decode = msgspec.json.Decoder(Manifest).decode


def load(folder: Path) -> Manifest | None:
    """None when there is none. Raises Misused (MANIFEST_BROKEN)."""
    try:
        return _decode((folder / NAME).read_bytes())
    except FileNotFoundError:
        return None
    except msgspec.DecodeError:
        raise Misused("MANIFEST_BROKEN", f"{folder / NAME} is no manifest of this release") from None


def store(folder: Path, manifest: Manifest) -> None:
    """Replaces it at once and durably: what it says is so from then on, whatever happens next."""
    beside = folder / f".{NAME}.new"
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, folder / NAME)
    sync(folder)


def sync(folder: Path) -> None:
    """Makes the names in a directory durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
