"""Rows of JSON Lines: an object a line. A column is a key, or a path to one with dots between (address.city)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import IO, Any

import msgspec

from services.cli.importing.lines import read_lines
from services.cli.importing.rows import RECORD_BYTES_AT_MOST, Place, Row

_decode = msgspec.json.Decoder().decode


class JsonRows:
    def __init__(self, file: IO[bytes], size_bytes: int) -> None:
        self._file = file
        self._size_bytes = size_bytes

    def columns(self) -> None:
        return None

    def share_read(self, place: Place) -> float:
        return place.offset / self._size_bytes if self._size_bytes else 1.0

    def read(self, columns: Sequence[str], start: Place | None) -> Iterator[Row]:
        at = start or Place()
        paths = [(column, column.split(".")) for column in columns]
        for line in read_lines(self._file, at.line, at.offset, RECORD_BYTES_AT_MOST):
            if line.data is not None and not line.data.strip():
                at = Place(at.row, line.number + 1, line.end)
                continue
            at = Place(at.row, line.number, at.offset)
            after = Place(at.row + 1, line.number + 1, line.end)
            values, reason = _values(line.data, paths)
            yield Row(at, after, values, reason)
            at = after


def _values(data: bytes | None, paths: Sequence[tuple[str, list[str]]]) -> tuple[list[Any] | None, str]:
    if data is None:
        return None, "ROW_TOO_LARGE"
    try:
        found = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None, "JSON_BROKEN"
    if not isinstance(found, dict):
        return None, "NOT_AN_OBJECT"
    return [found[name] if name in found else _follow(found, path) for name, path in paths], ""


def _follow(found: Any, path: Sequence[str]) -> Any:
    for name in path:
        if not isinstance(found, dict):
            return None
        found = found.get(name)
    return found
