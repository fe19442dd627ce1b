"""What it adds to a read that it is written down first: answers a second, and CPU, that of the database included."""

import os
import signal
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.harness import Part, Result
from benchmarks.loading import Asked, Load, cpu_s, load
from services.stack.stack import Stack

MODULES: Final = {"profile": "benchmarks.switched_profile"}
WITH, WITHOUT = "written down", "not written down"
ROUNDS: Final = 9
LOAD_S: Final = 1.5
HALF: Final = 0.5  # of what is answered at most
MOST_ADDED: Final = 1.1


class Reads:
    """Of a service that begins with writing down (`switched_profile`)."""

    def __init__(self, stack: Stack, asked: Asked) -> None:
        self._asked = asked
        self._database = stack.pid("postgres")
        self._written = True
        self.cpu_us: dict[str, list[float]] = {WITH: [], WITHOUT: []}
        self.database_us: dict[str, list[float]] = {WITH: [], WITHOUT: []}

    async def loaded(self, name: str, rate: float = 0) -> Load:
        if self._written != (name == WITH):
            os.kill(self._asked.pid, signal.SIGUSR1)
            self._written = name == WITH
        before = self._database_cpu_s()
        found = await load(self._asked, LOAD_S, rate)
        self.cpu_us[name].append(found.cpu_us)
        self.database_us[name].append((self._database_cpu_s() - before) * 1e6 / (found.calls_per_s * LOAD_S))
        return found

    async def calls(self, name: str) -> float:
        return (await self.loaded(name)).calls_per_s

    def forget(self) -> None:
        for samples in (self.cpu_us, self.database_us):
            for name in samples:
                samples[name] = []

    def _database_cpu_s(self) -> float:
        """Of its sessions, and of what writes behind them."""
        children = Path(f"/proc/{self._database}/task/{self._database}/children").read_text().split()
        return sum(cpu_s(int(child)) for child in children)


async def recorded(asked_of: Callable[[Stack], Asked]) -> AsyncIterator[Result]:
    """On a stack of its own; `asked_of` makes a customer in it and tells how to ask for her."""
    with tempfile.TemporaryDirectory(prefix="c360-bench-") as directory, Stack(directory, modules=MODULES) as stack:
        reads = Reads(stack, asked_of(stack))
        for name in (WITH, WITHOUT):
            await reads.loaded(name)
        reads.forget()
        calls = Part("calls/s", ROUNDS)
        await calls.run(**{name: (lambda name=name: reads.calls(name)) for name in (WITHOUT, WITH)})
        yield calls.result(WITHOUT)
        yield calls.result(WITH, WITHOUT)
        for result in _cpu(reads, "at most"):
            yield result
        reads.forget()
        half = HALF * min(calls.samples[WITH])
        latency = Part("ms", ROUNDS)
        await latency.run(**{name: (lambda name=name: _p99(reads, name, half)) for name in (WITHOUT, WITH)})
        for name in (WITHOUT, WITH):
            yield msgspec.structs.replace(latency.result(name, WITHOUT), name=f"{name}, p99 at half")
        for result in _cpu(reads, "at half"):
            yield result


async def _p99(reads: Reads, name: str, rate: float) -> float:
    return (await reads.loaded(name, rate)).p99_ms


def _cpu(reads: Reads, load_name: str) -> list[Result]:
    """The service's own, which has a target, and with the database's."""
    own = Part("us", ROUNDS, reads.cpu_us).result(WITH, WITHOUT)
    own.name = f"CPU of a read, {load_name}"
    if load_name == "at most":
        own.target, own.met = f"ratio <= {MOST_ADDED}", (own.ratio or 0) <= MOST_ADDED
    both = {name: [a + b for a, b in zip(reads.cpu_us[name], reads.database_us[name], strict=True)] for name in (WITH, WITHOUT)}
    with_database = Part("us", ROUNDS, both).result(WITH, WITHOUT)
    with_database.name = f"CPU with the database's, {load_name}"
    return [own, with_database]
