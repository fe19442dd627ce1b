"""CloudEvents as calls, without any door."""

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from services.ingest.api.cloudevents import STRUCTURED, read_batch, read_items, read_one
from services.ingest.domain.call import MAX_DEPTH, MAX_EVENT_BYTES, Call, Delivery
from services.ingest.domain.cloudevents import message_id_of, read_structured, to_call
from services.ingest.domain.events import Rejection, judge
from services.ingest.domain.settings import KnownSource
from shared.errors import InvalidInput
from shared.events.wire import RawEvent
from shared.instants import from_iso

NOON = from_iso("2026-03-03T12:00:00Z")
SHOP = KnownSource(name="shop")
ORDER = {"specversion": "1.0", "id": "e1", "source": "/shop", "type": "com.example.order.completed"}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=150)


def structured(**fields: Any) -> Call:
    return read_structured(json.dumps(ORDER | fields).encode())


def accepted(call: Call) -> RawEvent:
    event = judge(call, Delivery(source=SHOP, received_at=NOON), lambda: "made-by-us")
    assert not isinstance(event, Rejection), event
    return event


def reason(**fields: Any) -> str:
    with pytest.raises(InvalidInput) as refused:
        structured(**fields)
    return refused.value.reason


def test_an_event_of_any_type_is_a_track_by_the_person_that_its_extension_names() -> None:
    event = accepted(structured(userid="u1", time="2026-03-03T11:00:00Z", data={"total": 12.5}, dataschema="/s", nr=7))
    assert (event.kind, event.name, event.user_id, event.properties) == ("track", ORDER["type"], "u1", {"total": 12.5})
    assert (event.message_id, event.occurred_at) == ("/shop e1", from_iso("2026-03-03T11:00:00Z"))
    assert event.extra["cloudevent"] == ORDER | {"userid": "u1", "time": "2026-03-03T11:00:00Z", "dataschema": "/s", "nr": 7}


def test_the_person_may_stand_in_the_data_too_and_the_extension_counts_first() -> None:
    data = {"userId": "of-data", "anonymousId": 7}
    assert accepted(structured(data=data)).user_id == "of-data"
    event = accepted(structured(userid="u1", data=data))
    assert (event.user_id, event.anonymous_id) == ("u1", "7")


def test_a_type_of_ours_says_which_call_the_data_is() -> None:
    event = accepted(structured(type="c360.identify", data={"userId": "u1", "traits": {"plan": "free"}, "_metadata": {"n": 1}}))
    assert (event.kind, event.user_id, event.traits) == ("identify", "u1", {"plan": "free"})
    assert event.extra["_metadata"] == {"n": 1}


def test_data_may_be_packed_absent_or_no_object() -> None:
    assert accepted(structured(userid="u1", data_base64="eyJhIjoxfQ==")).properties == {"a": 1}
    assert accepted(structured(userid="u1")).properties == {}
    assert accepted(structured(userid="u1", data=[1])).properties == {"data": [1]}
    assert accepted(structured(userid="u1", data=[])).properties == {}  # PHP's empty object
    assert accepted(structured(type="c360.identify", userid="u1", data={"traits": []})).traits == {}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"specversion": "0.3"}, "CLOUDEVENT_INVALID"),
        ({"id": ""}, "CLOUDEVENT_INVALID"),
        ({"id": 7}, "CLOUDEVENT_INVALID"),
        ({"source": None}, "CLOUDEVENT_INVALID"),
        ({"type": " "}, "CLOUDEVENT_INVALID"),
        ({"userid": True}, "CLOUDEVENT_INVALID"),
        ({"extension": {"a": 1}}, "CLOUDEVENT_INVALID"),
        ({"data_base64": "%"}, "CLOUDEVENT_INVALID"),
        ({"data_base64": "/w=="}, "DATA_NOT_JSON"),
        ({"datacontenttype": "text/xml"}, "DATA_NOT_JSON"),
        ({"datacontenttype": 7}, "DATA_NOT_JSON"),
        ({"type": "c360.track", "data": [1]}, "EVENT_INVALID"),
        ({"data": {"n": "x" * MAX_EVENT_BYTES}}, "EVENT_TOO_LARGE"),
    ],
)
def test_each_thing_wrong_has_its_own_reason(fields: dict[str, Any], expected: str) -> None:
    assert reason(**fields) == expected


def test_data_nested_too_deep_is_refused() -> None:
    deep: Any = {}
    for _ in range(MAX_DEPTH):
        deep = {"deep": deep}
    assert reason(data=deep) == "EVENT_TOO_DEEP"


@given(TEXT, TEXT, TEXT, TEXT)
def test_two_events_have_one_message_id_only_when_source_and_id_are_the_same(a: str, b: str, c: str, d: str) -> None:
    assert (message_id_of(a, b) == message_id_of(c, d)) == ((a, b) == (c, d))
    assert len(message_id_of(a, b)) <= 100
    assert message_id_of(a, b) == message_id_of(a, b).strip()


@pytest.mark.parametrize("other", ["e1 ", "e1\t", "e1\u2003", "e1\u001c"])
def test_an_id_that_differs_by_a_blank_only_is_another(other: str) -> None:
    assert accepted(structured(userid="u1", id=other)).message_id != accepted(structured(userid="u1")).message_id


def test_a_head_that_is_no_utf8_is_refused() -> None:
    """Both would become the same id, a and the sign for what can't be read."""
    for written in ("a%ff", "a%fe"):
        head = {"ce-specversion": "1.0", "ce-id": written, "ce-source": "/shop", "ce-type": "x"}
        refused = read_one(Headers(head), b"{}")
        assert isinstance(refused, Rejection)
        assert refused.reason == "CLOUDEVENT_INVALID"


@given(st.dictionaries(st.text(max_size=12) | st.sampled_from(list(ORDER)), st.text() | st.integers() | st.none()), st.binary())
def test_whatever_comes_it_is_taken_or_refused(attributes: dict[str, Any], data: bytes) -> None:
    makers: list[Callable[[], Call]] = [
        lambda: to_call(ORDER | attributes, data),
        lambda: read_structured(data),
        lambda: structured(**attributes),
    ]
    for make in makers:
        with contextlib.suppress(InvalidInput):
            assert isinstance(judge(make(), Delivery(source=SHOP, received_at=NOON), str), RawEvent | Rejection)


@pytest.mark.parametrize(
    "event",
    [
        {"specversion": "0.3", "id": "1", "source": "shop", "type": "t"},
        {"specversion": "1.0", "id": "1", "source": "shop", "type": "t", "data": {"n": "x" * MAX_EVENT_BYTES}},
    ],
)
def test_what_cannot_be_read_keeps_its_message_id(event: dict[str, Any]) -> None:
    raw = json.dumps(event).encode()
    whole = read_one(Headers({"content-type": STRUCTURED}), raw)
    in_head = {f"ce-{name}": str(value) for name, value in event.items() if name != "data"}
    binary = read_one(Headers(in_head | {"ce-specversion": "0.3"}), b"{}")
    [batched] = read_items(read_batch(b"[" + raw + b"]"))
    for found in (whole, binary, batched):
        assert isinstance(found, Rejection)
        assert found.message_id == message_id_of("shop", "1")
