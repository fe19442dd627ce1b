"""Receipts: what became of an event, for the source that sent it and for nobody else."""

import os
import signal
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import grpc
import pytest
from c360.common.v1.common_pb2 import Position
from c360.ingest.v1 import ingest_pb2 as pb
from c360.ingest.v1 import plan_pb2, plan_pb2_grpc, receipt_pb2, receipt_pb2_grpc

from services.stack.stack import Stack
from shared.rpc.errors import reason_of
from tests.e2e.client import DEADLINE_S, Platform
from tests.live.command import Command

POLL_S = 0.05


@dataclass
class Desk:
    """A source, and where it asks for receipts."""

    platform: Platform
    stub: receipt_pb2_grpc.ReceiptServiceStub
    source: str
    write_key: str

    def send(self, *events: pb.Event) -> pb.RecordEventsResponse:
        return self.platform.record(self.write_key, *events)

    def receipt(self, message_id: str, write_key: str = "") -> receipt_pb2.Receipt:
        metadata = (("authorization", f"Bearer {write_key or self.write_key}"),)
        request = receipt_pb2.GetReceiptRequest(message_id=message_id)
        return self.stub.GetReceipt(request, metadata=metadata, timeout=DEADLINE_S).receipt

    def reason(self, message_id: str, write_key: str = "") -> str:
        with pytest.raises(grpc.RpcError) as refused:
            self.receipt(message_id, write_key)
        return reason_of(refused.value)


@pytest.fixture
def desk(stack: Stack) -> Iterator[Desk]:
    with Platform(stack.endpoints) as platform, grpc.insecure_channel(stack.endpoints.ingest) as channel:
        source = f"desk-{uuid.uuid4()}"
        key = platform.register_source(source)
        yield Desk(platform, receipt_pb2_grpc.ReceiptServiceStub(channel), source, key)


def seen(message_id: str, user_id: str = "") -> pb.Event:
    return pb.Event(type=pb.EVENT_TYPE_TRACK, name="Seen", message_id=message_id, user_id=user_id or f"u-{uuid.uuid4()}")


def test_an_event_that_is_applied_has_a_receipt_with_its_customer_and_where_it_stands(desk: Desk) -> None:
    event = seen("m-1")
    desk.send(event)
    position = desk.platform.newest_position(desk.write_key)
    customer_id = desk.platform.resolve("user_id", event.user_id, position).customer_id
    receipt = until_applied(desk, "m-1")  # this service hears of it a moment after the others
    assert (receipt.status, receipt.customer_id) == (pb.EVENT_STATUS_ACCEPTED, customer_id)
    assert receipt.position.log == "customer"
    assert not receipt.HasField("last_duplicate_time")


def until_applied(desk: Desk, message_id: str) -> receipt_pb2.Receipt:
    give_up_at = time.monotonic() + DEADLINE_S
    while not (receipt := desk.receipt(message_id)).customer_id:
        assert time.monotonic() < give_up_at
        time.sleep(POLL_S)
    return receipt


def test_an_event_under_way_has_a_receipt_without_a_customer(desk: Desk, stack: Stack) -> None:
    pid = stack.pid("identity")
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        position = desk.send(seen("m-1")).position
        receipt = desk.receipt("m-1")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert (receipt.status, receipt.customer_id) == (pb.EVENT_STATUS_ACCEPTED, "")
    assert receipt.position == position == Position(log="ingest", partition=0, number=position.number)
    assert until_applied(desk, "m-1").position.log == "customer"


def test_how_often_an_event_came_again_is_in_its_receipt(desk: Desk) -> None:
    event = seen("m-1")
    desk.send(event, event)
    desk.send(event)
    receipt = desk.receipt("m-1")
    assert (receipt.status, receipt.duplicates) == (pb.EVENT_STATUS_ACCEPTED, 2)
    assert receipt.last_duplicate_time.seconds > 0


def test_a_rejection_is_remembered_with_its_reason_until_the_event_is_sent_rightly(desk: Desk) -> None:
    desk.send(pb.Event(type=pb.EVENT_TYPE_TRACK, name="Seen", message_id="m-1"))
    receipt = desk.receipt("m-1")
    assert (receipt.status, list(receipt.reasons)) == (pb.EVENT_STATUS_REJECTED, ["IDS_MISSING"])
    assert not receipt.HasField("position")
    desk.send(seen("m-1"))
    assert desk.receipt("m-1").status == pb.EVENT_STATUS_ACCEPTED


def test_an_event_in_quarantine_has_a_receipt_with_its_rules_until_a_plan_takes_it(desk: Desk, stack: Stack) -> None:
    with grpc.insecure_channel(stack.endpoints.ingest) as channel:
        plans = plan_pb2_grpc.PlanServiceStub(channel)

        def publish(document: str) -> None:
            request = plan_pb2.PublishPlanRequest(request_id=str(uuid.uuid4()), source=desk.source, document=document)
            plans.PublishPlan(request, timeout=DEADLINE_S)

        publish('{"events": {}, "rules": {"unplanned_event": "quarantine"}}')
        assert desk.send(seen("m-1")).results[0].status == pb.EVENT_STATUS_QUARANTINED
        receipt = desk.receipt("m-1")
        assert (receipt.status, list(receipt.reasons)) == (pb.EVENT_STATUS_QUARANTINED, ["PLAN_UNPLANNED_EVENT"])
        publish("{}")
        plans.ReplayQuarantined(plan_pb2.ReplayQuarantinedRequest(source=desk.source), timeout=DEADLINE_S)
        assert until_applied(desk, "m-1").status == pb.EVENT_STATUS_ACCEPTED
        assert desk.send(seen("m-1")).results[0].status == pb.EVENT_STATUS_DUPLICATE


def test_nobody_else_is_told_and_what_was_never_sent_is_unknown(desk: Desk) -> None:
    desk.send(seen("m-1"))
    other = desk.platform.register_source(f"other-{uuid.uuid4()}")
    assert desk.reason("m-1", other) == "RECEIPT_UNKNOWN"
    assert desk.reason("m-2") == "RECEIPT_UNKNOWN"
    assert desk.reason("m-1", "wk_wrong") == "WRITE_KEY_UNKNOWN"
    assert desk.reason("") == "MESSAGE_ID_INVALID"
    assert desk.reason("m" * 101) == "MESSAGE_ID_INVALID"


def test_the_command_shows_a_receipt(desk: Desk, stack: Stack) -> None:
    c360 = Command(stack.data_directory)
    event = seen("m-1")
    desk.send(event, event)
    until_applied(desk, "m-1")
    shown = c360.json("events", "receipt", "m-1", "--write-key", desk.write_key)
    assert (shown["status"], shown["duplicates"], shown["reasons"]) == ("accepted", 1, [])
    printed = c360.run("events", "receipt", "m-1", "--write-key", desk.write_key).stdout
    assert shown["customer_id"] in printed
    refused = c360.run("events", "receipt", "m-2", "--write-key", desk.write_key, code=1)
    assert refused.stderr.startswith("RECEIPT_UNKNOWN: ")
