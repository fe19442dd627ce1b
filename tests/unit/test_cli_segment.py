"""How files of Segment events are read, sent in batches, and counted."""

import io
from typing import Any

import grpc
import pytest
from c360.common.v1 import common_pb2
from c360.ingest.v1 import ingest_pb2

from services.cli import sending
from services.cli.segment import EVENT_BYTES_AT_MOST, Line, UnreadableEventError, read_lines, to_event


def read(text: str | bytes) -> list[tuple[int, Any]]:
    data = text if isinstance(text, bytes) else text.encode()
    return [(line.number, line.reason or line.value) for line in read_lines(io.BytesIO(data))]


def nested(levels: int, kind: str = "object") -> dict[str, Any]:
    value: Any = 1
    for _ in range(levels - 1):
        value = {"a": value} if kind == "object" else [value]
    return {"a": value}


def test_every_line_is_an_event() -> None:
    assert read('\n{"type":"track"}\n\n{"type":"page"}') == [(2, {"type": "track"}), (4, {"type": "page"})]


def test_a_document_over_several_lines_is_one_event() -> None:
    assert read('{\n  "type": "track"\n}\n') == [(1, {"type": "track"})]


def test_a_list_and_a_segment_batch_are_taken_apart() -> None:
    assert read('[\n{"type":"track"},\n{"type":"page"}\n]') == [(1, {"type": "track"}), (1, {"type": "page"})]
    assert read('{"batch":[{"type":"track"}],"sentAt":"2026-03-03"}') == [(1, {"type": "track"})]


def test_a_batch_shares_its_context_with_its_items() -> None:
    text = '{"batch":[{"context":{"a":1}},{},3],"context":{"a":2,"b":2}}'
    assert read(text) == [(1, {"context": {"a": 1, "b": 2}}), (1, {"context": {"a": 2, "b": 2}}), (1, "EVENT_INVALID")]


def test_a_broken_line_does_not_stop_the_others() -> None:
    assert read('{"type":\n{"type":"page"}') == [(1, "JSON_BROKEN")]
    assert read('{"type"}\n{"type":"page"}') == [(1, "JSON_BROKEN"), (2, {"type": "page"})]
    assert read(b'\xff\n3\n["x"]\n') == [(1, "JSON_BROKEN"), (2, "EVENT_INVALID"), (3, "EVENT_INVALID")]


def test_an_empty_file_has_no_events() -> None:
    assert read("") == read("\n \n") == []


def test_a_segment_event_keeps_all_that_belongs_to_it() -> None:
    event = to_event(
        {
            "type": "track",
            "messageId": "m1",
            "userId": 17,
            "anonymousId": "a1",
            "event": "Order Completed",
            "properties": {"total": 12.5, "order": 2**60},
            "context": {
                "externalIds": [
                    {"type": "crm_id", "id": "c9", "collection": "users", "encoding": "none"},
                    {"type": "account_id", "id": "acme", "collection": "accounts", "encoding": "none"},
                ],
                "locale": "de-AT",
            },
            "timestamp": "2026-03-03T10:02:11.5Z",
        },
        message_id="made-up",
    )
    assert (event.message_id, event.type, event.name) == ("m1", ingest_pb2.EVENT_TYPE_TRACK, "Order Completed")
    assert (event.user_id, event.anonymous_id) == ("17", "a1")
    assert list(event.external_ids) == [common_pb2.Identifier(namespace="crm_id", value="c9")]
    assert dict(event.properties) == {"total": 12.5, "order": str(2**60)}
    assert event.context["locale"] == "de-AT"
    assert event.original_time.ToMicroseconds() == 1772532131500000


def test_groups_and_aliases_carry_their_other_id() -> None:
    assert to_event({"type": "group", "groupId": "g1"}, "m").target_id == "g1"
    assert to_event({"type": "alias", "previousId": "a1", "userId": "u1"}, "m").target_id == "a1"


def test_an_unknown_type_is_left_to_the_service() -> None:
    assert to_event({"type": "purchase", "userId": "u1"}, "m").type == ingest_pb2.EVENT_TYPE_UNSPECIFIED


@pytest.mark.parametrize(
    ("source", "reason", "field"),
    [
        ({"userId": True}, "EVENT_INVALID", "userId"),
        ({"userId": {"id": 1}}, "EVENT_INVALID", "userId"),
        ({"properties": []}, "EVENT_INVALID", "properties"),
        ({"context": {"externalIds": {"type": "x"}}}, "EXTERNAL_IDS_INVALID", "externalIds"),
        ({"timestamp": "3 March"}, "TIMESTAMP_INVALID", "timestamp"),
        ({"timestamp": "-2h"}, "TIMESTAMP_INVALID", "timestamp"),
        ({"traits": {"name": "\ud800"}}, "EVENT_INVALID", "traits"),
        ({"context": nested(33)}, "EVENT_TOO_DEEP", "context"),
        ({"properties": {"note": "x" * EVENT_BYTES_AT_MOST}}, "EVENT_TOO_LARGE", ""),
    ],
)
def test_what_cannot_be_carried_is_rejected_with_a_reason(source: dict[str, Any], reason: str, field: str) -> None:
    with pytest.raises(UnreadableEventError) as caught:
        to_event({"type": "track"} | source, "m")
    assert (caught.value.reason, caught.value.field) == (reason, field)


