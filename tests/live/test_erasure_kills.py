"""Whenever identity dies during an erasure, the next start finishes it, exactly as if nothing had happened."""

import contextlib
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator

import grpc
import pytest
from c360.identity.v1 import identity_pb2 as pb

from services.stack.probe import is_serving
from services.stack.settings import whole_environment
from services.stack.stack import Stack
from shared.notes import verify_note
from tests.e2e.client import TRY_AGAIN, Platform
from tests.live.erasing import COMPLETED, Person, erase, never_again
from tests.live.readable import places_that_open
from tests.stacks import fresh_stack

PATIENCE_S = 40.0
POLL_S = 0.05
STEPS = ("requested", "begun", "keys_destroyed", "stores_purged", "completed")
POINTS = [(when, f"erasure.{step}") for step in STEPS for when in ("before", "after")] + [
    ("before", "purge_consumed"),
    ("after", "purge_consumed"),
]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Without identity, which the tests run themselves."""
    services = ("ingest", "profile", "consent")
    with fresh_stack(services=services) as stack:
        yield stack


class Identity:
    """One life of the process."""

    def __init__(self, stack: Stack, *command: str) -> None:
        environment = whole_environment(stack.environment_of("identity"))
        self._process = subprocess.Popen([sys.executable, "-m", *command], env=environment, stderr=subprocess.DEVNULL)
        give_up_at = time.monotonic() + PATIENCE_S
        while not is_serving(f"127.0.0.1:{stack.ports['identity']}"):
            assert time.monotonic() < give_up_at, "identity does not start"
            time.sleep(POLL_S)

    def wait_dead(self) -> None:
        assert self._process.wait(PATIENCE_S) == -9

    def stop(self) -> None:
        self._process.terminate()
        assert self._process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize(("when", "point"), POINTS, ids=lambda part: part.rpartition(".")[2])
async def test_an_erasure_goes_on_where_it_was_killed(stack: Stack, when: str, point: str) -> None:
    dying = Identity(stack, "tests.live.dying_identity", when, point)
    person, request_id = Person(), str(uuid.uuid4())
    with Platform(stack.endpoints) as platform:
        position = person.live(platform, platform.register_source(f"kills-{person.run}"))
        platform.resolve("email", person.email, position)
        with contextlib.suppress(grpc.RpcError):  # after its last step it may still answer
            erase(platform, person, request_id=request_id, timeout_s=5)
        dying.wait_dead()
        identity = Identity(stack, "services.identity")
        erasure = finish(platform, person, request_id)
    assert verify_note(erasure.certificate, erasure.verifier_key)
    assert len(erasure.erased_customer_ids) > 1
    never_again(stack, erasure)
    assert await places_that_open(stack, person.canaries) == []
    identity.stop()


def finish(platform: Platform, person: Person, request_id: str) -> pb.Erasure:
    give_up_at = time.monotonic() + PATIENCE_S
    while True:
        try:
            erasure = erase(platform, person, request_id=request_id, timeout_s=5)
            if erasure.stage == COMPLETED:
                return erasure
        except grpc.RpcError as error:
            if error.code() not in TRY_AGAIN:
                raise
        assert time.monotonic() < give_up_at, "the erasure does not end"
