"""The commands of docs/operations.md, Restarting one after another: under traffic, with one process of each service and with two."""

import random

import pytest
from c360.ingest.v1 import ingest_pb2

from services.stack.ports import HOST
from services.stack.stack import Stack
from tests.e2e.asking import Asking
from tests.e2e.client import Platform, by_identifier
from tests.e2e.test_backup import commands
from tests.e2e.test_kill import wait_for_progress
from tests.e2e.test_replicas import BUSY, FENCED, TAKEOVER_S
from tests.e2e.turmoil import turmoil
from tests.servers import type_in
from tests.stacks import fresh_stack

WHO = by_identifier("user_id", "asked-about")


@pytest.mark.timeout(600)  # some ten seconds of work; a busy machine takes many times that
@pytest.mark.parametrize("replicas", [1, 2])
def test_services_are_restarted_one_after_another_and_nobody_loses_anything(
    replicas: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with fresh_stack(replicas=replicas) as stack:
        doors = [f"http://{HOST}:{port}" for name, port in stack.ports.items() if name.partition(".")[0] == "ingest_http"]
        assert len(doors) == replicas
        make_known(stack)
        asking = Asking(stack.endpoints, WHO)
        with turmoil(stack, random.Random(90), people=10, doors=doors) as running:
            asking.start()
            for process in stack.processes:
                wait_for_progress(running)
                restart(stack, process)
            wait_for_progress(running)
            asking.finish()
            counted = running.finish()
    with capsys.disabled():
        print(f"\n{counted}; {asking.answered} reads, none was answered for {asking.longest_s:.1f} s at the most")
    assert [problem for problem in counted.problems if FENCED not in problem] == []
    assert (counted.lost, counted.doubled) == (0, 0), str(counted)
    assert counted.visible == counted.sent == counted.acknowledged
    assert len(running.decider.answered) == running.decider.confirmed > 0
    assert asking.refusals == []
    assert asking.answered > 0
    assert replicas == 1 or asking.longest_s < TAKEOVER_S * BUSY


def make_known(stack: Stack) -> None:
    with Platform(stack.endpoints) as platform:
        event = ingest_pb2.Event(type=ingest_pb2.EVENT_TYPE_IDENTIFY, user_id=WHO.identifier.value)
        position = platform.record(platform.register_source("asked"), event).position
        platform.get_profile(WHO, "audit", position)


def restart(stack: Stack, process: str) -> None:
    """As somebody who has `make run` in that folder types it."""
    before = stack.pid(process)
    where = stack.data_directory
    (where / ".data").unlink(missing_ok=True)
    (where / ".data").symlink_to(where)
    type_in(commands("rolling"), where, PROCESS=process, ADDRESS=f"{HOST}:{stack.ports[process]}")
    assert stack.pid(process) not in (before, None)
    stack.wait_ready(process)
