"""A service that was away finds a backlog and works it off, however large: nothing outgrows a message or a transaction."""

import os
import signal
import uuid
from concurrent.futures import ThreadPoolExecutor

from c360.ingest.v1 import ingest_pb2
from google.protobuf.struct_pb2 import Struct

from services.stack.stack import Stack
from tests.e2e.client import Platform, by_identifier

BATCHES = 24
EVENTS = 250
BYTES = 3_000  # of an event: about 18 MB wait in the end, more than twice what the broker takes in a message


def test_a_backlog_of_large_batches_is_worked_off(stack: Stack) -> None:
    marker = uuid.uuid4().hex[:8]
    with Platform(stack.endpoints) as platform:
        key = platform.register_source(f"backlog-{marker}")
        pid = stack.pid("identity")
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            with ThreadPoolExecutor(4) as pool:
                answers = list(pool.map(lambda batch: platform.record(key, *_batch(marker, batch)), range(BATCHES)))
        finally:
            os.kill(pid, signal.SIGCONT)
        newest = max((answer.position for answer in answers), key=lambda position: position.number)
        for batch in (0, BATCHES - 1):
            profile = platform.get_profile(by_identifier("user_id", f"{marker}-{batch}-0"), "audit", newest, timeout_s=60)
            assert profile.traits["batch"].value.number_value == batch


def _batch(marker: str, batch: int) -> list[ingest_pb2.Event]:
    traits = Struct()
    traits.update({"batch": batch, "note": "x" * BYTES})
    return [
        ingest_pb2.Event(
            type=ingest_pb2.EVENT_TYPE_IDENTIFY, user_id=f"{marker}-{batch}-{number}", traits=traits, message_id=str(uuid.uuid4())
        )
        for number in range(EVENTS)
    ]
