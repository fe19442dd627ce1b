"""A page of a Parquet file is unpacked whole, so one that is too large is refused before it is read.

How large a page is stands in its header alone, which pyarrow doesn't show. The first page of each kind of each column is looked
at: writers have one size for all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from services.cli.errors import Misused

PAGE_BYTES_AT_MOST = 64 * 1024 * 1024  # unpacked; writers make pages of 1 MiB unless they are told otherwise
HEADER_BYTES = 16  # of a header, as far as the page's size
INT32 = 0x15  # in Thrift's compact protocol: the next field, a 32-bit number


def check_pages(path: Path, parquet: Any, columns: Sequence[str]) -> None:
    """Raises Misused (PAGE_TOO_LARGE), which names the column."""
    wanted = [column.split(".")[0] for column in columns]
    with path.open("rb") as file:
        for group in range(parquet.num_row_groups):
            told = parquet.metadata.row_group(group)
            for chunk in (told.column(at) for at in range(told.num_columns)):
                if chunk.total_uncompressed_size <= PAGE_BYTES_AT_MOST or chunk.path_in_schema.split(".")[0] not in wanted:
                    continue
                for offset in _pages(chunk):
                    file.seek(offset)
                    if (size_bytes := page_bytes(file.read(HEADER_BYTES))) > PAGE_BYTES_AT_MOST:
                        raise _too_large(chunk.path_in_schema, group, size_bytes)


def _pages(chunk: Any) -> Iterator[int]:
    if chunk.has_dictionary_page and chunk.dictionary_page_offset:
        yield chunk.dictionary_page_offset
    yield chunk.data_page_offset


def page_bytes(header: bytes) -> int:
    """Of the page, unpacked. 0 when this is no header: whoever reads the page will say so."""
    if header[:1] != bytes([INT32]):
        return 0
    _, at = _number(header, 1)  # the kind of page
    return _number(header, at + 1)[0] if header[at : at + 1] == bytes([INT32]) else 0


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A zigzag number of Thrift's compact protocol, and where it ends."""
    found = shift = 0
    for end, byte in enumerate(data[at:], at + 1):
        found |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return (found >> 1) ^ -(found & 1), end
    return 0, len(data)


def _too_large(column: str, group: int, size_bytes: int) -> Misused:
    return Misused(
        "PAGE_TOO_LARGE",
        f"column {column}, row group {group}: a page of {size_bytes // 1024**2} MiB doesn't fit in memory;"
        f" write the file with pages of at most {PAGE_BYTES_AT_MOST // 1024**2} MiB",
    )
