"""`make bench`, or `make bench ONLY=log` for one part. Needs a machine with little else to do."""

import importlib
import os
import sys
import tempfile

import uvloop

from benchmarks import performance_page
from benchmarks.harness import Result, show, write
from services.stack.stack import Stack
from shared.process import calm_collector

PARTS = ("log", "proof", "erasure", "ingest", "memory", "identity", "profile", "consent", "path")
LONG = ("growth", "soak")  # by name alone


async def run(part: str) -> list[Result]:
    """Against servers of its own, on ports of their own, and the services that the part names."""
    module = importlib.import_module(f"benchmarks.part_{part}")
    services = getattr(module, "SERVICES", ())
    with tempfile.TemporaryDirectory(prefix="c360-bench-") as directory, Stack(directory, services=services) as servers:
        return list(await module.measure(servers))


def main() -> int:
    wanted = os.environ.get("ONLY") or ""
    if wanted and wanted not in PARTS + LONG:
        print(f"no part {wanted!r}; there are {', '.join(PARTS + LONG)}", file=sys.stderr)
        return 2
    calm_collector()  # as in a service
    missed = False
    for part in [wanted] if wanted else PARTS:
        print(f"{part} ...", flush=True)
        results = uvloop.run(run(part))
        write(part, results)
        if (publish := getattr(importlib.import_module(f"benchmarks.part_{part}"), "publish", None)) is not None:
            publish(results)
        performance_page.publish()
        show(part, results)
        missed |= any(result.met is False for result in results)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
