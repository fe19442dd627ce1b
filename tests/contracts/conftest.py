"""Logs of their own for the tests of this directory, on the real server."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from services.stack.stack import Stack
from tests.contracts.seam_log import SeamLog, empty_log


@pytest.fixture
def make_log(servers: Stack) -> Iterator[Callable[[], SeamLog]]:
    with ExitStack() as cleanup:
        yield lambda: cleanup.enter_context(empty_log(servers.admin_url))


@pytest.fixture
def seam_log(make_log: Callable[[], SeamLog]) -> SeamLog:
    return make_log()
