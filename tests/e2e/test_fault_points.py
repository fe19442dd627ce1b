"""A service that dies at the worst moment loses nothing and doubles nothing: each named point of each service, under traffic."""

import random
from collections.abc import Iterator

import pytest

from services.stack.stack import Stack
from tests.e2e.faults import EVERY_POINT, crash_at
from tests.e2e.test_kill import wait_for_progress
from tests.e2e.turmoil import turmoil
from tests.stacks import fresh_stack


@pytest.fixture(scope="module")
def crashing_stack() -> Iterator[Stack]:
    with fresh_stack() as stack:
        yield stack


@pytest.mark.parametrize("service", EVERY_POINT)
def test_a_crash_at_any_point_loses_nothing_and_doubles_nothing(crashing_stack: Stack, service: str) -> None:
    with turmoil(crashing_stack, random.Random(7), people=10) as running:
        for point in EVERY_POINT[service]:
            wait_for_progress(running)
            crash_at(crashing_stack, service, point)
        wait_for_progress(running)
        tally = running.finish()
    assert tally.problems == []
    assert (tally.lost, tally.doubled) == (0, 0), str(tally)
    assert tally.visible == tally.sent == tally.acknowledged
