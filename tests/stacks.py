"""Stacks of a test's own. Each begins as a copy of one whose databases are made already, which is quicker than to make them."""

import atexit
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from services.stack.stack import Stack


@contextmanager
def fresh_stack(**how: Any) -> Iterator[Stack]:
    """Everything unless `how`, Stack's own arguments, says otherwise; nothing of it is left afterwards."""
    with fresh_directory() as directory, Stack(directory, disposable=True, **how) as stack:
        yield stack


@contextmanager
def fresh_directory() -> Iterator[Path]:
    """Of a stack that hasn't run yet."""
    with tempfile.TemporaryDirectory(prefix="c360-test-") as directory:
        subprocess.run(("cp", "-a", f"{_made_once()}/.", directory), check=True)
        yield Path(directory)


@cache
def _made_once() -> Path:
    made = Path(tempfile.mkdtemp(prefix="c360-test-made-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    with Stack(made, services=()):
        pass
    for name in ("ports.json", "lock"):  # of the one that has run there
        (made / name).unlink()
    for name in ("logs", "run"):
        shutil.rmtree(made / name)
    return made
