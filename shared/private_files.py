"""JSON files that hold secrets: only their owner reads them, they are replaced as a whole, and by one process at a time."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """From reading the file to replacing it, nobody else does: what is added and lost is lost for good.

    The lock is the folder's, because the file is replaced.
    """
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
        os.fsync(folder)  # a name that was replaced is durable with its folder
    finally:
        os.close(folder)


def write(path: Path, content: dict[str, Any]) -> None:
    """What `write_text` does, as JSON."""
    write_text(path, json.dumps(content, indent=1))


def write_text(path: Path, content: str) -> None:
    """As one step: a reader finds the old file or the new one. What a killed process left of its own is removed."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as file:
        file.write(content)
        file.flush()
        if path.exists() and (owner := path.stat()).st_uid != os.geteuid():
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        os.fsync(file.fileno())
    fresh.replace(path)


def stamp(path: Path) -> tuple[int, int, int]:
    """Of a file that is only ever replaced as a whole: it differs when the file does."""
    state = path.stat()
    return state.st_ino, state.st_mtime_ns, state.st_size
