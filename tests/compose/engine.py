"""A Docker engine: the one of this machine, or a testbed of our own that is gone afterwards."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTBED = Path(os.environ.get("C360_COMPOSE_TESTBED") or ROOT / "../shared/compose-testbed/testbed")
# The names that our files use. Of Grafana there is no stand-in; its profile isn't started.
STAND_INS = {
    "--python": "python:3.11-slim",
    "--nats": "nats:2-alpine",
    "--postgres": "postgres:18",
    "--prometheus": "prom/prometheus:v3.5.0",
}
ASK_TIMEOUT_S = 30


class NoEngine(Exception):
    """This machine can't run containers; the text says why."""


@contextmanager
def engine() -> Iterator[dict[str, str]]:
    """The environment in which `docker` and `docker compose` work. Whoever brought the engine up takes it down."""
    if os.geteuid() != 0:
        raise NoEngine("not root: containers are killed from outside, as a crash would")
    own = dict(os.environ)
    of_testbed = _testbed_environment() if TESTBED.exists() else own
    for environment in (own, of_testbed):
        if _answers(environment):
            yield environment
            return
    _must_be_able_to_bring_one_up()
    try:
        options = [word for option in STAND_INS.items() for word in option]
        if subprocess.run((TESTBED, "up", *options), check=False).returncode != 0:
            raise NoEngine(f"no Docker engine answers, and {TESTBED} couldn't bring one up (it says above why)")
        yield of_testbed
    finally:
        subprocess.run((TESTBED, "down"), check=False)


def _must_be_able_to_bring_one_up() -> None:
    if not TESTBED.exists():
        raise NoEngine(f"no Docker engine answers, and there is no testbed at {TESTBED} (C360_COMPOSE_TESTBED names one)")
    if not Path("/etc/debian_version").exists():
        raise NoEngine("no Docker engine answers, and the testbed needs Debian")


def _testbed_environment() -> dict[str, str]:
    """What `testbed env` would have a shell do."""
    script = 'eval "$("$0" env)" && env -0'
    told = subprocess.run(("bash", "-c", script, TESTBED), capture_output=True, text=True, check=True)
    return dict(line.split("=", 1) for line in told.stdout.split("\0") if line)


def _answers(environment: Mapping[str, str]) -> bool:
    for question in (("docker", "version"), ("docker", "compose", "version")):
        try:
            asked = subprocess.run(question, env=environment, capture_output=True, timeout=ASK_TIMEOUT_S, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return False
        if asked.returncode != 0:
            return False
    return True
