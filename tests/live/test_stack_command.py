"""`python -m services.stack`, as `make run` starts it."""

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from services.stack.leftovers import PidFile, birth_of
from services.stack.probe import is_serving

STARTED = "Ctrl-C stops everything"
STOP_TIMEOUT_S = 60.0

Start = Callable[[], subprocess.Popen[str]]


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="c360-test-") as made:
        yield Path(made)


@pytest.fixture
def start(directory: Path) -> Iterator[Start]:
    command = [sys.executable, "-m", "services.stack", "--free-ports", "--data-dir", str(directory)]
    with ExitStack() as cleanup:

        def start_one() -> subprocess.Popen[str]:
            process = cleanup.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            cleanup.callback(process.terminate)
            return process

        yield start_one


def read_until(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"ended without {text!r}:\n{seen}")


def test_it_says_where_everything_is_and_one_ctrl_c_stops_everything(start: Start, directory: Path) -> None:
    process = start()
    shown = read_until(process, STARTED)
    endpoints = json.loads((directory / "endpoints.json").read_text())
    assert is_serving(endpoints["profile"])
    assert (directory / "write-key").read_text().strip() in shown
    children = [named for path in (directory / "run").glob("*.pid") if (named := PidFile(path).read())]
    process.send_signal(signal.SIGINT)
    assert process.wait(STOP_TIMEOUT_S) == 0
    assert len(children) == 6
    assert all(birth_of(pid) != birth for pid, birth, _ in children)


def test_a_second_one_on_the_same_directory_ends_with_code_2(start: Start) -> None:
    read_until(start(), STARTED)
    second = start()
    read_until(second, "is in use by a running stack")
    assert second.wait(STOP_TIMEOUT_S) == 2


def test_started_again_it_keeps_its_write_key(start: Start, directory: Path) -> None:
    first = start()
    read_until(first, STARTED)
    key = (directory / "write-key").read_text().strip()
    first.send_signal(signal.SIGTERM)
    assert first.wait(STOP_TIMEOUT_S) == 0
    assert key in read_until(start(), STARTED)
