"""What goes to stdout: tables for eyes, JSON for scripts. Data never acts as markup or as terminal commands."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

WIDTH_WITHOUT_TERMINAL = 160  # in a pipe or a file, where COLUMNS doesn't say otherwise; rich would fold every table at 80 columns

SHOWN_DIGITS = 8  # of a hash: enough to tell a customer's identifiers apart


def document(data: Any) -> None:
    print(json.dumps(data, ensure_ascii=False, indent=2))


def line(data: Any) -> None:
    """One item of a stream. Flushed, because who reads a stream waits for it."""
    print(json.dumps(data, ensure_ascii=False, separators=(",", ":")), flush=True)


def say(text: str) -> None:
    """One item of a stream, for eyes."""
    print(printable(text), flush=True)


def note(text: str) -> None:
    """For people only: stdout stays clean for the pipe."""
    print(text, file=sys.stderr, flush=True)


def answer(told: Mapping[str, Any], as_json: bool) -> None:
    """What one call answered: a fact a line for eyes, the same as JSON for scripts."""
    document(told) if as_json else facts((name.replace("_", " "), value) for name, value in told.items())


def facts(pairs: Iterable[tuple[str, Any]]) -> None:
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in pairs:
        if value not in (None, "", []):
            grid.add_row(cell(name), cell(value))
    _console().print(grid)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    drawn = new_table(title, columns)
    for row in rows:
        drawn.add_row(*(cell(value) for value in row))
    console = _console()
    console.print()
    console.print(drawn if drawn.row_count else cell(f"{title}: none"))


def new_table(title: str, columns: Sequence[str]) -> Table:
    from rich import box
    from rich.table import Table

    drawn = Table(title=cell(title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        drawn.add_column(name, overflow="fold")
    return drawn


def cell(value: Any) -> Text:
    from rich.text import Text

    return Text(printable(as_text(value)))


def as_text(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return ", ".join(value) or "-"
    return json.dumps(value, ensure_ascii=False)


def printable(text: str) -> str:
    """A trait may hold anything a stranger typed into a form, escape sequences included."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def hashed(identifier: Mapping[str, str] | None) -> str:
    """An identifier without its value, short, for eyes: --json has the whole hash."""
    return f"{identifier['namespace']} #{identifier['value_hash'][:SHOWN_DIGITS]}" if identifier else ""


def _console() -> Console:
    from rich.console import Console

    width = None if sys.stdout.isatty() else int(os.environ.get("COLUMNS") or WIDTH_WITHOUT_TERMINAL)
    return Console(highlight=False, markup=False, emoji=False, width=width)
