"""What the door takes and what it refuses, without any door."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.ingest.domain.call import MAX_DEPTH, MAX_EVENT_BYTES, Call, CallReader, Delivery, read_call
from services.ingest.domain.clocks import TOLERANCE_US
from services.ingest.domain.events import MAX_EXTERNAL_IDS, Rejection, encode, judge
from services.ingest.domain.settings import MOST_EVENT_BYTES, KnownSource
from shared.errors import InvalidInput
from shared.events.promotion import identifiers_of
from shared.events.wire import RawEvent, decode_raw_events
from shared.instants import SECOND, from_iso, to_iso

HOUR = 3600 * SECOND
NOON = from_iso("2026-03-03T12:00:00Z")
SHOP = KnownSource(name="shop")
DELIVERY = Delivery(source=SHOP, received_at=NOON)
CANARY = "canary@example.com"


def new_message_id() -> str:
    return "made-by-us"


def verdict(delivery: Delivery = DELIVERY, **fields: Any) -> RawEvent | Rejection:
    """Of a track call with a person, unless told otherwise."""
    call = {"type": "track", "event": "Order Completed", "userId": "u1", "messageId": "m1"} | fields
    try:
        return judge(read_call(json.dumps(call).encode()), delivery, new_message_id)
    except InvalidInput as error:
        return Rejection("", error.reason, error.message)


def accepted(delivery: Delivery = DELIVERY, **fields: Any) -> RawEvent:
    event = verdict(delivery, **fields)
    assert isinstance(event, RawEvent), event
    return event


def reason(delivery: Delivery = DELIVERY, **fields: Any) -> str:
    refused = verdict(delivery, **fields)
    assert isinstance(refused, Rejection)
    return refused.reason


def test_an_event_keeps_what_its_source_said() -> None:
    event = accepted(properties={"total": 12.5}, traits={"email": CANARY}, context={"ip": "203.0.113.7"})
    assert (event.kind, event.source, event.name, event.message_id) == ("track", "shop", "Order Completed", "m1")
    assert (event.properties, event.traits, event.context) == ({"total": 12.5}, {"email": CANARY}, {"ip": "203.0.113.7"})


def test_an_event_without_a_message_id_gets_one() -> None:
    assert accepted(messageId=None).message_id == accepted(messageId="").message_id == "made-by-us"


def test_ids_that_are_numbers_become_text() -> None:
    event = accepted(userId=42, anonymousId=7, messageId=1)
    assert (event.user_id, event.anonymous_id, event.message_id) == ("42", "7", "1")


def test_a_trait_that_is_null_stays_null_so_that_it_can_remove_one() -> None:
    assert accepted(type="identify", traits={"phone": None}).traits == {"phone": None}


def test_unknown_keys_are_kept_and_the_write_key_is_not() -> None:
    unknown: dict[str, Any] = {"_metadata": {"bundled": []}, "version": 2, "extra": "e", "": 1}
    event = accepted(**unknown, writeKey="wk_secret")
    assert event.extra == unknown
    assert accepted().extra == {}


@pytest.mark.parametrize("field", ["properties", "traits", "context", "integrations"])
def test_an_empty_list_is_the_empty_object_of_php(field: str) -> None:
    empty: dict[str, Any] = {field: [], "_metadata": {"n": 1}}
    event = accepted(**empty)
    assert (getattr(event, field), event.extra) == ({}, {"_metadata": {"n": 1}})


def test_an_empty_list_inside_a_context_promotes_nothing_and_harms_nothing() -> None:
    event = accepted(context={"traits": [], "device": [], "externalIds": []})
    assert [identifier.namespace for identifier in identifiers_of(event)] == ["user_id"]


@given(st.lists(st.dictionaries(st.sampled_from(["", "x", "extra", "traits", "userId"]), st.none() | st.just({}), max_size=3)))
def test_what_came_before_changes_nothing_in_how_a_call_is_read(calls: list[dict[str, Any]]) -> None:
    """Nor whether it is decoded once or twice: no key is lost and none is made up."""
    reader = CallReader()
    for call in calls:
        raw = json.dumps({name: value for name, value in call.items() if name != "userId" or value is None}).encode()
        one, found = read_call(raw), reader.read(raw)
        assert msgspec.structs.asdict(one) == msgspec.structs.asdict(found)
        assert (found.extra or {}) == {name: value for name, value in call.items() if name in ("", "x", "extra")}


@pytest.mark.parametrize("ids", [{"userId": None}, {"userId": ""}, {"userId": "  ", "anonymousId": ""}])
def test_an_event_without_a_person_is_refused(ids: dict[str, Any]) -> None:
    assert reason(**ids) == "IDS_MISSING"


@pytest.mark.parametrize("nobody", ["null", "undefined", "-1", "00000000-0000-0000-0000-000000000000", "x" * 513])
def test_an_event_whose_only_id_names_nobody_is_refused(nobody: str) -> None:
    assert reason(userId=nobody) == "IDS_UNUSABLE"


def test_an_id_that_names_nobody_does_no_harm_beside_a_usable_one() -> None:
    assert accepted(userId="null", anonymousId="a1").anonymous_id == "a1"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"event": None}, "EVENT_NAME_MISSING"),
        ({"event": " "}, "EVENT_NAME_MISSING"),
        ({"type": "group"}, "GROUP_ID_MISSING"),
        ({"type": "alias"}, "PREVIOUS_ID_MISSING"),
        ({"type": None}, "EVENT_TYPE_UNKNOWN"),
        ({"type": "Track"}, "EVENT_TYPE_UNKNOWN"),
        ({"type": ["track"]}, "EVENT_TYPE_UNKNOWN"),
        ({"type": {"track": 1}}, "EVENT_TYPE_UNKNOWN"),
        ({"messageId": "m" * 101}, "MESSAGE_ID_TOO_LONG"),
        ({"properties": {"note": "x" * MAX_EVENT_BYTES}}, "EVENT_TOO_LARGE"),
        ({"userId": ["u1"]}, "EVENT_INVALID"),
        ({"userId": True}, "EVENT_INVALID"),
        ({"properties": [1]}, "EVENT_INVALID"),
        ({"properties": [[]], "traits": []}, "EVENT_INVALID"),
        ({"context": "web"}, "EVENT_INVALID"),
        ({"context": {"externalIds": {"crm": "1"}}}, "EXTERNAL_IDS_INVALID"),
        ({"context": {"externalIds": [{"type": "my crm", "id": "1"}]}}, "EXTERNAL_IDS_INVALID"),
        ({"context": {"externalIds": [{"type": "crm", "id": {}}]}}, "EXTERNAL_IDS_INVALID"),
        ({"timestamp": "yesterday"}, "TIMESTAMP_INVALID"),
        ({"timestamp": 1772539200}, "TIMESTAMP_INVALID"),
        ({"timestamp": "0001-01-01T00:00:00Z"}, "TIMESTAMP_INVALID"),
    ],
)
def test_each_thing_wrong_has_its_own_reason(fields: dict[str, Any], expected: str) -> None:
    assert reason(**fields) == expected


def test_a_refusal_quotes_nothing_of_the_event() -> None:
    for fields in ({"properties": [CANARY]}, {"type": CANARY}, {"timestamp": CANARY}, {"messageId": CANARY * 6}):
        refused = verdict(**fields)
        assert isinstance(refused, Rejection)
        assert CANARY not in refused.message
        assert CANARY not in refused.reason


def test_a_call_shows_nothing_when_it_is_printed() -> None:
    assert CANARY not in repr(Call(user_id=CANARY)) + repr(accepted(userId=CANARY))


def test_values_nested_too_deep_for_readers_are_refused_and_wide_ones_taken() -> None:
    deep: Any = 1
    for _ in range(MAX_DEPTH + 1):
        deep = [deep]
    assert reason(properties={"deep": deep}) == "EVENT_TOO_DEEP"
    assert reason(_metadata=deep) == "EVENT_TOO_DEEP"
    assert accepted(properties={"wide": [[]] * 100}).properties == {"wide": [[]] * 100}


def test_nesting_without_end_is_refused() -> None:
    with pytest.raises(InvalidInput) as refused:
        read_call(b'{"properties":' + b"[" * 15_000 + b"]" * 15_000 + b"}")
    assert refused.value.reason in ("EVENT_TOO_DEEP", "EVENT_INVALID")


def test_a_whole_number_that_cannot_be_stored_is_refused() -> None:
    with pytest.raises(InvalidInput) as refused:
        encode(accepted(properties={"n": 2**64}))
    assert refused.value.reason == "NUMBER_TOO_LARGE"


def test_an_event_that_its_batchs_context_makes_too_large_is_refused() -> None:
    shared = Delivery(source=SHOP, received_at=NOON, context={"note": "x" * MOST_EVENT_BYTES})
    with pytest.raises(InvalidInput) as refused:
        encode(accepted(shared))
    assert refused.value.reason == "EVENT_TOO_LARGE"


def test_groups_and_aliases_name_their_target() -> None:
    assert accepted(type="group", groupId="g1").target_id == "g1"
    assert accepted(type="alias", previousId="a1").target_id == "a1"


def test_pages_and_screens_carry_name_and_category() -> None:
    page = accepted(type="page", name="Home", category="Docs")
    assert (page.name, page.category) == ("Home", "Docs")


def test_external_ids_come_from_the_context_several_of_a_type_count_once_each_and_empty_ones_do_not() -> None:
    named = [{"id": "7", "type": "crm", "collection": "users"}, {"id": 8, "type": "crm"}, {"id": None, "type": "pos"}]
    assert accepted(context={"externalIds": [*named, named[0]]}).external_ids == [("crm", "7"), ("crm", "8")]


def test_external_ids_of_accounts_name_nobody_and_stay_in_the_context() -> None:
    person = [{"type": "crm", "id": "7", "collection": "users"}, {"type": "crm", "id": "8", "collection": None}]
    account = {"type": "account_id", "id": "acme", "collection": "accounts", "encoding": "none"}
    event = accepted(context={"externalIds": [*person, account]}, externalIds=[account])
    assert event.external_ids == [("crm", "7"), ("crm", "8")]
    assert account in event.context["externalIds"]


def test_a_list_of_external_ids_is_refused_by_its_length_before_anybody_walks_it() -> None:
    named = [{"id": "", "type": "crm"}] * (MAX_EXTERNAL_IDS + 1)
    assert reason(context={"externalIds": named}) == "EXTERNAL_IDS_TOO_MANY"


def test_an_event_has_a_bounded_number_of_external_ids() -> None:
    named = [{"id": number, "type": "crm"} for number in range(MAX_EXTERNAL_IDS + 1)]
    assert len(accepted(context={"externalIds": named[1:]}).external_ids) == MAX_EXTERNAL_IDS
    assert reason(context={"externalIds": named}) == "EXTERNAL_IDS_TOO_MANY"


def test_what_an_item_says_wins_over_what_its_batch_says() -> None:
    shared = Delivery(source=SHOP, received_at=NOON, context={"ip": "1", "locale": "de"}, integrations={"All": True})
    event = accepted(shared, context={"ip": "2"}, integrations={"Mail": False})
    assert event.context == {"ip": "2", "locale": "de"}
    assert event.integrations == {"All": True, "Mail": False}


def sent(at: int) -> Delivery:
    return Delivery(source=SHOP, received_at=NOON, sent_at=at)


def test_a_clock_that_is_hours_wrong_still_gives_the_right_time() -> None:
    wrong = NOON + 5 * HOUR
    event = accepted(sent(wrong), timestamp=to_iso(wrong - 60 * SECOND))
    assert event.occurred_at == NOON - 60 * SECOND
    assert (event.original_at, event.sent_at, event.received_at) == (wrong - 60 * SECOND, wrong, NOON)


def test_a_clock_that_is_right_but_for_the_way_here_is_taken_at_its_word() -> None:
    moment = to_iso(NOON - 60 * SECOND)
    for sent_at in (NOON, NOON - TOLERANCE_US, NOON + TOLERANCE_US):
        assert accepted(sent(sent_at), timestamp=moment).occurred_at == NOON - 60 * SECOND
    late = NOON - TOLERANCE_US - 1
    assert accepted(sent(late), timestamp=moment).occurred_at == NOON - 60 * SECOND + TOLERANCE_US + 1


def test_a_late_batch_file_happened_when_it_says() -> None:
    month_ago = NOON - 30 * 24 * HOUR
    assert accepted(sent(NOON - 2 * SECOND), timestamp=to_iso(month_ago)).occurred_at == month_ago


def test_without_a_sending_time_the_clients_time_stands() -> None:
    assert accepted(timestamp=to_iso(NOON - HOUR)).occurred_at == NOON - HOUR


def test_without_any_time_it_happened_when_we_got_it() -> None:
    event = accepted(sent(NOON - HOUR))
    assert (event.occurred_at, event.original_at) == (NOON, None)


def test_nothing_happened_after_we_got_it() -> None:
    event = accepted(timestamp=to_iso(NOON + HOUR))
    assert (event.occurred_at, event.original_at) == (NOON, NOON + HOUR)


def test_a_single_call_carries_its_own_sending_time() -> None:
    assert accepted(sentAt=to_iso(NOON + HOUR), originalTimestamp=to_iso(NOON + HOUR - SECOND)).occurred_at == NOON - SECOND


def test_a_time_that_another_system_has_corrected_is_taken_as_it_is() -> None:
    passed_on = accepted(sent(NOON), timestamp=to_iso(NOON - HOUR), originalTimestamp=to_iso(NOON + 9 * HOUR))
    assert (passed_on.occurred_at, passed_on.original_at) == (NOON - HOUR, NOON + 9 * HOUR)


@pytest.mark.parametrize("sent_at", ["garbage", 1_772_539_200, {}, "2099-01-01T00:00:00Z"])
def test_a_sending_time_that_cannot_be_costs_the_correction_and_not_the_event(sent_at: Any) -> None:
    event = accepted(sentAt=sent_at, timestamp=to_iso(NOON - HOUR))
    assert (event.occurred_at, event.flags) == (NOON - HOUR, ["CLOCK_SENT_AT_INVALID"])


@pytest.mark.parametrize("field", ["timestamp", "originalTimestamp"])
def test_a_time_that_cannot_be_read_is_named(field: str) -> None:
    refused = verdict(DELIVERY, **{field: "yesterday"})
    assert isinstance(refused, Rejection)
    assert (refused.reason, refused.message.split()[0]) == ("TIMESTAMP_INVALID", field)


FIELDS = [field.encode_name for field in msgspec.structs.fields(Call)]
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.sampled_from(["externalIds", "type", "id"]), inner, max_size=4)
    ),
    max_leaves=8,
)
plausible = st.fixed_dictionaries(
    {"type": st.sampled_from(["track", "identify", "page", "group", "alias"])},
    optional={field: st.text() | anything for field in FIELDS if field != "type"},
)


@given(
    value=anything | plausible | st.dictionaries(st.sampled_from(FIELDS), anything), sent_at=st.none() | st.integers(0, 2 * NOON)
)
@example(value={"type": "track", "event": "e", "userId": "u", "timestamp": "0001-01-01T00:00:00+23:59"}, sent_at=None)
@example(value={"type": "track", "event": "e", "userId": "u", "timestamp": "9999-12-31T23:59:59-23:59"}, sent_at=0)
def test_whatever_json_comes_it_is_taken_or_refused(value: Any, sent_at: int | None) -> None:
    delivery = Delivery(source=SHOP, received_at=NOON, sent_at=sent_at)
    try:
        found = judge(read_call(json.dumps(value).encode()), delivery, new_message_id)
        encoded = encode(found) if isinstance(found, RawEvent) else b""
    except InvalidInput:
        return
    if encoded:
        assert decode_raw_events(b"\x91" + encoded) == [found]


@given(st.binary())
def test_whatever_bytes_come_they_are_taken_or_refused(raw: bytes) -> None:
    try:
        found: Any = judge(read_call(raw), DELIVERY, new_message_id)
    except InvalidInput as error:
        found = error
    assert found.reason in ("JSON_BROKEN", "EVENT_INVALID")
