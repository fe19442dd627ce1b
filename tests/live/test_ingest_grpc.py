"""The door over gRPC: the same verdicts as over HTTP, and the registration of sources."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import httpx
import pytest
from c360.common.v1.common_pb2 import Identifier
from c360.ingest.v1 import ingest_pb2 as pb
from c360.ingest.v1 import ingest_pb2_grpc
from google.protobuf.timestamp_pb2 import Timestamp

from services.stack.stack import Stack
from shared.rpc.errors import reason_of
from tests.live.ingesting import Door

ACCEPTED, REJECTED = pb.EVENT_STATUS_ACCEPTED, pb.EVENT_STATUS_REJECTED


@pytest.fixture(scope="module")
def door(servers: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    opened = Door(servers, tmp_path_factory.mktemp("ingest") / "log")
    yield opened
    assert opened.stop() == 0, opened.log.read_text()


@pytest.fixture
async def ingest(door: Door) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(door.grpc) as channel:
        yield ingest_pb2_grpc.IngestServiceStub(channel)


def event(**fields: Any) -> pb.Event:
    given: dict[str, Any] = {
        "type": pb.EVENT_TYPE_TRACK,
        "name": "Order Completed",
        "user_id": f"u-{uuid4()}",
        "message_id": str(uuid4()),
    }
    return pb.Event(**(given | fields))


async def record(ingest: Any, write_key: str | None, *events: pb.Event, **fields: Any) -> pb.RecordEventsResponse:
    metadata = [] if write_key is None else [("authorization", f"Bearer {write_key}")]
    found: pb.RecordEventsResponse = await ingest.RecordEvents(
        pb.RecordEventsRequest(events=events, **fields), metadata=metadata, timeout=20
    )
    return found


async def test_nothing_is_parsed_for_who_is_unknown(door: Door) -> None:
    async with grpc.aio.insecure_channel(door.grpc) as channel:
        call: Any = channel.unary_unary("/c360.ingest.v1.IngestService/RecordEvents")
        for metadata, reason in (
            ([], "WRITE_KEY_MISSING"),
            ([("authorization", "Bearer nobody")], "WRITE_KEY_UNKNOWN"),
            ([("authorization", f"Bearer {door.write_key}")], "BODY_INVALID"),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(b"\xff not protobuf", metadata=metadata, timeout=20)
            assert reason_of(refused.value) == reason


@pytest.mark.parametrize("events", [220, 700])
async def test_a_batch_has_at_most_4_mib_and_says_so_with_a_reason(door: Door, ingest: Any, events: int) -> None:
    large = [event(name="x" * 20_000)] * events
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await record(ingest, door.write_key, *large)
    assert (refused.value.code(), reason_of(refused.value)) == (grpc.StatusCode.INVALID_ARGUMENT, "BODY_TOO_LARGE")


async def test_a_batch_in_a_stream_that_is_too_large_is_named(door: Door, ingest: Any) -> None:
    batches = [pb.StreamEventsRequest(sequence=300, events=[event()])]
    batches += [pb.StreamEventsRequest(sequence=301, events=[event(name="x" * 20_000)] * 700)]
    answers = ingest.StreamEvents(iter(batches), metadata=[("authorization", f"Bearer {door.write_key}")], timeout=20)
    assert (await answers.read()).sequence == 300
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await answers.read()
    assert (refused.value.code(), reason_of(refused.value)) == (grpc.StatusCode.INVALID_ARGUMENT, "BODY_TOO_LARGE")


async def test_a_stream_answers_batch_by_batch_in_order_with_the_same_verdicts(door: Door, ingest: Any) -> None:
    sent = [[event(), event(user_id="")], *([event()] for _ in range(40))]

    async def batches() -> AsyncIterator[pb.StreamEventsRequest]:
        for number, events in enumerate(sent):
            yield pb.StreamEventsRequest(sequence=100 + number, events=events)

    metadata = [("authorization", f"Bearer {door.write_key}")]
    answers = [answer async for answer in ingest.StreamEvents(batches(), metadata=metadata, timeout=20)]
    assert [answer.sequence for answer in answers] == list(range(100, 100 + len(sent)))
    assert [(result.status, result.reason) for result in answers[0].results] == [(ACCEPTED, ""), (REJECTED, "IDS_MISSING")]
    assert [answer.results[-1].message_id for answer in answers[1:]] == [batch[-1].message_id for batch in sent[1:]]
    positions = [answer.position.number for answer in answers]
    assert positions == sorted(positions)


async def test_a_stream_ends_with_an_error_that_says_at_which_batch(door: Door, ingest: Any) -> None:
    call = ingest.StreamEvents(metadata=[("authorization", f"Bearer {door.write_key}")], timeout=20)
    await call.write(pb.StreamEventsRequest(sequence=1, events=[event()]))
    assert (await call.read()).sequence == 1
    await call.write(pb.StreamEventsRequest(sequence=2))
    with pytest.raises(grpc.RpcError) as refused:
        await call.read()
    assert (refused.value.code(), reason_of(refused.value)) == (grpc.StatusCode.INVALID_ARGUMENT, "BATCH_EMPTY")


async def test_a_stream_without_a_write_key_is_not_read(ingest: Any) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        await ingest.StreamEvents(timeout=20).read()
    assert (refused.value.code(), reason_of(refused.value)) == (grpc.StatusCode.UNAUTHENTICATED, "WRITE_KEY_MISSING")


async def test_who_does_not_read_the_answers_of_a_stream_is_held_up_in_sending(door: Door) -> None:
    sent, total = 0, 300
    small_buffers = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_536))  # for answers; 4 MB hold requests

    async def batches() -> AsyncIterator[pb.StreamEventsRequest]:
        nonlocal sent
        for number in range(total):
            sent = number
            events = [event(message_id=f"{uuid4()}{'x' * 60}", name="x" * 1_500) for _ in range(40)]
            yield pb.StreamEventsRequest(sequence=number, events=events)

    async with grpc.aio.insecure_channel(door.grpc, options=small_buffers) as channel:
        stub = ingest_pb2_grpc.IngestServiceStub(channel)
        call = stub.StreamEvents(batches(), metadata=[("authorization", f"Bearer {door.write_key}")])
        before = -1
        while sent != before:  # until nothing more goes out
            before = sent
            await asyncio.sleep(1)
        assert sent < total // 2
        assert [answer.sequence async for answer in call] == list(range(total))


async def test_a_stop_ends_an_idle_stream_with_a_reason(servers: Stack, tmp_path: Path) -> None:
    door = await asyncio.to_thread(Door, servers, tmp_path / "log")
    async with grpc.aio.insecure_channel(door.grpc) as channel:
        call = ingest_pb2_grpc.IngestServiceStub(channel).StreamEvents(metadata=[("authorization", f"Bearer {door.write_key}")])
        await call.write(pb.StreamEventsRequest(sequence=1, events=[event()]))
        answer: Any = await call.read()
        assert answer.sequence == 1
        assert await asyncio.to_thread(door.stop) == 0
        with pytest.raises(grpc.RpcError) as refused:
            await call.read()
    assert reason_of(refused.value) == "STOPPING"


async def test_events_are_stored_as_they_came_with_the_clock_corrected(door: Door, ingest: Any) -> None:
    given = event(
        external_ids=[Identifier(namespace="crm", value="7")], original_time=Timestamp(seconds=1_000_000), category="shop"
    )
    given.properties.update({"total": 12.5, "count": 3, "coupon": None, "lines": [{"sku": "A"}]})
    answer = await record(ingest, door.write_key, given, event(), sent_time=Timestamp(seconds=1_000_060))
    assert [result.status for result in answer.results] == [ACCEPTED, ACCEPTED]
    assert (answer.position.log, answer.position.partition) == ("ingest", 0)
    stored = (await door.message_at(f"ingest/0/{answer.position.number}"))[0]
    assert (stored.message_id, stored.user_id, stored.name) == (given.message_id, given.user_id, "Order Completed")
    assert stored.properties == {"total": 12.5, "count": 3, "coupon": None, "lines": [{"sku": "A"}]}
    assert stored.external_ids == [("crm", "7")]
    assert stored.occurred_at == stored.received_at - 60_000_000


async def test_each_event_gets_its_verdict_in_order(door: Door, ingest: Any) -> None:
    deep, endless = event(), event()
    nested = deep.properties.get_or_create_list("deeper")
    for _ in range(40):
        nested = nested.add_list()
    endless.properties["n"] = float("inf")
    events = [
        event(message_id=""),
        event(user_id=""),
        event(name=""),
        event(type=pb.EVENT_TYPE_UNSPECIFIED),
        event(type=pb.EVENT_TYPE_GROUP),
        event(type=pb.EVENT_TYPE_ALIAS),
        event(message_id="m" * 101),
        event(category="c" * 33_000),
        event(original_time=Timestamp(seconds=2**40)),
        event(original_time=Timestamp(seconds=-1)),
        event(external_ids=[Identifier(namespace="my crm", value="7")]),
        deep,
        endless,
    ]
    answer = await record(ingest, door.write_key, *events)
    assert answer.results[0].message_id
    assert [result.reason for result in answer.results] == [
        "",
        "IDS_MISSING",
        "EVENT_NAME_MISSING",
        "EVENT_TYPE_UNKNOWN",
        "GROUP_ID_MISSING",
        "PREVIOUS_ID_MISSING",
        "MESSAGE_ID_TOO_LONG",
        "EVENT_TOO_LARGE",
        "TIMESTAMP_INVALID",
        "TIMESTAMP_INVALID",
        "EXTERNAL_IDS_INVALID",
        "EVENT_TOO_DEEP",
        "EVENT_INVALID",
    ]
    assert {result.status for result in answer.results[1:]} == {REJECTED}


async def test_when_nothing_is_accepted_there_is_no_position(door: Door, ingest: Any) -> None:
    assert not (await record(ingest, door.write_key, event(user_id=""))).HasField("position")


@pytest.mark.parametrize(
    ("write_key", "count", "code", "reason"),
    [
        (None, 1, grpc.StatusCode.UNAUTHENTICATED, "WRITE_KEY_MISSING"),
        ("wrong", 1, grpc.StatusCode.UNAUTHENTICATED, "WRITE_KEY_UNKNOWN"),
        ("", 0, grpc.StatusCode.INVALID_ARGUMENT, "BATCH_EMPTY"),
        ("", 2_501, grpc.StatusCode.INVALID_ARGUMENT, "BATCH_TOO_LONG"),
    ],
)
async def test_a_bad_call_gets_a_code_and_a_reason(
    door: Door, ingest: Any, write_key: str | None, count: int, code: grpc.StatusCode, reason: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await record(ingest, door.write_key if write_key == "" else write_key, *[event()] * count)
    assert (refused.value.code(), reason_of(refused.value)) == (code, reason)


async def test_a_source_is_registered_once_and_its_key_shown_once(door: Door, ingest: Any) -> None:
    name, request_id = f"shop-{uuid4()}", str(uuid4())
    first = door.register(name, request_id)
    again = door.register(name, request_id)
    assert (len(first.write_key), again.write_key) == (46, "")
    assert first.source == again.source
    assert first.source.write_key_hint == first.write_key[:9]
    with pytest.raises(grpc.RpcError) as refused:
        door.register(name)
    assert reason_of(refused.value) == "SOURCE_EXISTS"
    listed = await ingest.ListSources(pb.ListSourcesRequest(), timeout=10)
    assert listed.sources[-1] == first.source


@pytest.mark.parametrize(
    ("name", "request_id", "reason"), [("My Shop", "r", "NAME_INVALID"), ("shop", "r" * 101, "REQUEST_ID_INVALID")]
)
async def test_a_registration_names_its_source_and_its_request(door: Door, name: str, request_id: str, reason: str) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        door.register(name, request_id)
    assert reason_of(refused.value) == reason


async def test_what_the_broker_keeps_from_being_taken_is_counted_by_its_cause(door: Door, servers: Stack, ingest: Any) -> None:
    pid = servers.pid("nats")
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await record(ingest, door.write_key, event())
    finally:
        os.kill(pid, signal.SIGCONT)
    assert reason_of(refused.value) == "BROKER_DOWN"
    async with httpx.AsyncClient() as http:
        metrics = (await http.get(door.metrics)).text
    assert 'c360_door_unavailable_total{door="grpc",reason="BROKER_DOWN"} 1.0' in metrics
