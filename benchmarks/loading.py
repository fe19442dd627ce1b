"""What a running process answers under load, and what CPU that takes of it."""

import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from google.protobuf.message import Message

TICKS: Final = os.sysconf("SC_CLK_TCK")
STEAL: Final = 7


class Asked(NamedTuple):
    """One call, asked again and again, and the process that answers it."""

    address: str
    method: str
    request: Message
    pid: int


class Load(NamedTuple):
    calls_per_s: float
    cpu_us: float  # of a call
    p50_ms: float
    p99_ms: float


async def load(asked: Asked, seconds: float, rate: float = 0) -> Load:
    """As many calls as are answered; or `rate` a second, whatever happens."""
    command = [sys.executable, "-m", "benchmarks.grpc_load", "open" if rate else "closed", asked.address, asked.method]
    command += [asked.request.SerializeToString().hex(), str(seconds), *([str(rate)] if rate else [])]
    before = cpu_s(asked.pid)
    done = await asyncio.to_thread(subprocess.run, command, stdout=subprocess.PIPE, text=True, check=True)
    told = json.loads(done.stdout)
    assert not told["failed"], f"{told['failed']} calls of {asked.method} were refused"
    percentiles = statistics.quantiles(told["latencies_ms"], n=100)
    cpu_us = (cpu_s(asked.pid) - before) * 1e6 / told["calls"]
    return Load(told["calls"] / told["seconds"], cpu_us, percentiles[49], percentiles[98])


def cpu_s(pid: int, with_children: bool = False) -> float:
    """User and system time of all its threads, and with its children's, also of those that ended."""
    fields = _stat(pid)
    ticks = int(fields[11]) + int(fields[12])
    if with_children:
        ticks += int(fields[13]) + int(fields[14])
        for child in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it may end while it is looked at
                stat = _stat(int(child.name))
                ticks += int(stat[11]) + int(stat[12]) if int(stat[1]) == pid else 0
    return ticks / TICKS


def memory_mb(pid: int) -> float:
    """What is resident of it and not shared with others."""
    told = Path(f"/proc/{pid}/smaps_rollup").read_text()
    private = [line.split()[1] for line in told.splitlines() if line.startswith("Private_")]
    return sum(map(int, private)) / 1024


def others_share() -> Callable[[], float]:
    """Tells, later, what share of the machine's CPU has been neither idle nor any process's on it: the neighbours'."""
    before = _machine()

    def share() -> float:
        used = [now - then for now, then in zip(_machine(), before, strict=True)]
        return used[STEAL] / max(1, sum(used))

    return share


def _machine() -> list[int]:
    """Ticks: user, nice, system, idle, iowait, irq, softirq, steal."""
    return [int(ticks) for ticks in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1 : STEAL + 2]]


def _stat(pid: int) -> list[str]:
    """From the third field on, which are those after the name."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
