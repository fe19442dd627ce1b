"""How far a long command is: a bar on a terminal, a plain line now and then elsewhere. On stderr, numbers only."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from services.cli import render

LINE_EVERY_S = 10.0
BAR_STEPS = 1_000


class Teller(Protocol):
    def tell(self, share: float, text: str) -> None:
        """`share` of the work, from 0 to 1."""
        ...

    def note(self, text: str) -> None: ...


class Lines:
    def __init__(self) -> None:
        self._told_at = time.monotonic()

    def tell(self, share: float, text: str) -> None:
        if time.monotonic() - self._told_at >= LINE_EVERY_S:
            self._told_at = time.monotonic()
            render.note(f"{share:.0%} {text}")

    def note(self, text: str) -> None:
        render.note(text)


@contextmanager
def telling(what: str) -> Iterator[Teller]:
    if not sys.stderr.isatty():
        yield Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    class Bar:
        def tell(self, share: float, text: str) -> None:
            progress.update(task, completed=share * BAR_STEPS, description=text)

        def note(self, text: str) -> None:
            progress.console.print(text, markup=False, highlight=False)

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=BAR_STEPS)
        yield Bar()
