"""Interleaves what is compared, round by round, so that a noisy neighbour slows all of it alike; reports medians and ratios."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

RESULTS = Path(__file__).parent / "results"

Timed = Callable[[], Awaitable[float]]  # does the work once and returns its rate or duration


class Result(msgspec.Struct, kw_only=True):
    """One line of a part. `ratio` is value / baseline; `met` is None where there is no target."""

    name: str
    value: float
    unit: str
    baseline: str | None = None
    ratio: float | None = None
    target: str | None = None
    met: bool | None = None
    samples: list[float] = []


@dataclass
class Part:
    """Named measurements of one unit, run in turns. Each round begins with another of them, so that what comes round every few
    seconds on the machine meets all of them, not always the same."""

    unit: str
    rounds: int
    samples: dict[str, list[float]] = field(default_factory=dict)

    async def run(self, **measures: Timed) -> None:
        for number in range(self.rounds):
            first = number % len(measures)
            for name, measure in (*measures.items(), *measures.items())[first : first + len(measures)]:
                self.samples.setdefault(name, []).append(await measure())
                print(f"  round {number + 1} of {self.rounds}: {name} {_short(self.samples[name][-1])} {self.unit}", flush=True)

    def result(self, name: str, baseline: str | None = None, at_least: float | None = None) -> Result:
        """The ratio to a baseline is the median of the rounds' own ratios, so what slows a whole round cancels out."""
        samples = self.samples[name]
        result = Result(name=name, value=statistics.median(samples), unit=self.unit, samples=samples)
        if baseline is not None:
            ratios = [mine / theirs for mine, theirs in zip(samples, self.samples[baseline], strict=True)]
            result.baseline, result.ratio = baseline, statistics.median(ratios)
        if at_least is not None and result.ratio is not None:
            result.target, result.met = f"ratio >= {at_least}", result.ratio >= at_least
        return result


async def timed(work: Awaitable[object]) -> float:
    """Seconds."""
    started = time.perf_counter()
    await work
    return time.perf_counter() - started


async def timed_thread(work: Callable[[], object]) -> float:
    """Seconds of blocking work, off the event loop."""
    return await timed(asyncio.to_thread(work))


def at_most(name: str, samples: list[float], unit: str, limit: float) -> Result:
    median = statistics.median(samples)
    return Result(name=name, value=median, unit=unit, target=f"<= {limit} {unit}", met=median <= limit, samples=samples)


def at_least(name: str, samples: list[float], unit: str, limit: float) -> Result:
    median = statistics.median(samples)
    return Result(name=name, value=median, unit=unit, target=f">= {limit} {unit}", met=median >= limit, samples=samples)


def percentile(name: str, samples: list[float], percent: int, limit_ms: float) -> Result:
    value = statistics.quantiles(samples, n=100, method="inclusive")[percent - 1]
    spread = [min(samples), statistics.median(samples), max(samples)]
    target = f"<= {limit_ms:g} ms"
    return Result(name=f"{name} p{percent}", value=value, unit="ms", target=target, met=value <= limit_ms, samples=spread)


def write(part: str, results: list[Result]) -> None:
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{part}.json").write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")


def _short(value: float) -> str:
    """Three digits that mean something, also of seconds."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def show(part: str, results: list[Result]) -> None:
    print(f"\n{part}")
    for result in results:
        spread = f"{_short(min(result.samples))}..{_short(max(result.samples))}" if result.samples else ""
        ratio = f"{result.ratio:.2f} x {result.baseline}" if result.ratio is not None else ""
        verdict = {True: "met", False: "MISSED", None: ""}[result.met]
        print(
            f"  {result.name:<28} {_shown(result):>12} {result.unit:<9} {spread:<22} {ratio:<26} {result.target or '':<16} {verdict}"
        )


def _shown(result: Result) -> str:
    """Shares, which have no unit, to the digits in which good ones differ."""
    return f"{result.value:,.2f}" if result.unit else f"{result.value:.5f}"
