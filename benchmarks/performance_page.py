"""`python -m benchmarks.performance_page` writes what each part of `make bench` measured last into docs/performance.md."""

import math
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.drawing import Drawing
from benchmarks.harness import RESULTS, Result

DOCS: Final = Path(__file__).parents[1] / "docs"
PAGE: Final = DOCS / "performance.md"
PICTURE: Final = DOCS / "images" / "performance.svg"
VERDICTS: Final = {True: "met", False: "**missed**", None: ""}
TITLES: Final = {
    "path": "The whole path",
    "log": "The log",
    "proof": "Proofs",
    "erasure": "Erasure",
    "ingest": "Ingest",
    "memory": "What was seen",
    "identity": "Identity",
    "profile": "Profile",
    "consent": "Consent",
    "growth": "Growth",
    "soak": "Half an hour",
}
TARGET: Final = re.compile(r"(ratio )?(>=|<=) ([\d.]+)")
INTRODUCTION: Final = """# Performance

What `make bench` measured last; `make bench ONLY=path` measures a part anew and writes its table here. Everything runs on one machine of two cores: NATS, PostgreSQL with
`fsync`, all services, and whoever sends. What is compared is measured in turns, so that a busy neighbour slows all of it alike; a ratio is the median of the rounds' own.
The samples are in `benchmarks/results`. What each figure means stands in the part's own module, `benchmarks/part_*.py`.

![How far each figure is from its target](images/performance.svg)
"""
# Of the picture, in pixels.
WIDTH, ROW, LEFT, RIGHT, TOP, BOTTOM = 920, 18, 380, 60, 70, 30
LEAST, MOST = 0.1, 10.0  # times its target; what is farther off ends at the edge
MET, MISSED = 2, 1  # colours


def main() -> int:
    publish()
    return 0


def publish() -> None:
    parts = {part: measured(part) for part in TITLES if (RESULTS / f"{part}.json").exists()}
    PAGE.write_text(INTRODUCTION + "".join(section(part, results) for part, results in parts.items()))
    PICTURE.write_text(picture(parts))


def measured(part: str) -> list[Result]:
    return msgspec.json.decode((RESULTS / f"{part}.json").read_bytes(), type=list[Result])


def section(part: str, results: Sequence[Result]) -> str:
    rows = "".join(
        f"| {r.name} | {_short(r.value, r.unit)} | {_spread(r)} | {_ratio(r)} | {r.target or ''} | {VERDICTS[r.met]} |\n"
        for r in results
    )
    return f"\n## {TITLES[part]}\n\n| what | median | spread | beside | target | |\n|---|---|---|---|---|---|\n{rows}"


def reached(result: Result) -> float | None:
    """How many times as good as its target; 1 is just met. None where there is no target."""
    found = TARGET.match(result.target or "")
    if found is None:
        return None
    value, limit = (result.ratio or 0.0) if found[1] else result.value, float(found[3])
    better, worse = (value, limit) if found[2] == ">=" else (limit, value)
    return better / worse if worse else math.inf


def picture(parts: Mapping[str, Sequence[Result]]) -> str:
    rows = [(f"{part}: {r.name}", far) for part, results in parts.items() for r in results if (far := reached(r)) is not None]
    height = TOP + ROW * len(rows) + BOTTOM
    drawing = Drawing(
        WIDTH, height, "How far each figure is from its target", "times as good as wanted; right of the line it is met"
    )
    for times in (0.1, 0.2, 0.5, 1, 2, 5, 10):
        drawing.line((_x(times), TOP - 8), (_x(times), height - BOTTOM), "axis" if times == 1 else "grid")
        drawing.text(_x(times), height - BOTTOM + 16, f"{times:g}", anchor="middle")
    for place, (name, far) in enumerate(rows):
        y = TOP + ROW * place
        left, right = sorted((_x(1), _x(far)))
        drawing.text(LEFT - 10, y + 11, name if len(name) <= 60 else f"{name[:59]}…", anchor="end")
        drawing.bar(left, y + 2, max(right - left, 1.5), ROW - 6, MET if far >= 1 else MISSED)
    return drawing.svg()


def _x(times: float) -> float:
    share = math.log(min(max(times, LEAST), MOST) / LEAST) / math.log(MOST / LEAST)
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _short(value: float, unit: str) -> str:
    """Three digits that mean something; shares, which have no unit, to the digits in which good ones differ."""
    if not unit:
        return f"{value:,.0f}" if value == round(value) else f"{value:.4f}"
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def _spread(result: Result) -> str:
    return f"{_short(min(result.samples), 'x')[:-2]} to {_short(max(result.samples), 'x')[:-2]}" if len(result.samples) > 1 else ""


def _ratio(result: Result) -> str:
    return f"{result.ratio:.2f} times {result.baseline}" if result.ratio is not None else ""


if __name__ == "__main__":
    sys.exit(main())
