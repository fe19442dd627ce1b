"""SIGHUP: what can be changed while a service runs is, and what can't is named; the service goes on."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.stack.stack import Stack
from tests.stacks import fresh_stack
from tests.waiting import eventually

AGAIN = "settings were read again"


class Service:
    def __init__(self, stack: Stack, level: Path, poison: Path) -> None:
        self.level = level
        self.poison = poison
        self._stack = stack
        stack.kill("consent", C360_LOG_LEVEL_FILE=str(level), C360_POISON_RUN_LIMIT_FILE=str(poison))
        stack.wait_ready("consent")
        pid = stack.pid("consent")
        assert pid is not None
        self.pid = pid

    def told(self) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self._stack.log_lines("consent") if line.startswith("{")]
        return [line for line in lines if line.get("pid") == self.pid]

    def hang_up(self, event: str) -> dict[str, Any]:
        """What it tells of that next."""
        before = [line for line in self.told() if line["event"] == event]
        os.kill(self.pid, signal.SIGHUP)
        eventually(lambda: len([line for line in self.told() if line["event"] == event]) > len(before))
        assert self._stack.pid("consent") == self.pid
        return [line for line in self.told() if line["event"] == event][-1]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    level, poison = tmp_path / "level", tmp_path / "poison"
    level.write_text("error")
    poison.write_text("20")
    with fresh_stack(services=["consent"]) as stack:
        yield Service(stack, level, poison)


def test_the_level_of_the_log_changes_and_what_takes_a_restart_is_named(service: Service) -> None:
    assert service.told() == [], "nothing went wrong"
    service.level.write_text("info")
    assert service.hang_up(AGAIN)["restart_for"] == []
    service.poison.write_text("40")
    assert service.hang_up(AGAIN)["restart_for"] == ["C360_POISON_RUN_LIMIT"]


def test_what_can_not_be_read_changes_nothing(service: Service) -> None:
    service.level.write_text("loud")
    told = service.hang_up("settings can't be read again; nothing is changed")
    assert "C360_LOG_LEVEL must be one of" in told["because"]
