"""Several batches on their way at a time. A person's rows go through one lane, one batch after the other, so that whatever
is refused and sent again in between, they arrive in the order of the file."""

from __future__ import annotations

import queue
import signal
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from services.cli.importing.door import Answer, Stopped
from services.cli.importing.ledger import TAKEN, Entry
from services.cli.importing.mapper import Mapped

LANES = 4
BATCH_EVENTS = 500  # the service takes 2,500; smaller ones keep the lanes even
BATCH_BYTES = 1024 * 1024  # the service takes 4 MiB
EVENT_BYTES_AT_MOST = 1024 * 1024  # far above the service's limit, and below what it would refuse the batch for
STALE_ROWS = 8_000  # a batch that isn't full goes anyway once the file is read so much further: it holds back the progress
LOOK_S = 0.2  # how often who waits looks whether there is a reason to give up


class Sender(Protocol):
    def send(self, events: list[bytes]) -> Answer: ...

    def close(self) -> None: ...


class Batch:
    """Rows of some persons. Its first row was the `began`th that was added."""

    __slots__ = ("began", "entries", "events", "size_bytes")

    def __init__(self, began: int) -> None:
        self.began = began
        self.entries: list[Entry] = []
        self.events: list[bytes] = []
        self.size_bytes = 0

    def settle(self, answer: Answer) -> None:
        for entry, result in zip(self.entries, answer.results, strict=True):
            if result.status in TAKEN:
                entry.take(result.status)
            else:  # a word that this release doesn't know is no promise
                entry.refuse(result.reason or f"STATUS_{result.status.upper()}", result.message)


class Lanes:
    """`add`, `flush` at the end of the file, and `stop` in any case. Raises in the caller what went wrong in a lane."""

    def __init__(self, make_sender: Callable[[threading.Event], Sender], lanes: int = LANES) -> None:
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._added = 0
        self._filling: list[Batch | None] = [None] * lanes
        self._queues: list[queue.Queue[Batch | None]] = [queue.Queue(maxsize=1) for _ in range(lanes)]
        senders = [make_sender(self._stop) for _ in range(lanes)]
        self._threads = [
            threading.Thread(target=self._run, args=(sender, waiting), daemon=True)
            for sender, waiting in zip(senders, self._queues, strict=True)
        ]
        for thread in self._threads:
            thread.start()
        self._newest = (-1, "")

    @property
    def position(self) -> str:
        """The newest that was answered; empty before there is one."""
        return self._newest[1]

    def add(self, entry: Entry, mapped: Mapped) -> None:
        """Waits while its lane is busy. Raises CommandError."""
        if len(mapped.event) > EVENT_BYTES_AT_MOST:
            entry.refuse("EVENT_TOO_LARGE")
            return
        lane = zlib.crc32(mapped.person.encode(errors="replace")) % len(self._filling)
        batch = self._filling[lane]
        if batch is None:
            batch = self._filling[lane] = Batch(self._added)
        self._added += 1
        batch.entries.append(entry)
        batch.events.append(mapped.event)
        batch.size_bytes += len(mapped.event)
        if len(batch.events) == BATCH_EVENTS or batch.size_bytes >= BATCH_BYTES:
            self._flush(lane)

    def flush_stale(self) -> None:
        for lane, batch in enumerate(self._filling):
            if batch is not None and self._added - batch.began > STALE_ROWS:
                self._flush(lane)

    def flush(self) -> None:
        for lane, batch in enumerate(self._filling):
            if batch is not None:
                self._flush(lane)

    def look(self) -> None:
        """Raises what went wrong in a lane."""
        if self._failure is not None:
            raise self._failure

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Ctrl-C is raised by the next `look`: in the middle of a lock that is shared with the lanes it could leave it held for ever.

        A second one is raised at once.
        """
        before = signal.getsignal(signal.SIGINT)
        if before is signal.SIG_IGN:  # started in the background of a shell
            yield
            return

        def ask(*_: object) -> None:
            if isinstance(self._failure, KeyboardInterrupt):
                raise KeyboardInterrupt
            self._failure = KeyboardInterrupt()

        signal.signal(signal.SIGINT, ask)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def stop(self, wait_s: float) -> None:
        """Sends nothing more; waits for the answers to what is on its way."""
        self._stop.set()
        for waiting in self._queues:
            try:
                waiting.put_nowait(None)
            except queue.Full:
                continue  # its thread sees the stop with what it takes next
        for thread in self._threads:
            thread.join(wait_s)

    def _flush(self, lane: int) -> None:
        batch, self._filling[lane] = self._filling[lane], None
        while True:
            self.look()
            try:
                return self._queues[lane].put(batch, timeout=LOOK_S)
            except queue.Full:
                continue

    def _run(self, sender: Sender, waiting: queue.Queue[Batch | None]) -> None:
        try:
            while (batch := waiting.get()) is not None and not self._stop.is_set():
                answer = sender.send(batch.events)
                batch.settle(answer)
                self._place(answer.position)
        except Stopped:
            pass
        except BaseException as error:
            self._failure = self._failure or error
        finally:
            sender.close()

    def _place(self, position: str) -> None:
        number = position.rpartition("/")[2]
        if number.isdecimal():
            self._newest = max(self._newest, (int(number), position))
