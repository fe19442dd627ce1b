"""What a running process answers under load, and what CPU that takes of it."""

import asyncio
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

from google.protobuf.message import Message

TICKS: Final = os.sysconf("SC_CLK_TCK")


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


def cpu_s(pid: int) -> float:
    """User and system time of all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
