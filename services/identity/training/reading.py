"""Records from a file: CSV with a header, JSON lines, or Parquet. Columns are `id`, `source`, and what `record.normalise` takes."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from services.identity.matching.record import Person, Record, make_record

FORMATS = (".csv", ".jsonl", ".parquet")
COLUMNS = frozenset(Person._fields) - {"middle_initial"} | {"middle_name", "street_number"}


class NotReadable(Exception):
    """The text says which file and why; it has nothing of what is in it."""


def read(path: Path, region: str | None = None, day_first: bool = True) -> list[Record]:
    """Raises NotReadable. A record without an id gets its row's number; rows of one id are one record, the last counts."""
    if path.suffix not in FORMATS:
        raise NotReadable(f"{path.name}: read are {', '.join(FORMATS)}")
    found: dict[str, Record] = {}
    known: set[str] = set()
    for number, row in enumerate(_rows(path), 1):
        raw = {name: str(value) for name, value in row.items() if name in COLUMNS and value not in (None, "")}
        known |= raw.keys()
        record_id = str(row.get("id") or f"row {number}")
        found[record_id] = make_record(record_id, str(row.get("source") or path.stem), raw, region, day_first)
    if not known:
        raise NotReadable(f"{path.name}: none of the columns {', '.join(sorted(COLUMNS))} has a value")
    return list(found.values())


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet

            yield from pyarrow.parquet.read_table(path).to_pylist()
            return
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from csv.DictReader(file) if path.suffix == ".csv" else (json.loads(line) for line in file if line.strip())
    except (OSError, ValueError) as error:  # pyarrow's own are ValueErrors
        raise NotReadable(f"{path.name}: {type(error).__name__}") from error
