"""Lines of a file of bytes, each bounded, with where they stand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, NamedTuple

BOM = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """`data` with its line end; None when it was longer than allowed, and was skipped."""

    number: int
    data: bytes | None
    end: int  # offset of what follows


def read_lines(file: IO[bytes], number: int, offset: int, most: int) -> Iterator[Line]:
    """From an offset at which line `number` begins. A byte order mark at the very beginning belongs to no line."""
    file.seek(offset)
    while data := file.readline(most + 1):
        offset += len(data)
        if len(data) > most and not data.endswith(b"\n"):
            offset += _skip_line(file, most)
            yield Line(number, None, offset)
        else:
            yield Line(number, data.removeprefix(BOM) if offset == len(data) else data, offset)
        number += 1


def _skip_line(file: IO[bytes], most: int) -> int:
    """How many bytes the rest of the line had."""
    skipped = 0
    while data := file.readline(most):
        skipped += len(data)
        if data.endswith(b"\n"):
            break
    return skipped
