"""Checks of other rules, or of another model, each in a process of its own: what keeps a core for a minute keeps nobody waiting here.

The process is `check_process`. It is told what to do and where on its standard input, so that no secret is in its arguments, and tells
how far it is on its standard output, in frames: four bytes of length, then MessagePack. It ends when whoever asked is gone.
"""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from services.identity.graph.difference import Difference
from services.identity.graph.rules import Rules
from services.identity.simulating import Progress
from shared.config import Settings
from shared.errors import LimitExceeded, TooLarge, Unavailable
from shared.rpc.sending import Running, taken_in_time

CHECKS_AT_ONCE = 2  # each has a core for itself, and some hundred megabytes
READ_TIMEOUT_S = 20.0  # who takes no page for so long makes room for others
READING_AT_MOST_S = 60.0  # of all pages together
LENGTH_BYTES: Final = 4
PROGRAM: Final = "services.identity.check_process"
Process = subprocess.Popen[bytes]


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """`model` is the document of one; without it the rules themselves are checked."""

    database_url: str
    vault_url: str
    keyring_file: str
    block_records: int  # how many are compared for one reason at most
    rules: Rules
    model: str = ""


class Looked(msgspec.Struct, frozen=True, tag=True):
    identifiers: int
    of: int
    found: Difference


class Refused(msgspec.Struct, frozen=True, tag=True):
    """Of `TooLarge`."""

    message: str
    reason: str
    facts: dict[str, str]


ENCODE: Final = msgspec.msgpack.Encoder().encode
JOBS: Final = msgspec.msgpack.Decoder(Job)
TOLD: Final = msgspec.msgpack.Decoder(Looked | Refused)


def framed(message: Job | Looked | Refused) -> bytes:
    data = ENCODE(message)
    return len(data).to_bytes(LENGTH_BYTES, "big") + data


class Checks:
    def __init__(self, settings: Settings, block_records: int) -> None:
        self._settings = settings
        self._block_records = block_records
        self._running = Running(_busy)

    def rules(self, rules: Rules) -> AsyncGenerator[Progress, None]:
        """As `Simulation.rules`. Raises also LimitExceeded (CHECK_BUSY), Unavailable (CHECK_ENDED), DeadlineExceeded (STREAM_NOT_READ)."""
        return self._limited(self._job(rules, ""))

    def model(self, document: str, rules: Rules) -> AsyncGenerator[Progress, None]:
        """As `ModelSimulation.run`, and as `rules`."""
        return self._limited(self._job(rules, document))

    def _job(self, rules: Rules, model: str) -> Job:
        where = self._settings
        return Job(
            database_url=where.database_url,
            vault_url=where.vault_url,
            keyring_file=where.keyring_file,
            block_records=self._block_records,
            rules=rules,
            model=model,
        )

    def _limited(self, job: Job) -> AsyncGenerator[Progress, None]:
        taken = taken_in_time(_run(job), READ_TIMEOUT_S, in_all_s=READING_AT_MOST_S)
        return self._running.limited(taken, CHECKS_AT_ONCE)


def _busy(at_most: int) -> LimitExceeded:
    return LimitExceeded(f"{at_most} checks are under way; try again later", reason="CHECK_BUSY", limit=at_most)


async def _run(job: Job) -> AsyncGenerator[Progress, None]:
    """Closed early, it stops the work at once."""
    async with _process() as process:
        await asyncio.to_thread(_hand_over, process, framed(job))
        async with _output(process) as output:
            while (told := await _next(output)) is not None:
                if isinstance(told, Refused):
                    raise TooLarge(told.message, told.reason, **told.facts)
                yield Progress(told.identifiers, told.of, told.found)
        if await asyncio.to_thread(process.wait):
            raise Unavailable("the process that checks ended, and its log says why; try again", reason="CHECK_ENDED")


@asynccontextmanager
async def _process() -> AsyncIterator[Process]:
    """Not asyncio's: by uvloop it is forked, and gRPC's threads don't survive that in the child each time."""
    process = _start()
    try:
        yield process
    finally:
        process.kill()
        await asyncio.to_thread(_end, process)


def _start() -> Process:
    """Some milliseconds. In a session of its own: whose Ctrl-C it is, we decide."""
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-m", PROGRAM], stdin=pipe, stdout=pipe, start_new_session=True)


def _end(process: Process) -> None:
    """Of one that is killed or over."""
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):  # what nobody reads any more
            pipe and pipe.close()


def _hand_over(process: Process, job: bytes) -> None:
    """It stays open: that it is closed tells that we are gone."""
    assert process.stdin is not None, "it is a pipe"
    with contextlib.suppress(BrokenPipeError):  # it ended already, which its output tells too
        process.stdin.write(job)
        process.stdin.flush()


@asynccontextmanager
async def _output(process: Process) -> AsyncIterator[asyncio.StreamReader]:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, process.stdout)
    try:
        yield reader
    finally:
        transport.close()


async def _next(told: asyncio.StreamReader) -> Looked | Refused | None:
    """None: there are no more."""
    try:
        length = int.from_bytes(await told.readexactly(LENGTH_BYTES), "big")
        found: Looked | Refused = TOLD.decode(await told.readexactly(length))
    except asyncio.IncompleteReadError:
        return None
    return found
