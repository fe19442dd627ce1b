"""Free properties as typed columns. A column has the type of the first value that came for it, for ever: so all its files agree.

What doesn't fit is null in its column; the row's JSON column has it none the less. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from services.cli.lake.names import snake

COLUMNS_AT_MOST = 500  # free ones, of a table: who invents names must not make a table that nobody can read
DEPTH_AT_MOST = 5  # of objects in objects; deeper ones are JSON text
EXACT = 2**53  # integers up to here are exact as doubles

Types = dict[str, str]  # of free columns: "text", "number" or "flag"

_snake = lru_cache(maxsize=16_384)(snake)


def flatten(values: dict[str, Any], prefix: str = "", depth: int = 1) -> Iterator[tuple[str, Any]]:
    """(column, value) of everything that isn't null; an object's fields are columns of their own, as far as DEPTH_AT_MOST."""
    for name, value in values.items():
        column = f"{prefix}{_snake(name)}"
        if isinstance(value, dict) and depth < DEPTH_AT_MOST:
            yield from flatten(value, f"{column}_", depth + 1)
        elif value is not None:
            yield column, value


def take_free(row: dict[str, Any], values: dict[str, Any], types: Types, reserved: frozenset[str], prefix: str = "") -> None:
    """Adds to `row` what fits, and to `types` the columns that are new."""
    for column, value in flatten(values, prefix):
        if column in reserved or column in row:
            continue
        kind = types.get(column)
        if kind is None:
            if len(types) >= COLUMNS_AT_MOST:
                continue
            kind = types[column] = kind_of(value)
        cell = fitting(value, kind)
        if cell is not None:
            row[column] = cell


def kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return "flag"
    return "number" if isinstance(value, int | float) else "text"


def fitting(value: Any, kind: str) -> Any:
    """None when it doesn't fit; text takes everything, as JSON."""
    if kind == "text":
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if kind == "flag":
        return value if isinstance(value, bool) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or (isinstance(value, int) and abs(value) > EXACT):
        return None
    return float(value)
