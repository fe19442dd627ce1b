"""Records from a file: CSV with a header, JSON lines, or Parquet. Columns are `id`, `source`, and what `record.normalise` takes."""

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from services.identity.matching.record import Person, Record, make_record
from services.identity.training.refusing import NotReadable

FORMATS = (".csv", ".jsonl", ".parquet")
COLUMNS = frozenset(Person._fields) - {"middle_initial"} | {"middle_name", "street_number"}


def read(path: Path, region: str | None = None, day_first: bool = True) -> list[Record]:
    """Raises NotReadable. A record without an id gets its row's number; rows of one id are one record, the last counts."""
    if path.suffix not in FORMATS:
        raise NotReadable("FORMAT_UNKNOWN", f"{path.name}: files are read that end with {', '.join(FORMATS)}")
    found: dict[str, Record] = {}
    known: set[str] = set()
    for number, row in enumerate(_rows(path), 1):
        raw = {name: str(value) for name, value in row.items() if name in COLUMNS and value not in (None, "")}
        known |= raw.keys()
        record_id = str(row.get("id") or f"row {number}")
        found[record_id] = make_record(record_id, str(row.get("source") or path.stem), raw, region, day_first)
    if not known:
        raise NotReadable("COLUMNS_UNKNOWN", f"{path.name}: none of the columns {', '.join(sorted(COLUMNS))} has a value")
    return list(found.values())


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """Raises NotReadable (FILE_UNREADABLE)."""
    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet

            yield from pyarrow.parquet.read_table(path).to_pylist()
            return
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from csv.DictReader(file) if path.suffix == ".csv" else _json_rows(path, file)
    except OSError as error:
        raise _unreadable(path, error.strerror or "it can't be opened") from error
    except UnicodeDecodeError as error:
        raise _unreadable(path, "it isn't UTF-8") from error
    except (csv.Error, ValueError) as error:  # pyarrow's own are ValueErrors
        raise _unreadable(path, f"it isn't what {path.suffix} says") from error


def _json_rows(path: Path, lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise _unreadable(path, f"line {number} isn't JSON") from error
        if not isinstance(row, dict):
            raise _unreadable(path, f"line {number} isn't an object of columns")
        yield row


def _unreadable(path: Path, why: str) -> NotReadable:
    return NotReadable("FILE_UNREADABLE", f"{path}: {why}")
