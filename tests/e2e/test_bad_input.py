"""Bad input at every door: refused with a status and a machine-readable reason, and without repeating what was sent."""

import json
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import grpc
import httpx
import pytest
from c360.common.v1.common_pb2 import CustomerRef, Identifier, Position
from c360.consent.v1 import consent_pb2 as consent
from c360.consent.v1 import registry_pb2 as registry
from c360.identity.v1 import identity_pb2 as identity
from c360.ingest.v1 import ingest_pb2 as ingest
from c360.profile.v1 import profile_pb2 as profile
from google.protobuf.timestamp_pb2 import Timestamp

from services.stack.stack import Stack
from shared.rpc.errors import reason_of
from tests.e2e.client import Platform, by_id, by_identifier, timestamp

NOBODY = str(uuid.UUID(int=7))
SECRET = "rosalind.secret@example.com"
TIMEOUT_S = 5.0
SHORT_S = 1.0
FAR_AHEAD = Position(log="ingest", number=2**62)
OF_NO_LOG = Position(log="weather", number=1)
PERSON = Identifier(namespace="email", value=SECRET)
UNUSABLE = Identifier(namespace="phone", value="call me")


@pytest.fixture(scope="module")
def platform(stack: Stack) -> Iterator[Platform]:
    with Platform(stack.endpoints) as made:
        yield made


@pytest.fixture(scope="module")
def key(stack: Stack) -> str:
    return stack.write_key()


@pytest.fixture(scope="module")
def door(stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.endpoints.ingest_http, timeout=TIMEOUT_S) as client:
        yield client


def tomorrow() -> Timestamp | None:
    return timestamp(datetime.now(UTC) + timedelta(days=1))


def event(**fields: object) -> dict[str, object]:
    return {"userId": SECRET, "event": "Seen", **fields}


HTTP = {
    "a missing field": ("track", {"userId": SECRET}, 400, "EVENT_NAME_MISSING"),
    "a group without its id": ("group", {"userId": SECRET}, 400, "GROUP_ID_MISSING"),
    "an alias without the earlier id": ("alias", {"userId": SECRET}, 400, "PREVIOUS_ID_MISSING"),
    "no ids": ("track", {"event": "Seen", "properties": {"email": SECRET}}, 400, "IDS_MISSING"),
    "ids that name nobody": ("track", event(userId="null"), 400, "IDS_UNUSABLE"),
    "a field of the wrong type": ("track", event(properties="none"), 400, "EVENT_INVALID"),
    "a time that is none": ("track", event(timestamp="soon"), 400, "TIMESTAMP_INVALID"),
    "an event too large": ("track", event(properties={"text": "x" * 40_000}), 413, "EVENT_TOO_LARGE"),
    "an empty batch": ("batch", {"batch": []}, 400, "BATCH_EMPTY"),
    "a batch too long": ("batch", {"batch": [{"type": "track"}] * 2501}, 400, "BATCH_TOO_LONG"),
    "a body too large": ("batch", {"batch": [event(properties={"text": "x" * 5_000_000})]}, 413, "BODY_TOO_LARGE"),
    "no such path": ("sing", {}, 404, "PATH_UNKNOWN"),
}


@pytest.mark.parametrize(("path", "body", "status", "code"), HTTP.values(), ids=HTTP.keys())
def test_http_refuses(door: httpx.Client, key: str, path: str, body: object, status: int, code: str) -> None:
    refused(door.post(f"/v1/{path}", json=body, auth=(key, "")), status, code)


def test_http_refuses_without_a_write_key(door: httpx.Client) -> None:
    refused(door.post("/v1/track", json=event()), 401, "WRITE_KEY_MISSING")


def test_http_refuses_a_wrong_write_key(door: httpx.Client) -> None:
    refused(door.post("/v1/track", json=event(), auth=("wrong", "")), 401, "WRITE_KEY_UNKNOWN")


def test_http_refuses_broken_json(door: httpx.Client, key: str) -> None:
    broken = json.dumps(event()).encode()[:-1]
    refused(door.post("/v1/track", content=broken, auth=(key, "")), 400, "JSON_BROKEN")
    refused(door.post("/v1/batch", content=b'{"batch":[' + broken, auth=(key, "")), 400, "JSON_BROKEN")


def refused(response: httpx.Response, status: int, code: str) -> None:
    answer = response.json()
    assert (response.status_code, answer["code"], answer["success"]) == (status, code, False)
    assert answer["message"]
    assert SECRET not in response.text


def test_one_bad_event_does_not_spoil_its_batch(door: httpx.Client, key: str) -> None:
    good = {"type": "track", **event(userId=f"u-{uuid.uuid4()}")}
    results = door.post("/v1/batch", json={"batch": [good, {"type": "track", "event": "Seen"}]}, auth=(key, "")).json()["results"]
    assert [result["status"] for result in results] == ["accepted", "rejected"]
    assert results[1]["reason"] == "IDS_MISSING"


