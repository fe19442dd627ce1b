"""Keeps programs running: starts them, starts them again when they die, stops them."""

import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from services.stack.child import Child, Program
from services.stack.console import Console
from services.stack.errors import StackError
from services.stack.logs import tail

POLL_S = 0.05
KILL_TIMEOUT_S = 5.0
TAKE_DOWN_TIMEOUT_S = 10.0
NOTHING: Mapping[str, str] = {}


class Supervisor:
    """One thread starts and reaps every child: Linux ties the parent-death signal to the thread that forked."""

    def __init__(self, run_directory: Path, log_directory: Path, console: Console) -> None:
        self._run_directory = run_directory
        self._log_directory = log_directory
        self._console = console
        self._children: dict[str, Child] = {}
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._loop, name="supervisor", daemon=True)
        self._thread.start()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._children)

    def log_of(self, name: str) -> Path:
        return self._log_directory / f"{name}.log"

    def start(self, program: Program) -> None:
        with self._changed:
            self._children[program.name] = Child(program, self._run_directory, self.log_of(program.name), self._console)
            self._changed.notify_all()

    def pid(self, name: str) -> int | None:
        with self._changed:
            process = self._children[name].process
            return None if process is None else process.pid

    def kill(self, name: str, next_environment: Mapping[str, str] = NOTHING) -> None:
        """SIGKILL, as a crash would; returns when it is dead. It is started again like after any other death, that once with
        more variables."""
        with self._changed:
            child = self._children[name]
            victim, child.next_environment = child.process, next_environment
            child.crash()
            self._changed.wait_for(lambda: victim is None or child.process is not victim, KILL_TIMEOUT_S)

    def wait_ready(self, name: str, is_ready: Callable[[], bool], timeout_s: float) -> None:
        """Raises StackError with the end of the log when it keeps dying, or when the time is up."""
        deadline = time.monotonic() + timeout_s
        while not is_ready():
            child = self._children[name]
            if child.deaths >= child.program.most_deaths:
                raise self._failure(name, "keeps ending")
            if time.monotonic() > deadline:
                raise self._failure(name, f"is not ready after {timeout_s:.0f} s")
            time.sleep(POLL_S)

    def take_down(self, name: str, number: signal.Signals) -> None:
        """Ends it by this signal, and it isn't started again; returns when it is dead."""
        with self._changed:
            child = self._children[name]
            child.wanted = False
            child.signal(number)
        self.stop((name,), TAKE_DOWN_TIMEOUT_S)

    def stop(self, names: Sequence[str], timeout_s: float) -> None:
        """Each gets its stop signal at once, and SIGKILL when it is still there after the timeout."""
        with self._changed:
            children = [self._children[name] for name in names if name in self._children]
            for child in children:
                child.wanted = False
                child.signal(child.program.stop_signal)
            if not self._wait_ended(children, timeout_s):
                for child in children:
                    if child.process is not None:
                        self._console.line(f"  {child.program.name} did not stop within {timeout_s:.0f} s: killed")
                        child.kill_group()
                self._wait_ended(children, KILL_TIMEOUT_S)
            for name in names:
                self._children.pop(name, None)

    def close(self) -> None:
        """Ends the thread; the children have to be stopped before."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def _loop(self) -> None:
        with self._changed:
            while not self._closing:
                for child in self._children.values():
                    child.tend(time.monotonic())
                self._changed.notify_all()
                self._changed.wait(POLL_S)

    def _wait_ended(self, children: list[Child], timeout_s: float) -> bool:
        return self._changed.wait_for(lambda: all(child.process is None for child in children), timeout_s)

    def _failure(self, name: str, what: str) -> StackError:
        log = self.log_of(name)
        return StackError(f"{name} {what}; the end of {log}:\n{tail(log)}")
