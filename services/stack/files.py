"""Files of the data directory: private, written whole or not at all."""

import fcntl
import os
import secrets
import tempfile
import time
from pathlib import Path

from services.stack.errors import DataDirectoryInUseError, StackError

MAX_LOG_BYTES = 10_000_000
LOCK_PATIENCE_S = 0.3  # `c360` looks at the lock for a moment


def make_private_directory(path: Path) -> Path:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StackError(f"cannot make the directory {path}: {error.strerror}") from error
    return path


def write_private(path: Path, text: str) -> None:
    """Replaces the file at once, mode 0600; a reader sees the old text or the new one."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def read_or_make_password(path: Path) -> str:
    """Made once and kept: the databases know it by then."""
    if not path.exists():
        write_private(path, secrets.token_urlsafe(24) + "\n")
    return path.read_text().strip()


def rotate_log(path: Path) -> None:
    """Keeps one older file, so a log never grows past twice the limit plus one run."""
    if path.exists() and path.stat().st_size > MAX_LOG_BYTES:
        path.replace(path.with_suffix(".old.log"))


class DirectoryLock:
    """One stack a data directory. The kernel drops the lock with the process, however that ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StackError(f"cannot open {self._path}: {error.strerror}") from error
        try:
            self._check_owner(descriptor)
            self._lock(descriptor)
        except StackError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def _check_owner(self, descriptor: int) -> None:
        """Root could go on with a user's data, but would leave files that lock the user out."""
        if (owner := os.fstat(descriptor).st_uid) != os.geteuid():
            raise StackError(f"{self._path.parent} belongs to uid {owner}; start as that user or set C360_DATA_DIR")

    def _lock(self, descriptor: int) -> None:
        if not _try_lock(descriptor):
            holder = os.read(descriptor, 20).decode().strip() or "unknown"
            raise DataDirectoryInUseError(
                f"{self._path.parent} is in use by a running stack (process {holder}); "
                "stop that one, or choose another directory with C360_DATA_DIR"
            )
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _try_lock(descriptor: int) -> bool:
    give_up_at = time.monotonic() + LOCK_PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > give_up_at:
                return False
        time.sleep(0.02)
