"""A writer that was paused for so long that another took over its partitions can't write any more when it wakes up."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from services.stack.ports import HOST, choose_ports
from services.stack.probe import is_serving
from services.stack.settings import whole_environment
from services.stack.stack import Stack
from shared.health import ALIVE
from tests.e2e import tally
from tests.e2e.test_kill import wait_for_progress
from tests.e2e.turmoil import turmoil

DEADLINE_S = 30.0
POLL_S = 0.05
FENCED = "another writer has taken over these partitions"


def test_a_paused_writer_is_fenced_when_it_wakes_up(own_stack: Stack, directory: Path) -> None:
    with turmoil(own_stack, random.Random(11), people=10) as running:
        wait_for_progress(running)
        zombie = own_stack.pid("profile")
        assert zombie is not None
        with running.drained():  # in the middle of a transaction it would lose its connection, and with it the old claim
            os.kill(zombie, signal.SIGSTOP)
        with second_profile(own_stack, directory / "second.log") as (address, second):
            with running.drained(msgspec.structs.replace(own_stack.endpoints, profile=address)):
                pass  # all that was sent can be read from the second one
            written = newest_epoch(own_stack)
            os.kill(zombie, signal.SIGCONT)
            until(lambda: own_stack.pid("profile") not in (zombie, None))
            assert FENCED in own_stack.log_tail("profile", lines=100)
            until(lambda: is_serving(f"{HOST}:{own_stack.ports['profile']}", name=ALIVE))
            assert newest_epoch(own_stack) == written, "the one that the supervisor started stands by"
            second.terminate()
            assert second.wait(DEADLINE_S) == 0
            own_stack.wait_ready("profile")
            assert newest_epoch(own_stack) > written, "now it has claimed"
        wait_for_progress(running)
        result = running.finish()
    assert [problem for problem in result.problems if FENCED not in problem] == []
    assert result.visible == result.sent == result.acknowledged
    assert (result.lost, result.doubled) == (0, 0)


@contextmanager
def second_profile(stack: Stack, log: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    ports = choose_ports(False)
    address = f"{HOST}:{ports['profile']}"
    addresses = {"GRPC": "profile", "METRICS": "metrics_profile", "HTTP": "profile_http"}
    own = {f"C360_{name}_ADDRESS": f"{HOST}:{ports[port]}" for name, port in addresses.items()}
    environment = whole_environment(stack.environment_of("profile") | own)
    with log.open("ab") as output:
        process = subprocess.Popen((sys.executable, "-m", "services.profile"), env=environment, stdout=output, stderr=output)
    try:
        until(lambda: is_serving(address))
        yield address, process
    finally:
        process.kill()
        process.wait()


def newest_epoch(stack: Stack) -> int:
    return tally.scalar(stack, "SELECT max(owner_epoch) FROM profile.partition_heads")


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(POLL_S)
