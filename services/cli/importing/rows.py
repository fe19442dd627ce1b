"""Rows of a file, one at a time: memory doesn't grow with the file, and reading can go on from any place."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

from services.cli.errors import Misused

RECORD_BYTES_AT_MOST = 1024 * 1024  # of one row; the service takes 32 KB of an event
READ_BYTES = 1024 * 1024
FORMATS = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".parquet": "parquet"}


class Place(NamedTuple):
    """Where a row begins. Rows count from 1 without a header, lines from 1; a format without lines has line 0."""

    row: int = 1
    line: int = 1
    offset: int = 0


class Row(NamedTuple):
    """`values` are those of the wanted columns, in that order; None when the row can't be read, and then `reason` says why."""

    at: Place
    after: Place
    values: Sequence[Any] | None
    reason: str = ""


class Rows(Protocol):
    def columns(self) -> list[str] | None:
        """None when only the rows themselves could tell."""
        ...

    def read(self, columns: Sequence[str], start: Place | None) -> Iterator[Row]:
        """From a place that a row named before, or from the first row. Raises Misused (FILE_BROKEN)."""
        ...

    def share_read(self, place: Place) -> float:
        """How much of the file lies before that, from 0 to 1."""
        ...


def format_of(path: Path, named: str = "") -> str:
    """Raises Misused (FORMAT_UNKNOWN)."""
    found = named or FORMATS.get(path.suffix.lower(), "")
    if found not in FORMATS.values():
        raise Misused("FORMAT_UNKNOWN", f"{path.name}: --format is one of csv, jsonl, parquet")
    return found


class Content(NamedTuple):
    """SHA-256 of a file, and of its first bytes as far as an earlier import knew it; None when it is shorter than that."""

    digest: bytes
    earlier_digest: bytes | None
    size_bytes: int


def content_of(file: IO[bytes], earlier_bytes: int, told: Callable[[int], None]) -> Content:
    """`told` hears how many bytes were read so far."""
    file.seek(0)
    digest, size_bytes, earlier = hashlib.sha256(), 0, None
    while part := file.read(READ_BYTES):
        if size_bytes <= earlier_bytes < size_bytes + len(part):
            earlier = digest.copy()
            earlier.update(part[: earlier_bytes - size_bytes])
        digest.update(part)
        size_bytes += len(part)
        told(size_bytes)
    if size_bytes == earlier_bytes:
        earlier = digest
    return Content(digest.digest(), earlier.digest() if earlier else None, size_bytes)


def empty(problem: str) -> Misused:
    return Misused("FILE_EMPTY", problem)


def broken(problem: str) -> Misused:
    return Misused("FILE_BROKEN", problem)
