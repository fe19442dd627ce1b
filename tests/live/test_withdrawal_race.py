"""Reads that race a withdrawal: whoever asks after its answer is refused, and the records of all of them prove which came first."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import grpc
import pytest
from c360.common.v1.common_pb2 import CustomerRef, Identifier
from c360.consent.v1 import consent_pb2
from c360.ingest.v1 import ingest_pb2
from c360.profile.v1 import disclosure_pb2, disclosure_pb2_grpc, profile_pb2, profile_pb2_grpc
from google.protobuf.struct_pb2 import Struct

from services.stack.stack import Stack
from shared.rpc.errors import reason_of
from tests.e2e.client import DEADLINE_S, Platform
from tests.waiting import eventually

READERS, ROUNDS = 4, 5
BEFORE, AFTER = 10, 10  # reads at least ahead of each withdrawal, and of each reader behind it
GIVEN = (disclosure_pb2.VERDICT_PERMIT, disclosure_pb2.VERDICT_PARTIAL)


class Read(NamedTuple):
    began: float
    reason: str  # empty: answered


class Race:
    """Somebody who granted a new purpose, and readers with channels of their own."""

    def __init__(self, stack: Stack, platform: Platform, write_key: str) -> None:
        self.platform = platform
        self.email = Identifier(namespace="email", value=f"anna.{uuid.uuid4().hex}@example.com")
        self.who = CustomerRef(identifier=self.email)
        self.purpose = platform.define_purpose("email", "city")
        self.reads: list[Read] = []
        self._address = stack.endpoints.profile
        values = Struct()
        values.update({"email": self.email.value, "city": "Rome"})
        event = ingest_pb2.Event(
            type=ingest_pb2.EVENT_TYPE_IDENTIFY, user_id=uuid.uuid4().hex, traits=values, message_id=str(uuid.uuid4())
        )
        platform.get_profile(self.who, "audit", platform.record(write_key, event).position)

    def decide(self, outcome: consent_pb2.Outcome.ValueType) -> consent_pb2.RecordDecisionResponse:
        return self.platform.decide(self.email, self.purpose, outcome)

    def read_until(self, ended: Callable[[], bool]) -> None:
        request = profile_pb2.GetProfileRequest(customer=self.who, purpose=self.purpose)
        with grpc.insecure_channel(self._address) as channel:
            call: Any = profile_pb2_grpc.ProfileServiceStub(channel).GetProfile
            while not ended():
                began, reason = time.monotonic(), ""
                try:
                    call(request, timeout=DEADLINE_S, metadata=(("x-c360-caller", "racer"),))
                except grpc.RpcError as error:
                    reason = reason_of(error)
                self.reads.append(Read(began, reason))

    def records(self) -> list[disclosure_pb2.Disclosure]:
        """Latest first."""
        found, token = list[disclosure_pb2.Disclosure](), ""
        with grpc.insecure_channel(self._address) as channel:
            stub: Any = disclosure_pb2_grpc.DisclosureServiceStub(channel)
            while True:
                asked = disclosure_pb2.WhoReadRequest(customer=self.who, purpose=self.purpose, page_size=500, page_token=token)
                page = stub.WhoRead(asked, timeout=DEADLINE_S)
                found += page.disclosures
                if not (token := page.next_page_token):
                    return found


@pytest.fixture(scope="module")
def platform(stack: Stack) -> Iterator[Platform]:
    with Platform(stack.endpoints) as platform:
        yield platform


@pytest.fixture(scope="module")
def write_key(platform: Platform) -> str:
    return platform.register_source(f"race-{uuid.uuid4().hex[:8]}")


@pytest.mark.parametrize("number", range(ROUNDS))
def test_no_read_after_its_answer_and_a_record_of_each_that_proves_the_order(
    stack: Stack, platform: Platform, write_key: str, number: int
) -> None:
    race, ending = Race(stack, platform, write_key), threading.Event()
    granted = race.decide(consent_pb2.OUTCOME_GRANTED)
    with ThreadPoolExecutor(READERS) as readers:
        running = [readers.submit(race.read_until, ending.is_set) for _ in range(READERS)]
        try:
            eventually(lambda: len(race.reads) >= BEFORE)
            withdrawn = race.decide(consent_pb2.OUTCOME_WITHDRAWN)
            answered = time.monotonic()
            eventually(lambda: sum(one.began > answered for one in race.reads) >= READERS * AFTER)
        finally:
            ending.set()
        for one in running:
            one.result()
    behind = [one.reason for one in race.reads if one.began > answered]
    assert set(behind) == {"CONSENT_WITHDRAWN"}
    assert any(not one.reason for one in race.reads), "some were answered ahead of it"
    _check_order(race, granted, withdrawn)


def _check_order(race: Race, granted: consent_pb2.RecordDecisionResponse, withdrawn: consent_pb2.RecordDecisionResponse) -> None:
    """An answer that was written down, and that wasn't given out because it changed in that moment, has a record more."""
    records = race.records()
    given = [one for one in records if one.verdict in GIVEN]
    refused = [one for one in records if one.verdict not in GIVEN]
    assert {one.reason for one in refused} == {"CONSENT_WITHDRAWN"}
    assert len(given) >= sum(one.reason == "" for one in race.reads)
    assert len(refused) >= sum(one.reason == "CONSENT_WITHDRAWN" for one in race.reads)
    assert {id_ for one in given for id_ in one.decision_ids} == {granted.decision_id}
    assert all(withdrawn.decision_id in one.decision_ids for one in refused)
    assert max(one.consent_position.number for one in given) < withdrawn.position.number
    assert min(one.consent_position.number for one in refused) >= withdrawn.position.number
    assert max(one.read_time.ToNanoseconds() for one in given) <= min(one.read_time.ToNanoseconds() for one in refused)
