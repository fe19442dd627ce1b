"""Imports ROWS rows into a throw-away stack, interrupts that by SIGINT and by SIGKILL, goes on, and counts: each row once.

Run with `make import-demo ROWS=1000000`.
"""

import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from services.stack.stack import Stack
from tests.live.command import Command

PERSONS_SHARE = 4  # rows a person
LOOK_S = 0.05
SETTLED_AFTER_S = 1200.0
MAPPING = {
    "type": {"value": "identify"},
    "userId": "id",
    "traits": {"email": "email", "plan": "plan", "visits": {"column": "visits", "as": "integer"}},
    "timestamp": {"column": "seen", "format": "unix_s"},
}


def main() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it, and so would its children
    rows = int(os.environ.get("ROWS", "1000000"))
    with tempfile.TemporaryDirectory(prefix="c360-import-") as folder:
        file = Path(folder) / "rows.csv"
        write_rows(file, rows)
        print(f"{rows:,} rows, {file.stat().st_size / 1e6:,.0f} MB")
        with Stack(Path(folder) / "data") as stack:
            Demo(stack, Path(folder), file, rows).play()


def write_rows(file: Path, rows: int) -> None:
    persons = max(1, rows // PERSONS_SHARE)
    with file.open("w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["id", "email", "plan", "visits", "seen"])
        for row in range(rows):
            person = row % persons
            writer.writerow([f"u{person}", f"u{person}@example.com", f"plan {row % 5}", row, 1_700_000_000 + row])


class Demo:
    def __init__(self, stack: Stack, folder: Path, file: Path, rows: int) -> None:
        self.c360 = Command(stack.data_directory)
        self.c360.environment["C360_WRITE_KEY"] = self.c360.json("sources", "create", "import-demo")["write_key"]
        self.folder, self.file, self.rows = folder, file, rows
        self.mapping = folder / "mapping.json"
        self.mapping.write_text(json.dumps(MAPPING))

    def play(self) -> None:
        began = time.monotonic()
        self.step("interrupted by SIGINT", signal.SIGINT, self.rows // 3)
        self.step("killed by SIGKILL", signal.SIGKILL, 2 * self.rows // 3)
        self.step("gone on to the end", None, self.rows)
        print(f"imported and applied in {time.monotonic() - began:.0f} s")
        found = self.export()
        applied, distinct = len(found), len(set(found))
        print(f"rows={self.rows} applied={applied} doubled={applied - distinct} lost={self.rows - distinct}")
        sys.exit(0 if applied == distinct == self.rows else 1)

    def step(self, what: str, end: signal.Signals | None, at_rows: int) -> None:
        began, before = time.monotonic(), self.counted()
        command = (sys.executable, "-m", "services.cli", "import", str(self.file), "--mapping", str(self.mapping))
        process = subprocess.Popen((*command, "--json"), env=self.c360.environment, stdout=subprocess.PIPE)
        memory_mb = 0.0
        while process.poll() is None:
            memory_mb = max(memory_mb, peak_mb(process.pid))
            if end is not None and self.counted() >= at_rows:
                process.send_signal(end)
                process.wait()
            time.sleep(LOOK_S)
        rate = (self.counted() - before) / (time.monotonic() - began)
        print(f"{what}: {self.counted():,} rows counted, {rate:,.0f} rows/s, {memory_mb:.0f} MB at most")
        if end is None:
            assert process.returncode == 0
            self.settle(json.loads(process.communicate()[0])["position"])

    def settle(self, position: str) -> None:
        """Until everything is applied, which takes longer than any read waits."""
        began = time.monotonic()
        read = ("profile", "get", "user_id:u0", "--purpose", "service", "--fresh", position, "--timeout", "30")
        command = (sys.executable, "-m", "services.cli", *read)
        while subprocess.run(command, env=self.c360.environment, capture_output=True, check=False).returncode:
            assert time.monotonic() - began < SETTLED_AFTER_S
        print(f"applied {time.monotonic() - began:.0f} s later")

    def counted(self) -> int:
        try:
            counts = json.loads((self.folder / "rows.csv.progress.json").read_bytes())["counts"].get("statuses", {})
        except FileNotFoundError:
            return 0
        return sum(counts.values())

    def export(self) -> list[int]:
        """Which row each event of the source is of."""
        file = self.folder / "out.jsonl"
        told: Any = json.loads(
            self.c360.run("export", "import-demo", "--to", str(file), "--json", timeout_s=SETTLED_AFTER_S).stdout
        )
        print(f"exported {told['events']:,} events, {told['events_a_second']:,} a second")
        with file.open("rb") as lines:
            return [json.loads(line)["traits"]["visits"] for line in lines]


def peak_mb(pid: int) -> float:
    """The most that the process ever had in memory; 0 when it has just gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0.0)


if __name__ == "__main__":
    main()
