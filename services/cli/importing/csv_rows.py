"""Rows of a CSV file (RFC 4180), whose first record names the columns."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from typing import IO

from services.cli.importing.lines import read_lines
from services.cli.importing.mapping import CsvForm
from services.cli.importing.rows import RECORD_BYTES_AT_MOST, Place, Row, broken, empty


class CsvRows:
    def __init__(self, file: IO[bytes], form: CsvForm, size_bytes: int) -> None:
        self._file = file
        self._form = form
        self._size_bytes = size_bytes
        header = next(self._records(Place()), None)
        if header is None:
            raise empty("it has no line with text in it")
        if header[2] == "ENCODING_WRONG":
            named = {"utf-8": "UTF-8"}.get(form.encoding, form.encoding)
            raise broken(f"its first record is not {named}; set csv.encoding in the mapping, such as cp1252")
        if not isinstance(header[2], list):
            raise broken("its first record is no header of columns")
        self._first = header[1]._replace(row=1)
        self._columns = header[2]

    def columns(self) -> list[str]:
        return self._columns

    def share_read(self, place: Place) -> float:
        return place.offset / self._size_bytes if self._size_bytes else 1.0

    def read(self, columns: Sequence[str], start: Place | None) -> Iterator[Row]:
        wanted = [self._columns.index(column) for column in columns]
        width = len(self._columns)
        for at, after, cells in self._records(start or self._first):
            if isinstance(cells, str):
                yield Row(at, after, None, cells)
            elif len(cells) != width:
                yield Row(at, after, None, "COLUMNS_WRONG")
            else:
                yield Row(at, after, [cells[index] for index in wanted])

    def _records(self, start: Place) -> Iterator[tuple[Place, Place, list[str] | str]]:
        """Each record's place, what follows it, and its cells, or why it has none. Empty lines are no records."""
        source = _Lines(self._file, start, self._form.encoding)
        reader = csv.reader(source, delimiter=self._form.delimiter, quotechar=self._form.quote, strict=True)
        at = start
        while True:
            cells: list[str] | str
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error:
                cells = "CSV_BROKEN"
            except UnicodeDecodeError:
                cells = "ENCODING_WRONG"
            source.begin_record()
            after = Place(at.row + bool(cells), source.number, source.offset)
            if cells:
                yield at, after, cells
            at = after


class _Lines:
    """Feeds the reader, and knows where it stands. A record that is never closed would otherwise be the rest of the file."""

    def __init__(self, file: IO[bytes], start: Place, encoding: str) -> None:
        self._lines = read_lines(file, start.line, start.offset, RECORD_BYTES_AT_MOST)
        self._encoding = encoding
        self.number = self._began_line = start.line
        self.offset = self._began = start.offset

    def begin_record(self) -> None:
        self._began, self._began_line = self.offset, self.number

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.number, self.offset = line.number + 1, line.end
        if line.data is None or line.end - self._began > RECORD_BYTES_AT_MOST:
            raise broken(
                f"the record that begins in line {self._began_line} has more than {RECORD_BYTES_AT_MOST} bytes; "
                "is a quote not closed?"
            )
        return line.data.decode(self._encoding)


# One cell may be as large as a whole record.
csv.field_size_limit(RECORD_BYTES_AT_MOST + 1)
