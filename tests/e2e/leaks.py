"""Looks for texts wherever they must not stand: logs, metrics, tables, and every file of the data directory."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import httpx
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from services.stack.stack import Stack

DATABASES = ("c360", "c360_vault")
CHUNK_BYTES = 8 * 1024 * 1024
TABLES = """SELECT table_schema, table_name FROM information_schema.tables
            WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')"""


def places_of(stack: Stack, texts: Iterable[str]) -> list[str]:
    """Every place where any of the texts stands in the clear; bytea columns are searched as bytes."""
    wanted = {text: text.encode() for text in texts}
    return [f"{text} in {place}" for place, content in _everything(stack) for text, needle in wanted.items() if needle in content]


def _everything(stack: Stack) -> Iterator[tuple[str, bytes]]:
    yield from _metrics(stack)
    for database in DATABASES:
        yield from _tables(stack, database)
    yield from _files(stack.data_directory, max_overlap=256)


def _metrics(stack: Stack) -> Iterator[tuple[str, bytes]]:
    for service, url in stack.endpoints.metrics.items():
        yield f"metrics of {service}", httpx.get(url).raise_for_status().content


def _tables(stack: Stack, database: str) -> Iterator[tuple[str, bytes]]:
    with psycopg.connect(make_conninfo(stack.admin_url, dbname=database)) as connection:
        for schema, table in connection.execute(TABLES).fetchall():
            rows = connection.execute(sql.SQL("SELECT * FROM {}.{}").format(sql.Identifier(schema), sql.Identifier(table)))
            cells = b"\n".join(_bytes(cell) for row in rows for cell in row)
            yield f"table {database}.{schema}.{table}", cells


def _bytes(cell: object) -> bytes:
    return bytes(cell) if isinstance(cell, bytes | memoryview) else str(cell).encode()


def _files(directory: Path, max_overlap: int) -> Iterator[tuple[str, bytes]]:
    """Logs, broker streams, the database's own files with its write-ahead log. Chunks overlap, so that nothing hides between."""
    for path in sorted(directory.rglob("*")):
        try:
            with path.open("rb") as file:
                tail = b""
                while chunk := file.read(CHUNK_BYTES):
                    yield f"file {path.relative_to(directory)}", tail + chunk
                    tail = chunk[-max_overlap:]
        except OSError:
            continue  # directories, sockets, and what the servers have just removed
