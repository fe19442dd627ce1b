"""Rows as Parquet files. A file has the columns of its table, and of the free ones those that hold something in it: what was taken out
of a file is in none of its names, dictionaries and statistics any more."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import compute
from pyarrow import parquet as files

from services.cli.lake.buffers import Columns
from services.cli.lake.cells import Types
from services.cli.lake.shapes import fixed_columns

Broken = pyarrow.ArrowException
GROUP_ROWS = 50_000  # of a row group: what is held in memory while one is written or read
KINDS = {
    "text": pyarrow.string(),
    "texts": pyarrow.list_(pyarrow.string()),
    "instant": pyarrow.timestamp("us", "UTC"),
    "integer": pyarrow.int64(),
    "number": pyarrow.float64(),
    "flag": pyarrow.bool_(),
}
PEOPLE = ("segment_id", "canonical_segment_id", "member_segment_ids")  # columns that say whom a row is about


def to_arrow(table: str, columns: Columns, types: Types) -> Any:
    kinds = fixed_columns(table) | types
    names = [*fixed_columns(table), *sorted(columns.values.keys() - fixed_columns(table).keys())]
    arrays = []
    for name in names:
        values = columns.values.get(name, [])
        arrays.append(pyarrow.array(values + [None] * (columns.rows - len(values)), KINDS[kinds[name]]))
    return pyarrow.table(arrays, names)


def without(content: Any, gone: Collection[str]) -> Any:
    """Without the rows about these customers."""
    ids = pyarrow.array(sorted(gone), pyarrow.string())
    for name in PEOPLE:
        if name in content.column_names:
            content = content.filter(compute.invert(_is_about(content[name], ids)))
    return content


def _is_about(column: Any, ids: Any) -> Any:
    if not pyarrow.types.is_list(column.type):
        return compute.is_in(column, ids)
    column = column.combine_chunks()
    about = compute.filter(compute.list_parent_indices(column), compute.is_in(compute.list_flatten(column), ids))
    return compute.is_in(pyarrow.array(range(len(column)), pyarrow.int64()), about.cast(pyarrow.int64()))


def trimmed(table: str, content: Any) -> Any:
    """Without free columns in which nothing is left."""
    fixed = fixed_columns(table)
    return content.select([name for name in content.column_names if name in fixed or content[name].null_count < len(content)])


def free_types(table: str, content: Any) -> Types:
    kinds = {kind: name for name, kind in KINDS.items()}
    return {field.name: kinds[field.type] for field in content.schema if field.name not in fixed_columns(table)}


def write(path: Path, content: Any) -> int:
    """Durable when it returns. How many bytes."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        files.write_table(content, file, compression="zstd", row_group_size=GROUP_ROWS)
        file.flush()
        os.fsync(file.fileno())
        return file.tell()


def read(path: Path) -> Any:
    return files.read_table(path, partitioning=None)


def joined(paths: Iterable[Path]) -> Any:
    """Their rows, in this order; a column that one doesn't have is null there."""
    return pyarrow.concat_tables([read(path) for path in paths], promote_options="default")


def people(path: Path) -> list[str]:
    """Whom its rows are about, each once."""
    names = [name for name in PEOPLE if name in files.read_schema(path).names]
    content = files.read_table(path, columns=names, partitioning=None)
    found: set[str] = set()
    for name in names:
        column = content[name]
        found |= set(compute.unique(compute.list_flatten(column) if pyarrow.types.is_list(column.type) else column).to_pylist())
    return sorted(found)


def holds(path: Path, people: Collection[str]) -> bool:
    """Whether any row is about one of them; reads no other columns than those that say it."""
    ids = pyarrow.array(sorted(people), pyarrow.string())
    with files.ParquetFile(path) as file:
        names = [name for name in PEOPLE if name in file.schema_arrow.names]
        for batch in file.iter_batches(GROUP_ROWS, columns=names):
            for name in names:
                if compute.any(_is_about(pyarrow.chunked_array([batch[name]]), ids)).as_py():
                    return True
    return False