def test_grpc_tells_each_event_its_reason(platform: Platform, key: str) -> None:
    nobody = ingest.Event(type=ingest.EVENT_TYPE_TRACK, name="Seen")
    nameless = ingest.Event(type=ingest.EVENT_TYPE_TRACK, user_id=SECRET)
    typeless = ingest.Event(user_id=SECRET)
    answer = platform.record(key, nobody, nameless, typeless)
    assert [result.reason for result in answer.results] == ["IDS_MISSING", "EVENT_NAME_MISSING", "EVENT_TYPE_UNKNOWN"]
    assert not answer.HasField("position")


Call = Callable[[Platform], object]


def get_profile(by: CustomerRef, purpose: str = "service", **more: object) -> Call:
    return lambda platform: platform.profile.GetProfile(
        profile.GetProfileRequest(customer=by, purpose=purpose, **_now(more)),  # type: ignore[arg-type]
        timeout=SHORT_S,
    )


def get_timeline(by: CustomerRef, purpose: str = "service", **more: object) -> Call:
    return lambda platform: platform.profile.GetTimeline(
        profile.GetTimelineRequest(customer=by, purpose=purpose, **_now(more)),  # type: ignore[arg-type]
        timeout=SHORT_S,
    )


def watch(by: CustomerRef, purpose: str = "service") -> Call:
    request = profile.WatchProfileRequest(customer=by, purpose=purpose)
    return lambda platform: next(iter(platform.profile.WatchProfile(request, timeout=SHORT_S)))


def resolve(identifier: Identifier, fresh: Position | None = None) -> Call:
    request = identity.ResolveIdentifierRequest(identifier=identifier, at_least_as_fresh=fresh)
    return lambda platform: platform.identity.ResolveIdentifier(request, timeout=SHORT_S)


def get_customer(customer_id: str) -> Call:
    return lambda platform: platform.identity.GetCustomer(identity.GetCustomerRequest(customer_id=customer_id), timeout=SHORT_S)


def decide(**fields: object) -> Call:
    usual: dict[str, object] = {
        "request_id": str(uuid.uuid4()),
        "identifier": PERSON,
        "purpose": "marketing",
        "outcome": consent.OUTCOME_GRANTED,
    }
    return lambda platform: platform.consent.RecordDecision(
        consent.RecordDecisionRequest(**_now(usual | fields)),  # type: ignore[arg-type]
        timeout=TIMEOUT_S,
    )


def check(**fields: object) -> Call:
    return lambda platform: platform.consent.Check(consent.CheckRequest(**fields), timeout=SHORT_S)  # type: ignore[arg-type]


def define(**fields: object) -> Call:
    name = str(fields.pop("name", "p"))
    purpose = registry.Purpose(**({"legal_basis": registry.LEGAL_BASIS_CONSENT} | fields))  # type: ignore[arg-type]
    definition = registry.Definition(name=name, defined_by="ops", reason="asked", purpose=purpose)
    request = registry.DefineRequest(request_id=str(uuid.uuid4()), definition=definition)
    return lambda platform: platform.registry.Define(request, timeout=SHORT_S)


def record(*events: ingest.Event, metadata: tuple[tuple[str, str], ...] = ()) -> Call:
    request = ingest.RecordEventsRequest(events=events)
    return lambda platform: platform.ingest.RecordEvents(request, metadata=metadata, timeout=TIMEOUT_S)


def _now(fields: dict[str, object]) -> dict[str, object]:
    """Instants are made when the call is."""
    return {name: value() if callable(value) else value for name, value in fields.items()}


UNKNOWN, UNKNOWN_ID = by_identifier(PERSON.namespace, PERSON.value), by_id(NOBODY)
BAD_IDENTIFIER, BAD_ID, NO_ONE = by_identifier(UNUSABLE.namespace, UNUSABLE.value), by_id("seven"), CustomerRef()
INVALID, NOT_FOUND, UNAVAILABLE = "INVALID_ARGUMENT", "NOT_FOUND", "UNAVAILABLE"

