"""Rows of a Parquet file, a batch of a row group at a time, and of it only the columns that are wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from services.cli.errors import Misused
from services.cli.importing.rows import RECORD_BYTES_AT_MOST, Place, Row, broken

BATCH_ROWS = 4_096
BATCH_BYTES = 16 * 1024 * 1024  # of all columns, unpacked
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
        self._rows = int(self._file.metadata.num_rows)

    def columns(self) -> list[str]:
        return list(self._file.schema_arrow.names)

    def share_read(self, place: Place) -> float:
        return (place.row - 1) / self._rows if self._rows else 1.0

    def read(self, columns: Sequence[str], start: Place | None) -> Iterator[Row]:
        row = start.row if start else 1
        try:
            for values in self._values(list(columns), row - 1):
                reason = next((value.reason for value in values if type(value) is Unreadable), "")
                yield Row(Place(row, 0, 0), Place(row + 1, 0, 0), None if reason else values, reason)
                row += 1
        except (self._broken, OSError) as error:
            raise broken(f"it can't be read beyond row {row - 1}") from error

    def _values(self, columns: list[str], skip: int) -> Iterator[Sequence[Any]]:
        """Row groups that lie before are not read; what of the first one does is."""
        for group in range(self._file.num_row_groups):
            told = self._file.metadata.row_group(group)
            count = told.num_rows
            if skip >= count:
                skip -= count
                continue
            rows = max(1, min(BATCH_ROWS, BATCH_BYTES * count // max(1, told.total_byte_size)))
            for batch in self._file.iter_batches(rows, row_groups=[group], columns=columns):
                if skip >= batch.num_rows:
                    skip -= batch.num_rows
                    continue
                yield from _rows_of(batch.slice(skip), columns)
                skip = 0


def _opened(open_: Any, path: Path) -> Any:
    """A value that is repeated stays one value: unfolded, a file of a few kilobytes may be a gigabyte."""
    texts: list[str] = []
    with open_(path, memory_map=False, pre_buffer=False) as file:
        schema = file.schema
        texts = [schema.column(at).path for at in range(len(schema)) if schema.column(at).physical_type == "BYTE_ARRAY"]
    flat = [name for name in texts if "." not in name]
    return open_(path, memory_map=False, pre_buffer=False, read_dictionary=flat)


def _rows_of(batch: Any, columns: Sequence[str]) -> Iterator[Sequence[Any]]:
    if not columns:
        return iter([()] * batch.num_rows)
    return zip(*(_values_of(batch.column(name)) for name in columns), strict=True)


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
