"""What is nearly JSON costs no batch: halves of surrogate pairs and numbers that are not finite are read, and the event says so."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from services.ingest.api import cloudevents
from services.ingest.api.bodies import delivery_of, key_of, read_batch, read_items, read_single
from services.ingest.domain.call import Call, Delivery
from services.ingest.domain.events import Rejection, judge
from services.ingest.domain.repairs import MAX_REPAIRS, NUMBER_NOT_FINITE, TEXT_REPAIRED, repaired
from services.ingest.domain.settings import KnownSource
from shared.errors import InvalidInput
from shared.events.wire import RawEvent

SHOP = KnownSource(name="shop")
WELL = {"type": "track", "event": "Seen", "userId": "u-1"}


def judged(calls: Any, delivery: Delivery) -> list[RawEvent | Rejection]:
    return [judge(call, delivery, lambda: "new") if isinstance(call, Call) else call for call in calls]


def batch_of(body: bytes) -> list[RawEvent | Rejection]:
    batch = read_batch(body)
    return judged(read_items(batch), delivery_of(batch, SHOP, 1, gpc=False))


def body_of(*events: dict[str, Any], **shared: Any) -> bytes:
    """As Python writes it: halves escaped, NaN as it is."""
    return json.dumps({"batch": events, **shared}).encode()


text = st.text(st.one_of(st.characters(), st.sampled_from('\ud83d\udc4d"\\N-/'), st.characters(categories=["Cs"])))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | text,
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(text, inside, max_size=4),
    max_leaves=12,
)


@given(values)
def test_whatever_python_writes_is_read_after_a_repair(value: Any) -> None:
    written = json.dumps(value)
    expected = json.loads(written, parse_constant=lambda _: None)  # it joins pairs and keeps halves
    without = json.dumps(expected, ensure_ascii=False).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert json.dumps(msgspec.json.decode(repaired(written.encode()))) == json.dumps(json.loads(without))


@given(st.binary() | st.text(alphabet='"\\ud8DNaInfity-{}[]:,0 ').map(str.encode))
def test_what_strict_readers_take_stays_as_it_is(raw: bytes) -> None:
    try:
        msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        repaired(raw)  # in any case without an error
    else:
        assert repaired(raw) == raw


def test_an_event_that_had_to_be_repaired_says_so_and_its_neighbours_do_not() -> None:
    odd: list[dict[str, Any]] = [
        WELL | {"properties": {"bio": "ab\ud83d"}},
        WELL | {"properties": {"price": float("nan"), "least": float("-inf")}},
    ]
    found = batch_of(body_of(WELL, *odd, WELL | {"properties": {"said": "NaN \U0001f44d"}}))
    first, second, third, last = [event for event in found if isinstance(event, RawEvent)]
    assert (first.flags, last.flags) == ([], [])
    assert (second.flags, second.properties) == ([TEXT_REPAIRED], {"bio": "ab\ufffd"})
    assert (third.flags, third.properties) == ([NUMBER_NOT_FINITE], {"price": None, "least": None})
    assert last.properties == {"said": "NaN \U0001f44d"}


def test_what_a_batch_shares_marks_all_of_its_events() -> None:
    for event in batch_of(body_of(WELL, WELL, context={"page": {"title": "\ude00"}}, integrations={"All": float("inf")})):
        assert isinstance(event, RawEvent)
        assert event.flags == [NUMBER_NOT_FINITE, TEXT_REPAIRED]


@pytest.mark.parametrize(
    "ids", [{"userId": "ann-\ud83d"}, {"messageId": "m-\ud83d"}, {"externalIds": [{"type": "crm", "id": "\ud83d"}]}]
)
def test_an_id_is_not_repaired_for_then_two_would_be_one(ids: dict[str, Any]) -> None:
    refused, taken = batch_of(body_of(WELL | ids, WELL))
    assert isinstance(refused, Rejection)
    assert refused.reason == "ID_BROKEN"
    assert isinstance(taken, RawEvent)


def test_the_other_ways_in_repair_too() -> None:
    odd = {"properties": {"price": float("nan")}}
    single = json.dumps(WELL | odd).encode()
    event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "seen", "userid": "u-1", "data": odd["properties"]}
    structured = json.dumps(event).encode()
    head = {f"ce-{name}": str(value) for name, value in event.items() if name != "data"}
    found = [
        read_single(single, "track"),
        cloudevents.read_one(Headers({"content-type": cloudevents.STRUCTURED}), structured),
        cloudevents.read_one(Headers(head | {"content-type": "application/json"}), b'{"price":NaN}'),
        *cloudevents.read_items(cloudevents.read_batch(b"[" + structured + b"]")),
    ]
    for taken in judged(found, Delivery(source=SHOP, received_at=1)):
        assert isinstance(taken, RawEvent)
        assert (taken.flags, taken.properties) == ([NUMBER_NOT_FINITE], {"price": None})


def test_the_key_of_such_a_body_is_found() -> None:
    assert key_of(b'{"batch":[NaN],"writeKey":"k"}') == "k"


@pytest.mark.parametrize(
    "body", [b'{"batch":[{"a":Nan}]}', b'{"batch":[{"a":NaN}', b'{"batch":[' + b"NaN," * (MAX_REPAIRS + 1) + b"1]}"]
)
def test_what_no_repair_makes_json_is_not_json(body: bytes) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_batch(body)
    assert refused.value.reason == "JSON_BROKEN"
