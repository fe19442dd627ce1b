"""A page with a browser SDK, opened in a headless Chromium where there is one, else in jsdom."""

import http.server
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.sdk.installing import HERE, install_node

VISIT_TIMEOUT_S = 60.0
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


class BrowsingFailed(AssertionError):
    """What the page said, or that it said nothing."""


class _Shop(http.server.ThreadingHTTPServer):
    """Serves the page, the SDK and what it loads later, and hears how the visit went."""

    daemon_threads = True

    def __init__(self, script: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = script
        self.outcome = ""
        self.done = threading.Event()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Shop

    def do_GET(self) -> None:
        name = self.path.partition("?")[0].removeprefix("/")
        file = self.server.script.parent / name if name else HERE / "browser" / "visit.html"
        self.send_response(200 if file.is_file() else 404)
        self.send_header("content-type", "text/javascript" if name else "text/html")
        self.end_headers()
        self.wfile.write(file.read_bytes() if file.is_file() else b"")

    def do_POST(self) -> None:
        self.server.outcome = self.rfile.read(int(self.headers["content-length"])).decode()
        self.send_response(200)
        self.end_headers()
        self.server.done.set()

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


def browser() -> str:
    """Which one is used."""
    return next((found for name in CHROMIUM if (found := shutil.which(name))), "jsdom")


@contextmanager
def browse(sdk: str, script: Path, url: str, write_key: str, prefix: str, people: int, steps: int) -> Iterator[None]:
    """A page that visits; it stays open until the caller has seen what it sent. Raises BrowsingFailed."""
    asked = {"sdk": sdk, "url": url, "key": write_key, "prefix": prefix, "people": people, "steps": steps}
    with _Shop(script) as shop, tempfile.TemporaryDirectory(prefix="c360-browser-") as profile:
        threading.Thread(target=shop.serve_forever, daemon=True).start()
        with _window(f"http://127.0.0.1:{shop.server_address[1]}/?{urlencode(asked)}", profile):
            if not shop.done.wait(VISIT_TIMEOUT_S) or shop.outcome != "ok":
                raise BrowsingFailed(shop.outcome or "the page said nothing")
            yield
        shop.shutdown()


@contextmanager
def _window(address: str, profile: str) -> Iterator[None]:
    chromium = browser()
    if chromium == "jsdom":
        command = ["node", str(install_node() / "browse.mjs"), address]
    else:
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={profile}"]
        command = [chromium, *options, address]
    with subprocess.Popen(command, env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()
