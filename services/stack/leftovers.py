"""Pid files, so that a stack that was killed outright leaves nothing a later one would trip over.

On Linux the kernel already signals our children when we die (see `supervisor.py`); this is for the moment in which they
are still stopping, for children that hang, and for systems without that signal.
"""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from services.stack.errors import StackError

STOP_TIMEOUT_S = 15.0
KILL_TIMEOUT_S = 5.0
POLL_S = 0.05


def birth_of(pid: int) -> str | None:
    """When the process began, which tells it from a later one with the same pid; None when there is no such process."""
    if not Path("/proc/self/stat").exists():
        return _birth_by_ps(pid)
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else fields[19]


def _birth_by_ps(pid: int) -> str | None:
    listed = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return "-".join(listed.stdout.split()) or None


class PidFile:
    """Names one child: its pid, its birth, and the signal that stops it gracefully."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, pid: int, stop_signal: signal.Signals) -> None:
        self.path.write_text(f"{pid} {birth_of(pid) or '-'} {stop_signal.value}\n")

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)

    def read(self) -> tuple[int, str, int] | None:
        try:
            pid, birth, stop_signal = self.path.read_text().split()
            return int(pid), birth, int(stop_signal)
        except (FileNotFoundError, ValueError):
            return None  # torn by a crash while it was written: the kernel's signal has to do

    def is_alive(self) -> bool:
        named = self.read()
        return named is not None and birth_of(named[0]) == named[1]

    def send(self, number: int | None = None) -> None:
        """The given signal, or the one that stops it gracefully."""
        if (named := self.read()) is not None and self.is_alive():
            with suppress(ProcessLookupError):
                os.kill(named[0], named[2] if number is None else number)


def stop_leftovers(directory: Path) -> list[str]:
    """Stops what an earlier stack left running and returns the names. Raises StackError when one can't be stopped."""
    files = [PidFile(path) for path in sorted(directory.glob("*.pid"))]
    running = [file for file in files if file.is_alive()]
    _signal_and_wait(running, None, STOP_TIMEOUT_S)
    _signal_and_wait(running, signal.SIGKILL, KILL_TIMEOUT_S)
    if stuck := [file.path.stem for file in running if file.is_alive()]:
        raise StackError(f"still running from an earlier start and can't be stopped: {', '.join(stuck)}")
    for file in files:
        file.remove()
    return [file.path.stem for file in running]


def _signal_and_wait(files: list[PidFile], number: int | None, timeout_s: float) -> None:
    for file in files:
        try:
            file.send(number)
        except PermissionError as error:
            raise StackError(f"{file.path.stem} of an earlier start belongs to another user; stop it first") from error
    deadline = time.monotonic() + timeout_s
    while any(file.is_alive() for file in files) and time.monotonic() < deadline:
        time.sleep(POLL_S)
