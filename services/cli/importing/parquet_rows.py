"""Rows of a Parquet file, a batch of a row group at a time, and of it only the columns that are wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from services.cli.errors import Misused
from services.cli.importing.rows import Place, Row, broken

BATCH_ROWS = 4_096
NEEDS_PYARROW = "Parquet needs pyarrow: pip install 'customer360[bulk]'"


class ParquetRows:
    def __init__(self, path: Path) -> None:
        try:
            from pyarrow import ArrowException
            from pyarrow.parquet import ParquetFile
        except ImportError:
            raise Misused("PYARROW_MISSING", NEEDS_PYARROW) from None
        try:
            self._file: Any = ParquetFile(path, memory_map=False, pre_buffer=False)
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
                yield Row(Place(row, 0, 0), Place(row + 1, 0, 0), values)
                row += 1
        except (self._broken, OSError) as error:
            raise broken(f"it can't be read beyond row {row - 1}") from error

    def _values(self, columns: list[str], skip: int) -> Iterator[Sequence[Any]]:
        """Row groups that lie before are not read; what of the first one does is."""
        for group in range(self._file.num_row_groups):
            count = self._file.metadata.row_group(group).num_rows
            if skip >= count:
                skip -= count
                continue
            for batch in self._file.iter_batches(BATCH_ROWS, row_groups=[group], columns=columns):
                if skip >= batch.num_rows:
                    skip -= batch.num_rows
                    continue
                yield from _rows_of(batch.slice(skip), columns)
                skip = 0


def _rows_of(batch: Any, columns: Sequence[str]) -> Iterator[Sequence[Any]]:
    """A timestamp to the nanosecond is cut to the microsecond: nothing here is finer."""
    if not columns:
        return iter([()] * batch.num_rows)
    return zip(*(_values_of(batch.column(name)) for name in columns), strict=True)


def _values_of(column: Any) -> list[Any]:
    import pyarrow

    kind = column.type
    if pyarrow.types.is_timestamp(kind) and kind.unit == "ns":
        column = column.cast(pyarrow.timestamp("us", kind.tz), safe=False)
    found: list[Any] = column.to_pylist()
    return found
