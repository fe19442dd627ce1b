"""The commands of docs/operations.md: a backup restored into a fresh server goes on, with what INGEST still has.

In the first one somebody is erased between the two dumps.
"""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import grpc
from c360.common.v1.common_pb2 import CustomerRef
from c360.identity.v1 import identity_pb2 as pb

from services.stack.stack import Stack
from shared.rpc.errors import reason_of
from tests.e2e import tally
from tests.e2e.client import DEADLINE_S, Platform
from tests.e2e.test_kill import wait_for_progress
from tests.e2e.turmoil import turmoil
from tests.live.command import Command
from tests.live.erasing import COMPLETED, Person, erase, never_again, track
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
TIMEOUT_S = 120


def commands(name: str) -> str:
    return OPERATIONS.split(f"<!-- tested: {name} -->")[1].split("```sh\n")[1].split("```")[0]


def run(name: str, stack: Stack, where: Path, lines: slice = slice(None)) -> None:
    """As somebody types it who has `make run` in that folder, and nothing in the environment but what the page sets."""
    for link, target in ((".venv", Path(sys.prefix)), (".data", stack.data_directory)):
        (where / link).unlink(missing_ok=True)
        (where / link).symlink_to(target)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("C360_")}
    environment = inherited | {"PYTHONPATH": f"{ROOT}:{ROOT}/protos/gen"}
    typed = "\n".join([commands("of make run"), *commands(name).splitlines()[lines]])
    ran = subprocess.run(["sh", "-euc", typed], cwd=where, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert ran.returncode == 0, ran.stderr


def is_erased(platform: Platform, customer_id: str) -> bool:
    try:
        request = pb.GetErasureRequest(customer_id=customer_id)
        return platform.identity.GetErasure(request, timeout=DEADLINE_S).erasure.stage == COMPLETED
    except grpc.RpcError as error:
        if reason_of(error) != "ERASURE_UNKNOWN":
            raise
        return False


def test_a_backup_restored_into_a_fresh_server_goes_on(directory: Path) -> None:
    old, new, kept = directory / "old", directory / "new", directory / "kept"
    kept.mkdir()
    with Stack(old) as stack:
        with turmoil(stack, random.Random(12), people=10) as first:
            wait_for_progress(first)
            before = first.finish()
        with Platform(stack.endpoints) as platform:
            key, person = platform.register_source("shop"), Person()
            fresh = person.live(platform, key)
            platform.get_profile(CustomerRef(identifier=person.email_identifier()), "audit", fresh)
            run("backup", stack, kept, slice(0, 1))
            erased = erase(platform, person, fresh=fresh)
            run("backup", stack, kept, slice(1, None))
            platform.record(key, track(person.note, user_id=person.user))
        with turmoil(stack, random.Random(13), people=10) as second:
            wait_for_progress(second)
            assert second.finish().holds
    new.mkdir()
    shutil.copytree(old / "nats", new / "nats")
    with Stack(new, services=()) as servers:
        run("restore", servers, kept)
    with Stack(new, disposable=True) as stack:
        with turmoil(stack, random.Random(14), people=10) as third:
            wait_for_progress(third)
            after = third.finish()
        with Platform(stack.endpoints) as platform:
            again = tally.count(platform, tally.merged(s.ledger for running in (first, second) for s in running.senders))
            eventually(lambda: is_erased(platform, erased.customer_id))
        never_again(stack, erased)
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
        run("restore", servers, kept)
    with Stack(new, disposable=True) as stack:
        with turmoil(stack, random.Random(16), people=10) as second:
            wait_for_progress(second)
            after = second.finish()
        with Platform(stack.endpoints) as platform:
            again = tally.count(platform, tally.merged(sender.ledger for sender in first.senders))
        Command(new).run("audit", "verify")
    assert before.problems == after.problems == again.problems == []
    assert after.visible == after.sent == after.acknowledged
    assert (again.visible, again.lost, again.doubled) == (before.visible, 0, 0)