@pytest.mark.parametrize("kind", ["object", "list"])
def test_what_is_just_not_too_deep_arrives(kind: str) -> None:
    sent = to_event({"type": "track", "properties": nested(32, kind)}, "m")
    request = ingest_pb2.RecordEventsRequest(events=[sent])
    assert ingest_pb2.RecordEventsRequest.FromString(request.SerializeToString()) == request


class Unavailable(grpc.RpcError):
    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE


class Service:
    """Accepts everything except events without ids, after failing as often as it was told to."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.requests: list[ingest_pb2.RecordEventsRequest] = []

    def record(self, request: ingest_pb2.RecordEventsRequest) -> ingest_pb2.RecordEventsResponse:
        self.requests.append(request)
        if len(self.requests) <= self.failures:
            raise Unavailable
        results = [self.verdict(event) for event in request.events]
        position = common_pb2.Position(log="ingest", partition=0, number=len(self.requests))
        return ingest_pb2.RecordEventsResponse(results=results, position=position)

    def verdict(self, event: ingest_pb2.Event) -> ingest_pb2.EventResult:
        if event.user_id:
            return ingest_pb2.EventResult(message_id=event.message_id, status=ingest_pb2.EVENT_STATUS_ACCEPTED)
        rejected = ingest_pb2.EVENT_STATUS_REJECTED
        return ingest_pb2.EventResult(message_id=event.message_id, status=rejected, reason="IDS_MISSING")


def event(number: int, **fields: Any) -> Line:
    return Line(number, 10, {"type": "track", "event": "Seen", "userId": "u1"} | fields)


def send(lines: list[Line], service: Service) -> sending.Tally:
    tally = sending.Tally()
    for _ in sending.send(lines, service.record, tally):
        pass
    return tally


def test_verdicts_are_counted_and_rejections_keep_their_line() -> None:
    lines = [event(1), event(2, userId=None, messageId="m2"), Line(3, 10, None, "JSON_BROKEN"), event(4, userId=True)]
    tally = send(lines, Service())
    assert tally.as_data() == {
        "accepted": 1,
        "duplicate": 0,
        "quarantined": 0,
        "rejected": 3,
        "reasons": {"EVENT_INVALID": 1, "IDS_MISSING": 1, "JSON_BROKEN": 1},
        "rejections": [
            {"line": 2, "message_id": "m2", "reason": "IDS_MISSING", "field": ""},
            {"line": 3, "message_id": "", "reason": "JSON_BROKEN", "field": ""},
            {"line": 4, "message_id": "", "reason": "EVENT_INVALID", "field": "userId"},
        ],
        "position": "ingest/0/1",
        "positions": ["ingest/0/1"],
    }


def test_the_position_is_the_newest_and_missing_when_nothing_was_accepted() -> None:
    assert send([event(n) for n in range(1, 2002)], Service()).as_data()["position"] == "ingest/0/3"
    assert send([Line(1, 10, None, "JSON_BROKEN")], Service()).as_data()["position"] is None


def test_batches_stay_within_their_limits_and_lose_nothing() -> None:
    service = Service()
    large = {"note": "x" * (sending.BATCH_BYTES // 2)}
    tally = send([event(n) for n in range(1, 1502)] + [event(n, properties=large) for n in (1502, 1503)], service)
    assert [len(request.events) for request in service.requests] == [1000, 502, 1]
    assert (tally.accepted, tally.answered_line) == (1503, 1503)


def test_what_got_no_answer_is_sent_again_under_the_same_message_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "FIRST_RETRY_DELAY_S", 0)
    service = Service(failures=2)
    tally = send([event(1), event(2)], service)
    ids = {tuple(sent.message_id for sent in request.events) for request in service.requests}
    assert tally.accepted == 2
    assert len(service.requests) == 3
    assert len(ids) == 1


def test_retries_end_and_the_tally_tells_where_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "FIRST_RETRY_DELAY_S", 0)
    service = Service()
    tally = sending.Tally()
    batches = sending.send([event(n) for n in range(1, 1200)], service.record, tally)
    next(batches)
    service.failures = 1_000
    with pytest.raises(Unavailable):
        next(batches)
    assert (tally.answered_line, tally.pending_line) == (1000, 1001)
