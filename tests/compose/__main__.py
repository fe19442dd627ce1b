"""`python -m tests.compose`, or `make compose-test`: the project's own compose files, built and run on a Docker engine.

Ends with 0 when all holds, or, with a loud line, where there can be no engine. Everything is torn down, also on Ctrl-C.
"""

import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from services.stack.ports import HOST, choose_ports
from tests.compose import trial
from tests.compose.containers import Containers
from tests.compose.earlier import Impossible, earlier_checkout
from tests.compose.engine import ROOT, NoEngine, engine
from tests.e2e.client import PROOFS

PROJECT = "c360-compose-test"
LOOK_S = 1.0


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.monotonic()
    try:
        with engine() as environment:
            problems = _try(environment)
    except NoEngine as reason:
        print(f"\n*** COMPOSE NOT TESTED: {reason} ***\n", flush=True)
        return 0
    except KeyboardInterrupt:
        print("\ninterrupted; everything is torn down", flush=True)
        return 130
    for problem in problems:
        print(f"problem: {problem}")
    print(f"compose {'DOES NOT HOLD' if problems else 'holds'}, after {time.monotonic() - began:.0f} s", flush=True)
    return 1 if problems else 0


def _try(environment: Mapping[str, str]) -> list[str]:
    ports = choose_ports(prefer_defaults=False)
    today = Containers(ROOT, environment, ports, PROJECT, "compose-test")
    problems: list[str] = []
    proof = _Token(today)
    PROOFS.update({f"{HOST}:{ports[name]}": proof for name in today.services})
    with _torn_down(today):
        problems += _timed("builds", partial(_build, today))
        for part in (
            trial.starts_in_order,
            trial.is_bounded,
            trial.tells_the_story,
            trial.is_watched,
            trial.survives_deaths_and_restarts,
        ):
            problems += _timed(part.__name__.replace("_", " "), partial(part, today))
        today.down(with_data=True)
        problems += _timed("is upgraded from the commit before", partial(_upgrade, today))
    return problems


class _Token:
    """The operator's. The engine is asked once in a while: an upgrade makes it, and each `up` anew."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers
        self._known, self._looked = "", float("-inf")

    def __call__(self) -> str:
        if time.monotonic() - self._looked > LOOK_S:
            self._known, self._looked = self._containers.operator_token(), time.monotonic()
        return self._known


def _build(containers: Containers) -> list[str]:
    containers.compose("build")
    return []


def _upgrade(today: Containers) -> list[str]:
    try:
        with earlier_checkout() as folder:
            before = Containers(folder, today.environment, today.ports, PROJECT, "compose-test-before")
            with _torn_down(before):
                _build(before)
                return trial.is_upgraded(before, today)
    except Impossible as reason:
        print(f"\n*** UPGRADE NOT TESTED: {reason} ***\n", flush=True)
        return []


def _timed(name: str, part: Callable[[], list[str]]) -> list[str]:
    print(f"\n=== {name}", flush=True)
    began = time.monotonic()
    try:
        problems = part()
    except Exception as error:
        problems = [f"{type(error).__name__}: {error}"]
    print(f"=== {name}: {'; '.join(problems) if problems else 'holds'} ({time.monotonic() - began:.0f} s)", flush=True)
    return [f"{name}: {problem}" for problem in problems]


@contextmanager
def _torn_down(containers: Containers) -> Iterator[None]:
    """Its containers, networks and volumes are gone before, of a run that was killed, and afterwards."""
    containers.down(with_data=True)
    try:
        yield
    finally:
        containers.down(with_data=True)
        containers.forget_image()


if __name__ == "__main__":
    sys.exit(main())
