"""What is done to the containers, part by part; each returns what doesn't hold."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

from tests.compose import hardness, monitoring
from tests.compose.containers import SERVERS, Containers
from tests.compose.order import cut_off, happenings, too_early
from tests.e2e import tally
from tests.e2e.client import Platform
from tests.e2e.story import Story
from tests.e2e.test_kill import wait_for_progress
from tests.e2e.turmoil import Turmoil, turmoil

PEOPLE = 10


def starts_in_order(containers: Containers) -> list[str]:
    with containers.listening() as heard:
        containers.compose("up", "-d")
        containers.wait_ready()
        containers.wait_healthy()
    return too_early(_dependencies(containers), happenings(heard))


def _dependencies(containers: Containers) -> dict[str, dict[str, str]]:
    """Of what a plain `up` starts."""
    file: dict[str, dict[str, Any]] = yaml.safe_load((containers.folder / "docker-compose.yml").read_text())["services"]
    plain = {name: container for name, container in file.items() if "profiles" not in container}
    return {
        name: {other: how["condition"] for other, how in container.get("depends_on", {}).items()}
        for name, container in plain.items()
    }


def tells_the_story(containers: Containers) -> list[str]:
    endpoints = containers.endpoints
    finds = {f"C360_{service.upper()}_ADDRESS": str(getattr(endpoints, service)) for service in containers.services}
    finds |= {"C360_INGEST_URL": endpoints.ingest_http, "C360_TOKEN": containers.operator_token()}
    with Platform(endpoints) as platform:
        told = Story(platform, finds).play()
    print(f"\nthe story holds: {told.chapters} chapters, {told.checks} checks", flush=True)
    return []


def survives_deaths_and_restarts(containers: Containers) -> list[str]:
    """Then everything is stopped and started again, and counted anew."""
    with _counted(containers, seed=21) as (running, problems):
        for name in containers.names:
            print(f"killing {name}", flush=True)
            containers.kill(name)
            _goes_on(containers, running, name)
        problems.extend(_restarts(containers, running))
    containers.wait_healthy()
    return problems + _keeps_everything(containers, running)


def _restarts(containers: Containers, running: Turmoil) -> list[str]:
    with containers.listening() as heard:
        for name in containers.names:
            print(f"restarting {name}", flush=True)
            containers.restart(name)
            _goes_on(containers, running, name)
    return [f"when it was restarted, {problem}" for problem in cut_off(happenings(heard))]


def _goes_on(containers: Containers, running: Turmoil, name: str) -> None:
    containers.wait_ready(name)
    if name in (*containers.services, *SERVERS[:2]):
        wait_for_progress(running)


def _keeps_everything(containers: Containers, running: Turmoil) -> list[str]:
    print("everything down, and up again", flush=True)
    containers.down()
    containers.compose("up", "-d")
    containers.wait_ready()
    with Platform(containers.endpoints) as platform:
        again = tally.count(platform, tally.merged(sender.ledger for sender in running.senders))
    print(f"after down and up: {again}", flush=True)
    containers.compose("run", "--rm", "-T", "c360", "audit", "verify")
    return again.problems + ([] if again.holds else [f"after down and up: {again}"])


def is_upgraded(before: Containers, after: Containers) -> list[str]:
    """Both are one installation: the same project, volumes and doors; events come all the while."""
    before.compose("up", "-d")
    before.wait_ready()
    with _counted(after, seed=22) as (running, problems):
        print("the images of before have data; now today's", flush=True)
        after.compose("up", "-d")
        after.wait_ready()
        wait_for_progress(running)
    after.wait_healthy()
    stale = [name for name in after.services if not after.inspect(name)["Config"]["Image"].endswith(f":{after.version}")]
    return problems + [f"{name} wasn't upgraded" for name in stale] + tells_the_story(after)


def is_watched(containers: Containers) -> list[str]:
    return monitoring.problems(containers)


def is_bounded(containers: Containers) -> list[str]:
    return hardness.problems(containers)


@contextmanager
def _counted(containers: Containers, seed: int) -> Iterator[tuple[Turmoil, list[str]]]:
    """Traffic for as long as the block lasts, counted when it ends."""
    problems: list[str] = []
    with turmoil(containers, random.Random(seed), people=PEOPLE) as running:
        wait_for_progress(running)
        yield running, problems
        wait_for_progress(running)
        counted = running.finish()
    print(counted, flush=True)
    problems += counted.problems + ([] if counted.holds else [str(counted)])
