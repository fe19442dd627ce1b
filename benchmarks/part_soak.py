"""Half an hour of the same traffic: what is accepted stays as quickly visible, and no service's memory grows.

`make soak` runs it; `SOAK_S=300 make soak` is shorter. Two thousand customers say something again and again, so what is cached of them is
in the caches soon, and what grows after that is a leak. Of the first ten minutes percentiles are told, of all the drift.
"""

import asyncio
import contextlib
import itertools
import os
import statistics
import time
from collections.abc import Sequence

from benchmarks.freshness import freshness
from benchmarks.harness import Result, percentile
from benchmarks.loading import memory_mb
from services.stack import ports
from services.stack.stack import Stack
from shared.waiting import end

SERVICES = ports.SERVICES
SECONDS = float(os.environ.get("SOAK_S", "1800"))
EVENTS_PER_S = 2_000
LIMITS_MS = {50: 50, 95: 150, 99: 300}
FIRST_S = 600.0
LOOK_S = 10.0
DRIFTS_AT_MOST = 1.25  # a later third's p95 against the first one's
GROWS_AT_MOST = 1.1  # the last sixth's median against the second one's: in the first, caches fill


async def measure(stack: Stack) -> list[Result]:
    memory: dict[str, list[float]] = {name: [] for name in stack.services}
    looking = asyncio.create_task(_look(stack, memory))
    samples = await freshness(stack, EVENTS_PER_S, SECONDS)
    await end([looking])
    first = samples[: max(2, int(len(samples) * min(1.0, FIRST_S / SECONDS)))]
    name = f"accepted to visible at {EVENTS_PER_S:,} events/s"
    results = [percentile(f"{name}, {min(FIRST_S, SECONDS) / 60:g} minutes", first, at, limit) for at, limit in LIMITS_MS.items()]
    return [*results, _drift(samples), *(grown(service, seen) for service, seen in memory.items())]


async def _look(stack: Stack, memory: dict[str, list[float]]) -> None:
    began = time.perf_counter()
    for number in itertools.count(1):
        await asyncio.sleep(max(0.0, began + number * LOOK_S - time.perf_counter()))
        for name, seen in memory.items():
            with contextlib.suppress(OSError):
                seen.append(memory_mb(stack.pid(name) or 0))
        if not number % 6:
            told = ", ".join(f"{name} {seen[-1]:.0f} MB" for name, seen in memory.items())
            print(f"  minute {number * LOOK_S / 60:g} of {SECONDS / 60:g}: {told}", flush=True)


def _drift(samples: Sequence[float]) -> Result:
    third = len(samples) // 3
    parts = [statistics.quantiles(part, n=20)[-1] for part in (samples[:third], samples[third : 2 * third], samples[2 * third :])]
    return _bounded("p95 of the last third, in times of the first one's", parts[-1] / parts[0], DRIFTS_AT_MOST, parts)


def grown(service: str, seen: Sequence[float]) -> Result:
    sixth = max(1, len(seen) // 6)
    ratio = statistics.median(seen[-sixth:]) / statistics.median(seen[sixth : 2 * sixth] or seen)
    return _bounded(f"memory of {service} at the end, in times of that at first", ratio, GROWS_AT_MOST, seen)


def _bounded(name: str, value: float, limit: float, samples: Sequence[float]) -> Result:
    return Result(name=name, value=value, unit="", target=f"<= {limit}", met=value <= limit, samples=list(samples))
