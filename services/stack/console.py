"""Shows what the stack is doing, a line a step."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO


class Console:
    """Writes to a stream, or nowhere. Lines of other threads never land inside a step's line."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._open_step: str | None = None

    def line(self, text: str) -> None:
        with self._lock:
            self._end_open_step()
            self._write(text + "\n")

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """`text ... 1.3 s`; the duration is missing when the step failed."""
        started = time.monotonic()
        with self._lock:
            self._end_open_step()
            self._write(f"  {text} ... ")
            self._open_step = text
        yield
        self._finish(text, f"{time.monotonic() - started:.1f} s")

    def _finish(self, text: str, duration: str) -> None:
        with self._lock:
            self._write(f"{duration}\n" if self._open_step == text else f"  {text}: {duration}\n")
            self._open_step = None

    def _end_open_step(self) -> None:
        if self._open_step is not None:
            self._write("\n")
            self._open_step = None

    def _write(self, text: str) -> None:
        # The terminal may be gone (closed window, broken pipe); the servers must still be stopped in order.
        with suppress(OSError, ValueError):
            if self._stream is not None:
                self._stream.write(text)
                self._stream.flush()
