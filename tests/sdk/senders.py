"""The unmodified SDKs, each in a process of its own that sends the visits of some people and ends when all is delivered."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.sdk.browsing import browse
from tests.sdk.installing import HERE, install_node, install_old_python

SEND_TIMEOUT_S = 90.0
PYTHON = {
    "segment-analytics-python": "segment.analytics",
    "analytics-python (old)": "analytics",
    "rudder-sdk-python": "rudderstack.analytics",
}
NODE = ("analytics-node-3", "analytics-node-2", "analytics-node-old", "rudder-sdk-node")
BROWSER = {
    "analytics-next": Path("@segment/analytics-next/dist/umd/index.js"),
    "rudder-analytics-js": Path("@rudderstack/analytics-js/dist/npm/modern/bundled/umd/index.js"),
}
WITHOUT_SCREENS = ("rudder-analytics-js",)
SDKS = (*PYTHON, *NODE, *BROWSER)


class SendingFailed(AssertionError):
    """What the SDK complained about."""


@dataclass(frozen=True)
class Visits:
    """Each person is identified, takes `steps` steps, and opens a page, a screen, a group and an alias, once each."""

    prefix: str
    people: int
    steps: int

    @property
    def user_ids(self) -> list[str]:
        return [f"{self.prefix}-{number}" for number in range(self.people)]

    def arguments(self) -> list[str]:
        return [self.prefix, str(self.people), str(self.steps)]


def needs_node(sdk: str) -> bool:
    return sdk not in PYTHON


@contextmanager
def delivered(sdk: str, url: str, write_key: str, visits: Visits, skew_s: float = 0) -> Iterator[None]:
    """Begins when a server SDK says that everything is delivered, or when a page has made its visits; the page stays open,
    since browser SDKs don't tell. Raises SendingFailed, BrowsingFailed."""
    if sdk in BROWSER:
        script = install_node() / "node_modules" / BROWSER[sdk]
        with browse(sdk, script, url, write_key, visits.prefix, visits.people, visits.steps):
            yield
        return
    with sending(sdk, url, write_key, visits, skew_s) as process:
        finish(sdk, process)
    yield


@contextmanager
def sending(sdk: str, url: str, write_key: str, visits: Visits, skew_s: float = 0) -> Iterator[subprocess.Popen[str]]:
    """A server SDK at work; killed in the end if it still is."""
    environment = dict(os.environ)
    if sdk in PYTHON:
        command = [sys.executable, str(HERE / "python" / "send.py"), PYTHON[sdk], url, write_key, *visits.arguments()]
        environment |= {"PYTHONPATH": str(install_old_python())} if PYTHON[sdk] == "analytics" else {}
    else:
        command = ["node", str(install_node() / "send.mjs"), sdk, url, write_key, *visits.arguments()]
        command += [str(round(1000 * skew_s))] if skew_s else []
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def finish(sdk: str, process: subprocess.Popen[str]) -> None:
    """Raises SendingFailed when the SDK complained or did not end."""
    complaints = process.communicate(timeout=SEND_TIMEOUT_S)[1]
    if process.returncode:
        raise SendingFailed(f"{sdk}: {complaints.strip()}")
