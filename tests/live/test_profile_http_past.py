"""Over HTTP too the past is of whoever was asked for, also where others were joined to them since."""

import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from c360.common.v1.common_pb2 import CustomerRef
from c360.identity.v1 import decision_pb2
from c360.ingest.v1 import ingest_pb2 as ingest

from services.stack.stack import Stack
from tests.e2e.client import DEADLINE_S, Platform, by_identifier
from tests.live.reading import Reader, fresh

EVENTS = 5
PAUSE_S = 0.01  # so that no two of these are recorded in one microsecond


@pytest.fixture(scope="module")
def platform(stack: Stack) -> Iterator[Platform]:
    with Platform(stack.endpoints) as platform:
        yield platform


@pytest.fixture(scope="module")
def reader(stack: Stack) -> Iterator[Reader]:
    with Reader(stack) as reader:
        yield reader


def names(body: dict[str, Any]) -> list[str]:
    return [item["event"] for item in body["data"]]


def all_names(reader: Reader, person: str, known_at: str) -> list[str]:
    """Of all pages, each at the address that the one before it tells."""
    answer = reader.ask(person, "events", known_at=known_at, limit=2)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    found = names(body)
    while body["cursor"]["has_more"]:
        body = reader.get(body["cursor"]["url"]).json()
        found += names(body)
    return found


def test_events_before_a_merge_are_of_whoever_is_asked_for(platform: Platform, reader: Reader) -> None:
    key = platform.register_source(f"shop-{uuid.uuid4().hex[:8]}")
    users = [f"{name}-{uuid.uuid4().hex[:8]}" for name in ("ann", "bea")]
    done: dict[str, list[str]] = {user: [] for user in users}
    for number in range(EVENTS):
        for user in users:
            event = ingest.Event(type=ingest.EVENT_TYPE_TRACK, name=f"{user} {number}", user_id=user, message_id=str(uuid.uuid4()))
            position = platform.record(key, event).position
            done[user].insert(0, event.name)
    ids = [platform.get_profile(by_identifier("user_id", user), "audit", position).customer_id for user in users]
    time.sleep(PAUSE_S)
    before = datetime.now(UTC).isoformat()
    time.sleep(PAUSE_S)
    one, other = (CustomerRef(customer_id=customer) for customer in ids)
    request = decision_pb2.MergeCustomersRequest(
        request_id=str(uuid.uuid4()), customer=one, other=other, decided_by="ops", reason="asked", at_least_as_fresh=position
    )
    merged = platform.decisions.MergeCustomers(request, timeout=DEADLINE_S)
    both = reader.ask(f"user_id:{users[0]}", "events", at_least_as_fresh=fresh(merged.position), limit=100)
    assert sorted(names(both.json())) == sorted(done[users[0]] + done[users[1]])
    for user, customer in zip(users, ids, strict=True):
        assert all_names(reader, f"user_id:{user}", before) == done[user]
        assert all_names(reader, customer, before) == done[user]
        told = reader.ask(f"user_id:{user}", "events", known_at=before).json()["data"]
        assert {item["related"]["users"] for item in told} == {customer}
