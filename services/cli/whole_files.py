"""Files that are there whole, or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from services.cli.errors import Misused

PART = ".part"


@contextmanager
def whole(path: Path) -> Iterator[IO[bytes]]:
    """There, with mode 0600, when the block ends well; else what was there before. Raises Misused (FILE_UNWRITABLE)."""
    try:
        _remove_leftovers(path)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PART)
    except OSError as error:
        raise Misused("FILE_UNWRITABLE", f"{path}: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            with contextlib.suppress(OSError):  # no locks here: then nobody removes what is under way, nor what is left
                _lock(file)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _remove_leftovers(path: Path) -> None:
    """What commands that were killed left of this file; one that is under way has its lock."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*{PART}"):
        with contextlib.suppress(OSError), left.open("rb+") as file:
            _lock(file)
            left.unlink()


def _lock(file: IO[bytes]) -> None:
    """Goes with the process. Raises OSError when another one has it, or when the file system has no locks."""
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
