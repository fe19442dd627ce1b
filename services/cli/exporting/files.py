"""Files that rows are written into as they come; under another name until they are whole."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Protocol

from services.cli.errors import Misused
from services.cli.exporting.columns import COLUMNS
from services.cli.importing.parquet_rows import NEEDS_PYARROW
from services.cli.whole_files import whole

GROUP_ROWS = 50_000  # of a row group: what is kept in memory until it is written
GROUP_BYTES = 64 * 1024 * 1024  # of text in it
FORMATS = {".parquet": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv"}

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet takes text that begins so for a formula, and runs it

RowOut = dict[str, Any]


class Writer(Protocol):
    def write(self, rows: Sequence[RowOut]) -> None: ...

    def close(self) -> None:
        """Everything is in the file."""
        ...

    def abandon(self) -> None:
        """The file won't be wanted; nothing is written to it any more."""
        ...


class JsonWriter:
    """An object a line; nulls are left out, JSON texts are objects."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, rows: Sequence[RowOut]) -> None:
        for row in rows:
            parts = [f"{json.dumps(name)}:{_as_json(name, value)}" for name, value in row.items() if value is not None]
            self._file.write(f"{{{','.join(parts)}}}\n".encode())

    def close(self) -> None:
        self._file.flush()

    def abandon(self) -> None: ...


class CsvWriter:
    """Unless `raw`, a text that a spreadsheet would run begins with an apostrophe."""

    def __init__(self, file: IO[bytes], raw: bool = False) -> None:
        self._as_text = _as_text if raw else _as_safe_text
        self._lines = _TextLines(file)
        self._writer = csv.writer(self._lines, lineterminator="\r\n")  # RFC 4180; with "\n" alone a carriage return isn't quoted
        self._writer.writerow(COLUMNS)

    def write(self, rows: Sequence[RowOut]) -> None:
        self._writer.writerows([self._as_text(value) for value in row.values()] for row in rows)

    def close(self) -> None:
        self._lines.file.flush()

    def abandon(self) -> None: ...


class ParquetWriter:
    def __init__(self, file: IO[bytes]) -> None:
        import pyarrow
        from pyarrow import parquet

        kinds = {"text": pyarrow.string(), "instant": pyarrow.timestamp("us", "UTC"), "flag": pyarrow.bool_()}
        self._arrow = pyarrow
        self._schema = pyarrow.schema([(name, kinds[kind]) for name, kind in COLUMNS.items()])
        self._writer: Any = parquet.ParquetWriter(file, self._schema, compression="zstd")
        self._rows: list[RowOut] = []
        self._size_bytes = 0

    def write(self, rows: Sequence[RowOut]) -> None:
        for row in rows:
            self._rows.append(row)
            self._size_bytes += sum(len(value) for value in row.values() if isinstance(value, str))
            if len(self._rows) >= GROUP_ROWS or self._size_bytes >= GROUP_BYTES:
                self._write_group()

    def close(self) -> None:
        if self._rows:
            self._write_group()
        self._writer.close()

    def abandon(self) -> None:
        """The library's writer would close itself when it is collected, into a file that is closed by then."""
        self._rows = []
        with contextlib.suppress(self._arrow.ArrowException, OSError):
            self._writer.close()

    def _write_group(self) -> None:
        self._writer.write_table(self._arrow.Table.from_pylist(self._rows, schema=self._schema))
        self._rows, self._size_bytes = [], 0


class _TextLines:
    """What the CSV writer writes text into."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file

    def write(self, text: str) -> int:
        return self.file.write(text.encode())


WRITERS: dict[str, type[JsonWriter] | type[CsvWriter] | type[ParquetWriter]] = {
    "parquet": ParquetWriter,
    "jsonl": JsonWriter,
    "csv": CsvWriter,
}


def format_of(path: Path, named: str) -> str:
    """Raises Misused (FORMAT_UNKNOWN)."""
    found = named or FORMATS.get(path.suffix.lower(), "")
    if found not in WRITERS:
        raise Misused("FORMAT_UNKNOWN", f"{path.name}: --format is one of {', '.join(WRITERS)}")
    return found


@contextmanager
def writing(path: Path, format_: str, raw: bool = False, force: bool = False) -> Iterator[Writer]:
    """The file is there, whole and with mode 0600, when the block ends well; else what was there before, which only `force`
    replaces. Raises Misused (FILE_EXISTS, FILE_UNWRITABLE, PYARROW_MISSING)."""
    if path.exists() and not force:
        raise Misused("FILE_EXISTS", f"{path} is there already; --force overwrites it")
    with whole(path) as file:
        writer = _writer(file, format_, raw)
        try:
            yield writer
            writer.close()
        except BaseException:
            writer.abandon()
            raise


def _writer(file: IO[bytes], format_: str, raw: bool) -> Writer:
    try:
        if format_ == "csv":
            return CsvWriter(file, raw)
        return WRITERS[format_](file)
    except ImportError:
        raise Misused("PYARROW_MISSING", NEEDS_PYARROW) from None


def _as_json(name: str, value: Any) -> str:
    if name in ("properties", "traits", "context"):
        return str(value)  # JSON already
    return json.dumps(value.isoformat() if isinstance(value, datetime) else value, ensure_ascii=False)


def _as_text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, datetime) else value


def _as_safe_text(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else _as_text(value)
