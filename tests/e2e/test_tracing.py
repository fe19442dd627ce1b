"""One trace id goes from the request that brings an event to the profile that shows it, and no span tells whose."""

import asyncio
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import httpx
import nats
import pytest
from c360.ingest.v1 import ingest_pb2
from c360.profile.v1 import profile_pb2

from services.stack.stack import Stack
from shared.events.wire import INGEST_STREAM
from tests.e2e.client import DEADLINE_S, Platform, by_identifier
from tests.e2e.collector import Collector, collecting
from tests.stacks import fresh_stack

PATIENCE_S = 60.0  # spans are sent every five seconds
RUN = uuid.uuid4().hex[:12]
CANARY = f"canary-{RUN}"
OF_AN_EVENT = [
    ("c360-ingest", "publish INGEST"),
    ("c360-identity", "identity unit"),
    ("c360-identity", "publish CUSTOMER"),
    ("c360-profile", "profile unit"),
    ("c360-profile", "publish PROFILE"),
]


@pytest.fixture(scope="module")
def traced() -> Iterator[tuple[Stack, Collector]]:
    with pytest.MonkeyPatch.context() as patch, collecting() as collector:
        patch.setenv("C360_OTLP_ENDPOINT", collector.url)
        patch.setenv("C360_TRACE_RATIO", "0")  # only what says so itself
        with fresh_stack() as stack:
            yield stack, collector


@pytest.fixture
def platform(traced: tuple[Stack, Collector]) -> Iterator[Platform]:
    with Platform(traced[0].endpoints) as made:
        yield made


def new_parent(sampled: bool = True) -> tuple[str, str]:
    """A trace id, and its `traceparent`."""
    trace = uuid.uuid4().hex
    return trace, f"00-{trace}-{uuid.uuid4().hex[:16]}-{'01' if sampled else '00'}"


def spans_of(collector: Collector, trace: str, wanted: list[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """{(service, span): the name of its parent}, as soon as all that are wanted have come."""
    give_up_at = time.monotonic() + PATIENCE_S
    while True:
        found = collector.of(trace)
        names = {span.span_id: span.name for _, span in found}
        parents = {(service, span.name): names.get(span.parent_span_id, "") for service, span in found}
        if set(wanted) <= parents.keys() or time.monotonic() > give_up_at:
            return parents
        time.sleep(0.2)


def post(stack: Stack, key: str, parent: str, path: str = "/v1/track") -> None:
    body = {
        "userId": CANARY,
        "messageId": f"{CANARY}-{uuid.uuid4()}",
        "event": CANARY,
        "properties": {CANARY: CANARY},
        "traits": {"email": f"{CANARY}@example.com"},
    }
    headers = {"traceparent": parent, "x-request-id": CANARY, "user-agent": CANARY}
    httpx.post(f"{stack.endpoints.ingest_http}{path}?x={CANARY}", json=body, auth=(key, ""), headers=headers).raise_for_status()


def test_one_trace_goes_from_an_http_request_to_the_visible_profile(traced: tuple[Stack, Collector], platform: Platform) -> None:
    stack, collector = traced
    key, (trace, parent) = stack.write_key(), new_parent()
    post(stack, key, parent)
    assert spans_of(collector, trace, [("c360-ingest", "/v1/track"), *OF_AN_EVENT]) == {
        ("c360-ingest", "/v1/track"): "",  # of the caller
        ("c360-ingest", "publish INGEST"): "/v1/track",
        ("c360-identity", "identity unit"): "publish INGEST",
        ("c360-identity", "publish CUSTOMER"): "identity unit",
        ("c360-profile", "profile unit"): "publish CUSTOMER",
        ("c360-profile", "publish PROFILE"): "profile unit",
    }


def test_one_trace_goes_from_a_grpc_call_to_the_read_of_what_it_brought(
    traced: tuple[Stack, Collector], platform: Platform
) -> None:
    stack, collector = traced
    key, (trace, parent) = stack.write_key(), new_parent()
    event = ingest_pb2.Event(type=ingest_pb2.EVENT_TYPE_IDENTIFY, user_id=CANARY, message_id=str(uuid.uuid4()))
    metadata = (("authorization", f"Bearer {key}"), ("traceparent", parent))
    request = ingest_pb2.RecordEventsRequest(events=[event])
    position = platform.ingest.RecordEvents(request, metadata=metadata, timeout=DEADLINE_S, wait_for_ready=True).position
    read = profile_pb2.GetProfileRequest(customer=by_identifier("user_id", CANARY), purpose="audit", at_least_as_fresh=[position])
    for _ in range(2):  # the second is ready
        platform.profile.GetProfile(read, metadata=(("traceparent", parent),), timeout=DEADLINE_S)
    door, reading = "/c360.ingest.v1.IngestService/RecordEvents", "/c360.profile.v1.ProfileService/GetProfile"
    wanted = [("c360-ingest", door), ("c360-profile", reading), *OF_AN_EVENT]
    assert set(spans_of(collector, trace, wanted)) == set(wanted)


def test_requests_that_share_a_batch_keep_a_trace_each(traced: tuple[Stack, Collector], platform: Platform) -> None:
    stack, collector = traced
    key, traces = stack.write_key(), [new_parent() for _ in range(6)]
    with ThreadPoolExecutor(len(traces)) as senders:
        list(senders.map(lambda one: post(stack, key, one[1]), traces))
    for trace, _ in traces:
        assert set(OF_AN_EVENT) <= spans_of(collector, trace, OF_AN_EVENT).keys()


def test_what_is_not_sampled_leaves_nothing(traced: tuple[Stack, Collector], platform: Platform) -> None:
    stack, collector = traced
    key, (unsampled, no), (sampled, yes) = stack.write_key(), new_parent(False), new_parent()
    for parent in (no, "", f"00-{CANARY}", f"ff-{uuid.uuid4().hex}-{'0' * 16}-01", yes):
        post(stack, key, parent)
    assert spans_of(collector, sampled, OF_AN_EVENT)
    assert collector.of(unsampled) == []


def test_no_span_tells_whose_it_is(traced: tuple[Stack, Collector], platform: Platform) -> None:
    stack, collector = traced
    key, (trace, parent) = stack.write_key(), new_parent()
    post(stack, key, parent, "/v1/identify")
    asked = profile_pb2.GetProfileRequest(customer=by_identifier("email", f"{CANARY}-nobody@example.com"), purpose=CANARY)
    with pytest.raises(grpc.RpcError):
        platform.profile.GetProfile(asked, metadata=(("traceparent", parent),), timeout=DEADLINE_S)
    wanted = [*OF_AN_EVENT, ("c360-profile", "/c360.profile.v1.ProfileService/GetProfile")]
    assert set(wanted) <= spans_of(collector, trace, wanted).keys()
    sent = collector.all_bytes()
    assert [word for word in (CANARY, RUN, key) if word.encode() in sent] == []


async def test_log_lines_of_a_traced_unit_have_its_trace(traced: tuple[Stack, Collector]) -> None:
    stack, _ = traced
    trace, parent = new_parent()
    client = await nats.connect(stack.broker_url)
    try:
        await client.jetstream().publish(INGEST_STREAM, b"no batch", headers={"traceparent": parent})
    finally:
        await client.close()
    log, give_up_at = stack.data_directory / "logs" / "identity.log", time.monotonic() + PATIENCE_S
    while f'"trace_id": "{trace}"' not in log.read_text():
        assert time.monotonic() < give_up_at
        await asyncio.sleep(0.1)
