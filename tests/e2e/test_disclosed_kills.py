"""A read that was answered is in the log of disclosures, whatever is killed meanwhile."""

import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest
from c360.ingest.v1 import ingest_pb2
from c360.profile.v1 import disclosure_pb2, disclosure_pb2_grpc
from c360.profile.v1 import profile_pb2 as pb
from c360.profile.v1.profile_pb2_grpc import ProfileServiceStub

from services.stack.stack import Stack
from shared import faults
from tests.e2e.client import CHANNEL_OPTIONS, DEADLINE_S, Platform, by_identifier
from tests.e2e.faults import crash_at

READERS = 4
ANSWERED = 50  # reads between two kills
POLL_S = 0.02
PATIENCE_S = 60.0
PERSON = by_identifier("user_id", "ann")


class Readers:
    """Read on and on, each read with an id of its own, and note those that are answered."""

    def __init__(self, address: str) -> None:
        self.answered: list[str] = []
        self._address = address
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._read) for _ in range(READERS)]

    @contextmanager
    def reading(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._done.set()
            for thread in self._threads:
                thread.join()

    def _read(self) -> None:
        request = pb.GetProfileRequest(customer=PERSON, purpose="service")
        with grpc.insecure_channel(self._address, options=CHANNEL_OPTIONS) as channel:
            stub = ProfileServiceStub(channel)
            while not self._done.is_set():
                request_id = str(uuid.uuid4())
                try:
                    stub.GetProfile(request, timeout=2, metadata=(("x-request-id", request_id),))
                except grpc.RpcError:
                    self._done.wait(POLL_S)
                else:
                    self.answered.append(request_id)

    def go_on(self) -> None:
        """Until some more reads were answered."""
        target, give_up_at = len(self.answered) + ANSWERED, time.monotonic() + PATIENCE_S
        while len(self.answered) < target:
            assert time.monotonic() < give_up_at, "nobody is answered any more"
            time.sleep(POLL_S)


def written_down(stack: Stack) -> Counter[str]:
    """Request ids of all reads of the person, in the order of the log."""
    found: Counter[str] = Counter()
    with grpc.insecure_channel(stack.endpoints.profile) as channel:
        stub, token = disclosure_pb2_grpc.DisclosureServiceStub(channel), ""
        while True:
            request = disclosure_pb2.WhoReadRequest(customer=PERSON, page_size=500, page_token=token)
            page = stub.WhoRead(request, timeout=DEADLINE_S, wait_for_ready=True)
            found.update(one.request_id for one in page.disclosures if one.request_id)
            if not (token := page.next_page_token):
                return found


@pytest.mark.timeout(300)  # about 20 s on two idle cores
def test_what_was_answered_is_written_down_whatever_is_killed(own_stack: Stack) -> None:
    with Platform(own_stack.endpoints) as platform:
        event = ingest_pb2.Event(type=ingest_pb2.EVENT_TYPE_IDENTIFY, user_id="ann", message_id="1")
        event.traits.update({"first_name": "Ann"})
        position = platform.record(own_stack.write_key(), event).position
        request = pb.GetProfileRequest(customer=PERSON, purpose="service", at_least_as_fresh=[position])
        platform.profile.GetProfile(request, timeout=DEADLINE_S)
    readers = Readers(own_stack.endpoints.profile)
    with readers.reading():
        for point in faults.DISCLOSURE_POINTS:
            readers.go_on()
            crash_at(own_stack, "profile", point, times=10)
        for victim in ("profile", "postgres", "profile"):
            readers.go_on()
            own_stack.kill(victim)
            own_stack.wait_ready(victim)
        readers.go_on()
    found = written_down(own_stack)
    assert found.keys() >= set(readers.answered)
    assert max(found.values()) <= 2, "a ready answer that was dropped while it was written down is made, and written down, anew"
    assert len(readers.answered) > 6 * ANSWERED
