"""Real servers, started when the first test of a session asks for them, on ports and in a directory of their own."""

import os
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import settings

from services.stack import ports
from services.stack.errors import StackError
from services.stack.ports import SERVICES
from services.stack.stack import Stack
from tests.stacks import fresh_directory

os.environ.pop("COLUMNS", None)  # of whoever runs the tests: tables are as wide as what is in them

# `make laws` looks ten times as hard; no example fails for being slow, which on a busy machine says nothing.
USUAL_EXAMPLES = 100
settings.register_profile("usual", max_examples=USUAL_EXAMPLES, deadline=None)
settings.register_profile("laws", max_examples=10 * USUAL_EXAMPLES, deadline=None)
settings.load_profile(os.environ.get("C360_TEST_PROFILE", "usual"))


# A port that is free may be another stack's a moment later, so those that start side by side choose among ports of their own.
WORKER, WORKERS = os.environ.get("PYTEST_XDIST_WORKER", "gw0"), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
ports.FREE_PORTS = ports.FREE_PORTS[int(WORKER.removeprefix("gw")) :: WORKERS]


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes name no test: packed or sealed ones differ by process and moment, and the processes must name tests alike."""
    return argname if isinstance(val, bytes) else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A set's order differs by process, so tests made of one fail to be shared out, and that only by chance."""
    for mark in metafunc.definition.iter_markers("parametrize"):
        if isinstance(mark.args[1], (set, frozenset)):
            raise pytest.UsageError(f"{metafunc.definition.nodeid}: parametrize over sorted(...), not over a set")


@pytest.fixture(scope="session")
def servers() -> Iterator[Stack]:
    """NATS, PostgreSQL and the migrated databases; no service."""
    yield from _running(())


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Everything."""
    yield from _running(SERVICES)


def _running(services: Sequence[str]) -> Iterator[Stack]:
    with fresh_directory() as directory:
        stack = Stack(directory, services=services, disposable=True)
        try:
            stack.start()
        except StackError:
            for name in ("migrate", *stack.names):
                print(f"--- end of {name}.log\n{stack.log_tail(name)}")
            raise
        try:
            yield stack
        finally:
            stack.stop()
