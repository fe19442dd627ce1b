"""One supervised program and the process that currently runs it."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from services.stack.console import Console
from services.stack.files import rotate_log
from services.stack.leftovers import PidFile

FIRST_DELAY_S = 0.2
MAX_DELAY_S = 5.0
STEADY_S = 5.0  # one that lived this long starts again after the first delay


def _nothing() -> None:
    return None


@dataclass(frozen=True)
class Program:
    """What to run, as which user (a command that becomes that user and runs the rest; empty for the present one).

    `before_start` runs before every start, restarts included.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    stop_signal: signal.Signals = signal.SIGTERM
    as_user: tuple[str, ...] = ()
    before_start: Callable[[], None] = _nothing
    most_deaths: int = 5  # in a row, after which nobody waits any longer for it to become ready


class Child:
    """Only the supervisor's thread calls `tend`; everything runs under the supervisor's lock."""

    def __init__(self, program: Program, run_directory: Path, log: Path, console: Console) -> None:
        self.program = program
        self.log = log
        self.wanted = True
        self.deaths = 0  # since it was last steady
        self.process: subprocess.Popen[bytes] | None = None
        self.next_environment: Mapping[str, str] = {}  # more variables, for the next start alone
        self._pid_file = PidFile(run_directory / f"{program.name}.pid")
        self._console = console
        self._delay_s = FIRST_DELAY_S
        self._start_at = 0.0
        self._started_at = 0.0
        rotate_log(log)

    def tend(self, now: float) -> None:
        if self.process is not None and (code := self.process.poll()) is not None:
            self._bury(code, now)
        if self.process is None and self.wanted and now >= self._start_at:
            self._spawn(now)

    def signal(self, number: signal.Signals) -> None:
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.send_signal(number)

    def crash(self) -> None:
        """SIGKILL on purpose: however often that happens, it starts again after the first delay."""
        self._delay_s, self.deaths = FIRST_DELAY_S, 0
        self.signal(signal.SIGKILL)

    def kill_group(self) -> None:
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def _spawn(self, now: float) -> None:
        self._started_at = now
        try:
            self.program.before_start()
            self.process = self._open_process()
        except OSError as error:
            self._plan_next_start(f"could not be started ({error.strerror})", now)
            return
        with suppress(OSError):  # a full disk must not end the supervision
            self._pid_file.write(self.process.pid, self.program.stop_signal)

    def _open_process(self) -> subprocess.Popen[bytes]:
        more, self.next_environment = self.next_environment, {}
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self._command(),
                env={**self.program.environment, **more},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the terminal is for the supervisor, which stops them in order
                umask=0o077,
            )

    def _command(self) -> list[str]:
        # In this order: a change of user would clear the parent-death signal.
        return [*self.program.as_user, *_die_with_parent(self.program.stop_signal), *self.program.command]

    def _bury(self, code: int, now: float) -> None:
        self.process = None
        self._pid_file.remove()
        if self.wanted:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
            self._plan_next_start(how, now)

    def _plan_next_start(self, how: str, now: float) -> None:
        if now - self._started_at > STEADY_S:
            self._delay_s, self.deaths = FIRST_DELAY_S, 0
        self._console.line(f"  {self.program.name} {how}; starting again in {self._delay_s:.1f} s")
        self.deaths += 1
        self._start_at = now + self._delay_s
        self._delay_s = min(self._delay_s * 2, MAX_DELAY_S)


def _die_with_parent(stop_signal: signal.Signals) -> tuple[str, ...]:
    """The kernel sends the stop signal when we die, even by SIGKILL. Not on Linux: the pid files have to do."""
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    return (setpriv, "--pdeathsig", stop_signal.name.removeprefix("SIG")) if setpriv else ()
