"""`python -m benchmarks.identity_page` writes what `make bench ONLY=identity` measured last into docs/identity.md."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.harness import RESULTS, Result

PAGE = Path(__file__).parents[1] / "docs" / "identity.md"
MARKED = re.compile(r"(<!-- figures[^>]*-->\n)(.*?)(<!-- /figures -->)", re.DOTALL)
VERDICTS = {True: "met", False: "missed", None: ""}


def main() -> int:
    publish(measured())
    return 0


def publish(results: Sequence[Result]) -> None:
    PAGE.write_text(with_figures(PAGE.read_text(), results))


def measured() -> list[Result]:
    return msgspec.json.decode((RESULTS / "identity.json").read_bytes(), type=list[Result])


def with_figures(page: str, results: Sequence[Result]) -> str:
    rows = "".join(f"| {r.name} | {_shown(r)} | {r.target or ''} | {VERDICTS[r.met]} |\n" for r in results)
    table = f"| what | measured | target | |\n|---|---|---|---|\n{rows}"
    return MARKED.sub(lambda found: f"{found[1]}\n{table}\n{at_ten_million(results)}\n\n{found[3]}", page)


def at_ten_million(results: Sequence[Result]) -> str:
    """What of it grows with the identifiers, and what doesn't."""
    bytes_each = {r.name: r.value for r in results if r.unit == "bytes/id"}
    indexes = sum(value for name, value in bytes_each.items() if name.endswith("indexes"))
    memory = [r.value for r in results if r.name.startswith("live memory of the writer")]
    return (
        f"At ten million identifiers the tables of the graph take {sum(bytes_each.values()) / 100:.1f} GB by this, {indexes / 100:.1f} GB of it"
        " indexes, of which a look-up reads one page a level. The writer's memory doesn't grow with them: its caches are bounded"
        f" (in bytes: things seen, and customers' keys), and it had {memory[-2]:,.0f} MB before the last quarter and"
        f" {memory[-1]:,.0f} MB after it."
    )


def _shown(result: Result) -> str:
    """Shares, which have no unit, to the digits in which good ones differ."""
    if not result.unit:
        return f"{result.value:,.0f}" if result.value == round(result.value) else f"{result.value:.4f}"
    digits = 0 if result.value >= 100 else 1 if result.value >= 10 else 2
    median = f" (median {result.samples[1]:.2f})" if len(result.samples) == 3 else ""
    return f"{result.value:,.{digits}f} {result.unit}{median}"


if __name__ == "__main__":
    sys.exit(main())
