"""The TypeScript client's own tests, run by Node against what is started here; and what they may order to be done to it."""

import asyncio
import fcntl
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "clients" / "typescript"
BUILD_TIMEOUT_S = 600
NODE_TIMEOUT_S = 300
OLDEST_NODE: Final = 18
NODE_MISSING = "Node 18 and npm are missing, so the TypeScript client was NOT tried; on Debian: apt-get install nodejs npm"


@cache
def has_node() -> bool:
    if shutil.which("node") is None or shutil.which("npm") is None:
        return False
    version = subprocess.run(("node", "--version"), capture_output=True, text=True, check=True).stdout
    return int(version.strip().removeprefix("v").partition(".")[0]) >= OLDEST_NODE


def build() -> None:
    """The client and its tests. Other test processes may want that at the same time."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    with (Path(tempfile.gettempdir()) / "c360-typescript-client.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        command = ("make", "--no-print-directory", "client-ts-tests")
        made = subprocess.run(command, cwd=ROOT, env=kept, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S)
    assert made.returncode == 0, made.stdout + made.stderr


async def run_tests(name: str, **environment: str) -> None:
    """Those of a file; all of them have to pass."""
    node = await asyncio.create_subprocess_exec(
        "node", str(FOLDER / "build" / "tests" / "live" / f"{name}.test.js"),
        env=os.environ | environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        told, _ = await asyncio.wait_for(node.communicate(), NODE_TIMEOUT_S)
    finally:
        if node.returncode is None:
            node.kill()
    text = told.decode()
    counts = {what: int(found) for what, found in re.findall(r"^\W+ (pass|fail|skipped|cancelled) (\d+)$", text, re.MULTILINE)}
    assert (node.returncode, counts["fail"], counts["skipped"], counts["cancelled"]) == (0, 0, 0, 0), text
    assert counts["pass"] > 0, text


@contextmanager
def taking_orders(deeds: dict[str, Callable[[str], None]]) -> Iterator[str]:
    """The address where `POST /DEED/SERVICE` does it."""

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            _, deed, service = self.path.split("/")
            deeds[deed](service)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Door) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
