"""Rows of a Parquet file, a batch of a row group at a time, and of it only the columns that are wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from services.cli.errors import Misused
from services.cli.importing.parquet_pages import check_pages
from services.cli.importing.rows import RECORD_BYTES_AT_MOST, Place, Row, broken

BATCH_ROWS = 4_096
BATCH_BYTES = 16 * 1024 * 1024  # of all columns, unpacked
NESTED_BATCH_ROWS = 256  # where a whole object or list is wanted: what is repeated in it is unfolded
BUFFER_BYTES = 256 * 1024  # of a column, read at a time; without it a whole column of a row group would be
NEEDS_PYARROW = "Parquet needs pyarrow: pip install 'customer360[bulk]'"


class Unreadable(NamedTuple):
    """Stands for a cell that gives no value."""

    reason: str


TOO_LARGE = Unreadable("ROW_TOO_LARGE")
INVALID = Unreadable("VALUE_INVALID")


class ParquetRows:
    def __init__(self, path: Path) -> None:
        try:
            from pyarrow import ArrowException
            from pyarrow.parquet import ParquetFile
        except ImportError:
            raise Misused("PYARROW_MISSING", NEEDS_PYARROW) from None
        try:
            self._file: Any = _opened(ParquetFile, path)
        except (ArrowException, OSError) as error:
            raise broken(f"{path.name} is no Parquet file") from error
        self._broken = ArrowException
        self._path = path
        self._places = _places(self._file.schema_arrow)
        self._rows = int(self._file.metadata.num_rows)

    def columns(self) -> list[str]:
        """A field of an object is a path with dots."""
        names = list(self._file.schema_arrow.names)
        return [*names, *(path for path in self._places if path not in names)]

    def share_read(self, place: Place) -> float:
        return (place.row - 1) / self._rows if self._rows else 1.0

    def read(self, columns: Sequence[str], start: Place | None) -> Iterator[Row]:
        row = start.row if start else 1
        check_pages(self._path, self._file, columns)
        try:
            for values in self._values(list(columns), row - 1):
                reason = next((value.reason for value in values if type(value) is Unreadable), "")
                yield Row(Place(row, 0, 0), Place(row + 1, 0, 0), None if reason else values, reason)
                row += 1
        except (self._broken, OSError) as error:
            raise broken(f"it can't be read beyond row {row - 1}") from error

    def _values(self, columns: list[str], skip: int) -> Iterator[Sequence[Any]]:
        """Row groups that lie before are not read; what of the first one does is."""
        places = [self._places[column] for column in columns]
        most = NESTED_BATCH_ROWS if any(_is_nested(self._file.schema_arrow, place) for place in places) else BATCH_ROWS
        for group in range(self._file.num_row_groups):
            told = self._file.metadata.row_group(group)
            count = told.num_rows
            if skip >= count:
                skip -= count
                continue
            rows = max(1, min(most, BATCH_BYTES * count // max(1, told.total_byte_size)))
            for batch in self._file.iter_batches(rows, row_groups=[group], columns=columns):
                if skip >= batch.num_rows:
                    skip -= batch.num_rows
                    continue
                yield from _rows_of(batch.slice(skip), places)
                skip = 0


def _opened(open_: Any, path: Path) -> Any:
    """A value that is repeated stays one value: unfolded, a file of a few kilobytes may be a gigabyte."""
    texts: list[str] = []
    with open_(path, memory_map=False, pre_buffer=False) as file:
        schema = file.schema
        leaves = [schema.column(at) for at in range(len(schema))]
        texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY" and not leaf.max_repetition_level]
    return open_(path, memory_map=False, pre_buffer=False, buffer_size=BUFFER_BYTES, read_dictionary=texts)


def _places(schema: Any) -> dict[str, list[str]]:
    """What each column is called at its levels. A column whose own name has a dot goes before a path."""
    found: dict[str, list[str]] = {}

    def walk(field: Any, above: list[str]) -> None:
        place = [*above, field.name]
        found.setdefault(".".join(place), place)
        if _is_object(field.type):
            for at in range(field.type.num_fields):
                walk(field.type.field(at), place)

    for name in schema.names:
        found[name] = [name]
    for at in range(len(schema.names)):
        walk(schema.field(at), [])
    return found


def _is_object(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_struct(kind))


def _is_nested(schema: Any, place: Sequence[str]) -> bool:
    from pyarrow import types

    kind = schema.field(schema.get_field_index(place[0])).type
    for name in place[1:]:
        kind = kind.field(kind.get_field_index(name)).type
    return bool(types.is_nested(kind))


def _rows_of(batch: Any, places: Sequence[Sequence[str]]) -> Iterator[Sequence[Any]]:
    if not places:
        return iter([()] * batch.num_rows)
    return zip(*(_values_of(_column_at(batch, place)) for place in places), strict=True)


def _column_at(batch: Any, place: Sequence[str]) -> Any:
    """Of an object that is null, every field is."""
    from pyarrow import compute

    column = batch.column(place[0])
    for name in place[1:]:
        column = compute.struct_field(column, name)
    return column


def _values_of(column: Any) -> list[Any]:
    import pyarrow

    if not pyarrow.types.is_dictionary(column.type):
        return _plain_values(column)
    used = column.indices.unique()
    values = dict(zip(used.to_pylist(), _plain_values(column.dictionary.take(used)), strict=True))
    return [values[index] for index in column.indices.to_pylist()]


def _plain_values(column: Any) -> list[Any]:
    """A timestamp to the nanosecond is cut to the microsecond: nothing here is finer."""
    import pyarrow
    from pyarrow import compute

    kind = column.type
    if pyarrow.types.is_timestamp(kind) and kind.unit == "ns":
        column = column.cast(pyarrow.timestamp("us", kind.tz), safe=False)
    if _is_bytes(kind) and (compute.max(compute.binary_length(column)).as_py() or 0) > RECORD_BYTES_AT_MOST:
        return [_value_of(cell) for cell in column]
    try:
        found: list[Any] = column.to_pylist()
    except (ValueError, OverflowError):  # one of them at least: a year after 9999, or text that is no UTF-8
        return [_value_of(cell) for cell in column]
    return found


def _value_of(cell: Any) -> Any:
    if _is_bytes(cell.type) and cell.is_valid and len(cell.as_buffer()) > RECORD_BYTES_AT_MOST:
        return TOO_LARGE
    try:
        return cell.as_py()
    except (ValueError, OverflowError):
        return INVALID


def _is_bytes(kind: Any) -> bool:
    from pyarrow import types

    return any(is_kind(kind) for is_kind in (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary))
