"""The rows of a file and whom they name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

from services.cli.errors import Misused

if TYPE_CHECKING:
    from c360.common.v1.common_pb2 import CustomerRef

    from services.cli.importing.rows import Row, Rows

BATCH_ROWS: Final = 500


class Asked(NamedTuple):
    """A row: whom it names, or why it names nobody."""

    row: Row
    ref: CustomerRef | None
    reason: str = ""
    more: dict[str, str] = {}  # what further columns say; empty where there is none


class People:
    """The rows of a file and whom they name."""

    def __init__(self, file: IO[bytes], path: Path, format_: str, by: str, further: Sequence[str] = ()) -> None:
        """Raises Misused (FILE_EMPTY, FILE_BROKEN, FORMAT_UNKNOWN, COLUMN_UNKNOWN)."""
        self._file = file
        self._size_bytes = file.seek(0, os.SEEK_END)
        self._namespace, _, column = by.partition("=")
        self._column = column or self._namespace
        self.rows = _rows(file, self._size_bytes, path, format_)
        if (columns := self.rows.columns()) is not None and self._column not in columns:
            raise Misused("COLUMN_UNKNOWN", f"{path} has no column {self._column}; it has {', '.join(columns)}")
        self._absent = dict.fromkeys(further, "")
        self._further = [name for name in further if columns is None or name in columns]

    def batches(self) -> Iterator[list[Asked]]:
        asked = self.asked()
        while batch := list(islice(asked, BATCH_ROWS)):
            yield batch

    def asked(self) -> Iterator[Asked]:
        return map(self._asked, self.rows.read([self._column, *self._further], None))

    def text(self, row: Row) -> bytes:
        """The row as it stands in the file, whole lines."""
        found = self._part(row.at.offset, row.after.offset)
        return found if found.endswith(b"\n") else found + b"\n"

    def header(self) -> bytes:
        """What stands before the first row: of CSV the names of the columns."""
        first = next(self.rows.read([self._column], None), None)
        return self._part(0, first.at.offset if first else self._size_bytes) if self.rows.columns() is not None else b""

    def _part(self, begin: int, end: int) -> bytes:
        return os.pread(self._file.fileno(), end - begin, begin)

    def _asked(self, row: Row) -> Asked:
        from c360.common.v1.common_pb2 import CustomerRef, Identifier

        if row.values is None:
            return Asked(row, None, row.reason)
        value, *others = map(_text, row.values)
        more = self._absent | dict(zip(self._further, others, strict=True))
        if not value:
            return Asked(row, None, "IDENTIFIER_MISSING")
        if self._namespace == "customer_id":
            return Asked(row, CustomerRef(customer_id=value)) if _is_id(value) else Asked(row, None, "CUSTOMER_ID_INVALID")
        return Asked(row, CustomerRef(identifier=Identifier(namespace=self._namespace, value=value)), more=more)


def _rows(file: IO[bytes], size_bytes: int, path: Path, format_: str) -> Rows:
    from services.cli.importing.csv_rows import CsvRows
    from services.cli.importing.json_rows import JsonRows
    from services.cli.importing.mapping import CsvForm
    from services.cli.importing.rows import empty, format_of

    if not size_bytes:
        raise empty(f"{path} is empty")
    match format_of(path, format_):
        case "csv":
            return CsvRows(file, CsvForm(), size_bytes)
        case "jsonl":
            return JsonRows(file, size_bytes)
    raise Misused("FORMAT_UNKNOWN", f"{path}: --format is one of csv, jsonl")


def _text(value: Any) -> str:
    return str(value).strip() if isinstance(value, str | int) else ""


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
