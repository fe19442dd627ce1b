"""Where a mapping takes one value from, and what it makes of it. Pure.

None stands for a cell that says nothing: absent, null, empty, or not a number. What is left out isn't a removed trait;
`"empty": "remove"` makes it one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, tzinfo
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

Values = Sequence[Any]  # of the columns that a mapping names, in its order
Convert = Callable[[Any], Any]

TRUE = frozenset({"true", "t", "yes", "y", "1"})
FALSE = frozenset({"false", "f", "no", "n", "0"})


class RowRefused(Exception):
    """This row becomes no event. `field` is the mapping's, never the row's content."""

    def __init__(self, reason: str, field: str = "") -> None:
        super().__init__(reason, field)
        self.reason = reason
        self.field = field


class RowSkipped(Exception):
    """The mapping leaves rows like this one out."""


@dataclass(frozen=True)
class Cell:
    """A column, or a constant when `column` is empty. `field` is where the mapping says so, such as traits.email."""

    field: str
    column: str = ""
    constant: Any = None
    convert: Convert | None = None
    remove: bool = False  # an empty cell is null: it removes the trait

    def read(self, value: Any) -> Any:
        """Raises RowRefused (VALUE_INVALID)."""
        if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
            return None
        if self.convert is None:
            return value
        try:
            return self.convert(value)
        except (ValueError, TypeError, OSError, ArithmeticError, msgspec.DecodeError, RecursionError):  # OSError: far years
            raise RowRefused("VALUE_INVALID", self.field) from None


def plain(value: Any) -> Any:
    """What a column of a typed file holds, as JSON can carry it."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return _plain_scalar(value)


def _plain_scalar(value: Any) -> Any:
    match value:
        case float():
            return _finite(value)
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case datetime():
            return instant_text(value)
        case date() | time():
            return value.isoformat()
        case UUID():
            return str(value)
        case bytes():
            return value.decode()
    raise TypeError(f"a {type(value).__name__} is not JSON")


def text(value: Any) -> str:
    value = plain(value)
    if isinstance(value, dict | list | bool):
        raise TypeError("not text")
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def number(value: Any) -> int | float:
    if not isinstance(value, str):
        return _finite(plain(value))
    stripped = value.strip()
    return int(stripped) if stripped.lstrip("+-").isdecimal() else _finite(float(stripped))


def integer(value: Any) -> int:
    found = number(value)
    if int(found) != found:
        raise ValueError("not a whole number")
    return int(found)


def boolean(value: Any) -> bool:
    word = str(value).strip().lower()
    if word in TRUE:
        return True
    if word in FALSE:
        return False
    raise ValueError("neither true nor false")


def json(value: Any) -> Any:
    return msgspec.json.decode(value) if isinstance(value, str | bytes) else plain(value)


def json_object(value: Any) -> dict[str, Any]:
    found = json(value)
    if found == []:  # as PHP writes an empty object
        return {}
    if not isinstance(found, dict):
        raise TypeError("not an object")
    return found


CONVERSIONS: dict[str, Convert] = {"text": text, "number": number, "integer": integer, "boolean": boolean, "json": json}

UNIX_UNITS = {"unix_s": 1, "unix_ms": 1_000, "unix_us": 1_000_000}


def instant(format_: str, zone: tzinfo) -> Convert:
    """`format_` is iso, one of UNIX_UNITS, or a pattern of strptime; `zone` is that of times that don't say theirs.

    An instant that the file has as one, as Parquet may, is taken as it is, whatever the format.
    """
    if format_ in UNIX_UNITS:
        per_second = UNIX_UNITS[format_]

    def convert(value: Any) -> str:
        if format_ in UNIX_UNITS and not isinstance(value, date):
            return instant_text(datetime.fromtimestamp(float(value) / per_second, UTC))
        if isinstance(value, str):
            text_ = value.strip()
            value = datetime.fromisoformat(text_) if format_ == "iso" else datetime.strptime(text_, format_)  # noqa: DTZ007
        elif isinstance(value, date) and not isinstance(value, datetime):
            value = datetime.combine(value, time())
        if not isinstance(value, datetime):
            raise TypeError("not an instant")
        return instant_text(value if value.tzinfo else value.replace(tzinfo=zone))

    return convert


def instant_text(moment: datetime) -> str:
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.isoformat().replace("+00:00", "Z")


def _finite(value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("not a finite number")
    return value