GRPC: dict[str, tuple[Call, str, str]] = {
    "events without a write key": (record(ingest.Event()), "UNAUTHENTICATED", "WRITE_KEY_MISSING"),
    "events with a wrong write key": (
        record(ingest.Event(), metadata=(("authorization", "Bearer wrong"),)),
        "UNAUTHENTICATED",
        "WRITE_KEY_UNKNOWN",
    ),
    "profile without a purpose": (get_profile(UNKNOWN, purpose=""), INVALID, "PURPOSE_MISSING"),
    "profile for an unknown purpose": (get_profile(UNKNOWN, purpose="world domination"), INVALID, "PURPOSE_UNKNOWN"),
    "profile of no one": (get_profile(NO_ONE), INVALID, "CUSTOMER_MISSING"),
    "profile by an id that is none": (get_profile(BAD_ID), INVALID, "CUSTOMER_ID_INVALID"),
    "profile by an unusable identifier": (get_profile(BAD_IDENTIFIER), INVALID, "IDENTIFIER_INVALID"),
    "profile of an unknown customer": (get_profile(UNKNOWN_ID), NOT_FOUND, "CUSTOMER_UNKNOWN"),
    "profile of an unknown identifier": (get_profile(UNKNOWN), NOT_FOUND, "IDENTIFIER_UNKNOWN"),
    "profile of tomorrow": (get_profile(UNKNOWN, valid_at=tomorrow), INVALID, "INSTANT_IN_FUTURE"),
    "profile as known tomorrow": (get_profile(UNKNOWN, known_at=tomorrow), INVALID, "INSTANT_IN_FUTURE"),
    "profile before its position": (get_profile(UNKNOWN, at_least_as_fresh=[FAR_AHEAD]), UNAVAILABLE, "NOT_FRESH_ENOUGH"),
    "profile at no position": (get_profile(UNKNOWN, at_least_as_fresh=[OF_NO_LOG]), INVALID, "POSITION_INVALID"),
    "timeline for an unknown purpose": (get_timeline(UNKNOWN, purpose="x"), INVALID, "PURPOSE_UNKNOWN"),
    "timeline of an unknown customer": (get_timeline(UNKNOWN_ID), NOT_FOUND, "CUSTOMER_UNKNOWN"),
    "timeline of tomorrow": (get_timeline(UNKNOWN, valid_at=tomorrow), INVALID, "INSTANT_IN_FUTURE"),
    "timeline before its position": (get_timeline(UNKNOWN, at_least_as_fresh=[FAR_AHEAD]), UNAVAILABLE, "NOT_FRESH_ENOUGH"),
    "timeline from a page of nobody": (get_timeline(UNKNOWN, page_token="page 2"), INVALID, "PAGE_TOKEN_INVALID"),
    "watch for an unknown purpose": (watch(UNKNOWN, purpose="x"), INVALID, "PURPOSE_UNKNOWN"),
    "watch an unknown customer": (watch(UNKNOWN_ID), NOT_FOUND, "CUSTOMER_UNKNOWN"),
    "resolve an unusable identifier": (resolve(UNUSABLE), INVALID, "IDENTIFIER_INVALID"),
    "resolve an unknown identifier": (resolve(PERSON), NOT_FOUND, "IDENTIFIER_UNKNOWN"),
    "resolve before its position": (resolve(PERSON, FAR_AHEAD), UNAVAILABLE, "NOT_FRESH_ENOUGH"),
    "customer by an id that is none": (get_customer("seven"), INVALID, "CUSTOMER_ID_INVALID"),
    "customer that never was": (get_customer(NOBODY), NOT_FOUND, "CUSTOMER_UNKNOWN"),
    "decision without a request id": (decide(request_id=""), INVALID, "REQUEST_ID_MISSING"),
    "decision about an unknown purpose": (decide(purpose="x"), INVALID, "PURPOSE_UNKNOWN"),
    "decision without an outcome": (decide(outcome=consent.OUTCOME_UNSPECIFIED), INVALID, "OUTCOME_MISSING"),
    "decision of an unusable identifier": (decide(identifier=UNUSABLE), INVALID, "IDENTIFIER_INVALID"),
    "decision of tomorrow": (decide(decide_time=tomorrow), INVALID, "INSTANT_IN_FUTURE"),
    "check of no one": (check(purpose="service"), INVALID, "CUSTOMER_MISSING"),
    "check of an unknown purpose": (check(purpose="x", customer=UNKNOWN), INVALID, "PURPOSE_UNKNOWN"),
    "check of an unknown customer": (check(purpose="service", customer=UNKNOWN_ID), NOT_FOUND, "CUSTOMER_UNKNOWN"),
    "purpose without a legal basis": (define(legal_basis=registry.LEGAL_BASIS_UNSPECIFIED), INVALID, "LEGAL_BASIS_MISSING"),
    "purpose without a usable name": (define(name="World Domination"), INVALID, "PURPOSE_INVALID"),
}


@pytest.mark.parametrize(("call", "code", "reason"), GRPC.values(), ids=GRPC.keys())
def test_grpc_refuses(platform: Platform, call: Call, code: str, reason: str) -> None:
    with pytest.raises(grpc.RpcError) as refusal:
        call(platform)
    assert (refusal.value.code().name, reason_of(refusal.value)) == (code, reason)
    assert refusal.value.details()
    assert SECRET not in str(refusal.value.details())


def test_an_empty_batch_and_one_too_long_are_refused(platform: Platform, key: str) -> None:
    for events, reason in ([], "BATCH_EMPTY"), ([ingest.Event()] * 2501, "BATCH_TOO_LONG"):
        with pytest.raises(grpc.RpcError) as refusal:
            platform.record(key, *events)
        assert reason_of(refusal.value) == reason


def test_a_request_id_says_one_thing_only(platform: Platform) -> None:
    request_id = str(uuid.uuid4())
    decide(request_id=request_id)(platform)
    with pytest.raises(grpc.RpcError) as refusal:
        decide(request_id=request_id, outcome=consent.OUTCOME_WITHDRAWN)(platform)
    assert (refusal.value.code().name, reason_of(refusal.value)) == ("ABORTED", "REQUEST_ID_REUSED")
