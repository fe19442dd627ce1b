"""`python -m services.stack`, as `make run` starts it."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from c360.identity.v1 import rules_pb2, rules_pb2_grpc

from services.stack.leftovers import PidFile, birth_of
from services.stack.ports import SERVICES
from services.stack.probe import is_serving
from shared.rpc.errors import reason_of

STARTED = "Ctrl-C stops everything"
STOP_TIMEOUT_S = 60.0
COMMAND = (sys.executable, "-m", "services.stack", "--free-ports", "--data-dir")

Start = Callable[[], subprocess.Popen[str]]


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="c360-test-") as made:
        yield Path(made)


@pytest.fixture
def start(directory: Path) -> Iterator[Start]:
    command = [*COMMAND, str(directory)]
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
    assert told_to_nobody(endpoints["identity"]) == "NO_CREDENTIAL"
    children = [named for path in (directory / "run").glob("*.pid") if (named := PidFile(path).read())]
    process.send_signal(signal.SIGINT)
    assert process.wait(STOP_TIMEOUT_S) == 0
    assert len(children) == 6
    assert all(birth_of(pid) != birth for pid, birth, _ in children)


def told_to_nobody(identity: str) -> str:
    """Why a service refuses who proves nothing."""
    with grpc.insecure_channel(identity) as channel:
        rules: Any = rules_pb2_grpc.RulesServiceStub(channel)
        with pytest.raises(grpc.RpcError) as refused:
            rules.GetRules(rules_pb2.GetRulesRequest(), timeout=STOP_TIMEOUT_S)
    return reason_of(refused.value)


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


def test_started_again_it_listens_where_it_did(start: Start, directory: Path) -> None:
    seen = []
    for _ in range(2):
        process = start()
        read_until(process, STARTED)
        seen.append((directory / "endpoints.json").read_text())
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_TIMEOUT_S) == 0
    assert seen[0] == seen[1]


@pytest.mark.parametrize("wrong", ["C360_PARTITIONS=abc", "C360_PARTITIONS=0", "C360_LOG_LEVEL=banana"])
def test_a_setting_that_no_service_could_start_with_stops_it_before_anything_starts(directory: Path, wrong: str) -> None:
    name, _, value = wrong.partition("=")
    ended = subprocess.run((*COMMAND, directory), env=os.environ | {name: value}, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (2, "")
    assert [line for line in ended.stdout.splitlines() if line.startswith("error: ")] == [ended.stdout.splitlines()[-1]]
    assert f"error: {name} must be " in ended.stdout
    assert list(directory.iterdir()) == []


@pytest.mark.parametrize("module", ["ingest", "identity", "profile", "consent", "migrate"])
def test_a_service_names_the_setting_that_it_cannot_use(module: str, directory: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("C360_")}
    passwords = {f"C360_{service.upper()}_PASSWORD": "p" for service in SERVICES}
    required = {"C360_DATABASE_URL": "u", "C360_VAULT_URL": "u", "C360_ADMIN_URL": "u", "C360_KEYRING_FILE": str(directory / "k")}
    environment = kept | passwords | required | {"C360_PARTITIONS": "0"}
    command = (sys.executable, "-m", f"services.{module}")
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert ended.stderr == f"{module}: C360_PARTITIONS must be a whole number from 1 to 256\n"
    assert list(directory.iterdir()) == []
