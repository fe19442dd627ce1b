"""Several profiles in one call, lookups, masks and tags, through the real path."""

import uuid
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from c360.common.v1.common_pb2 import CustomerRef, Identifier
from c360.consent.v1 import registry_pb2
from c360.consent.v1.consent_pb2 import OUTCOME_GRANTED, OUTCOME_WITHDRAWN, RecordDecisionRequest
from c360.profile.v1 import profile_pb2 as pb
from c360.profile.v1 import watch_pb2, watch_pb2_grpc
from google.protobuf.field_mask_pb2 import FieldMask

from services.profile.api.batching import QUERIES_AT_MOST
from services.stack.stack import Stack
from shared.rpc.errors import reason_of
from tests.e2e.client import Platform, by_id, by_identifier
from tests.live.test_profile import ago, identify, track, values_of


@pytest.fixture(scope="module")
def platform(stack: Stack) -> Iterator[Platform]:
    with Platform(stack.endpoints) as platform:
        yield platform


@pytest.fixture(scope="module")
def write_key(platform: Platform) -> str:
    return platform.register_source(f"batch-{uuid.uuid4().hex[:8]}")


@pytest.fixture
def person() -> str:
    return f"person-{uuid.uuid4().hex[:12]}"


def test_a_batch_answers_each_query_in_its_place(platform: Platform, write_key: str, person: str) -> None:
    people = [f"{person}-{number}" for number in range(3)]
    position = platform.record(write_key, *(identify(name, ago(3), city=f"city of {name}") for name in people)).position
    named = [by_identifier("user_id", name) for name in people]
    nobody, stranger = by_identifier("user_id", f"nobody-{person}"), by_id(str(uuid.uuid4()))
    asked = [named[2], nobody, named[0], named[2], CustomerRef(), stranger, named[1]]
    request = pb.BatchGetProfilesRequest(
        queries=[pb.ProfileQuery(customer=customer) for customer in asked], purpose="audit", at_least_as_fresh=[position]
    )
    results = platform.profile.BatchGetProfiles(request, timeout=10).results
    singly = {name: platform.get_profile(by_identifier("user_id", name), "audit") for name in people}
    assert [result.profile for result in results if result.HasField("profile")] == [
        singly[people[number]] for number in (2, 0, 2, 1)
    ]
    refusals = [(place, result.refusal.code, result.refusal.reason) for place, result in enumerate(results) if result.refusal.code]
    assert refusals == [(1, 5, "IDENTIFIER_UNKNOWN"), (4, 3, "CUSTOMER_MISSING"), (5, 5, "CUSTOMER_UNKNOWN")]


@pytest.mark.parametrize(("size", "reason"), [(0, "BATCH_EMPTY"), (QUERIES_AT_MOST + 1, "BATCH_TOO_LARGE")])
def test_a_batch_has_one_query_at_least_and_not_too_many(platform: Platform, size: int, reason: str) -> None:
    request = pb.BatchGetProfilesRequest(queries=[pb.ProfileQuery()] * size, purpose="audit")
    with pytest.raises(grpc.RpcError) as refused:
        platform.profile.BatchGetProfiles(request, timeout=10)
    assert reason_of(refused.value) == reason


def test_a_lookup_follows_merges_and_asks_the_person_as_any_read(platform: Platform, write_key: str, person: str) -> None:
    device = f"device-{person}"
    platform.record(write_key, track("Page Read", ago(9), anonymous_id=device))
    platform.record(write_key, identify(person, ago(8), city="Bremen"))
    merged = platform.record(write_key, track("Logged In", ago(7), user_id=person, anonymous_id=device)).position
    request = pb.LookupCustomerRequest(customer=by_identifier("user_id", person), purpose="service", at_least_as_fresh=[merged])
    found = platform.profile.LookupCustomer(request, timeout=10)
    profile = platform.get_profile(by_identifier("anonymous_id", device), "service")
    assert (found.customer_id, list(found.member_ids)) == (profile.customer_id, list(profile.member_ids))
    assert (found.member_count, found.version) == (2, profile.version)
    assert list(found.positions) == list(profile.positions)
    with pytest.raises(grpc.RpcError) as refused:
        platform.profile.LookupCustomer(pb.LookupCustomerRequest(customer=request.customer, purpose="marketing"), timeout=10)
    assert reason_of(refused.value) == "CONSENT_MISSING"


def test_an_answer_that_was_not_modified_is_small_and_a_withdrawal_modifies_it(
    platform: Platform, write_key: str, person: str
) -> None:
    email = f"{person}@shop.example"
    platform.record(write_key, identify(person, ago(9), email=email, first_name="Ann"))
    platform.newest_position(write_key)
    position = platform.newest_position(write_key)
    request = pb.GetProfileRequest(
        customer=by_identifier("user_id", person),
        purpose="marketing",
        read_mask=FieldMask(paths=["customer_id", "traits"]),
        at_least_as_fresh=[position],
    )
    granted = platform.decide(Identifier(namespace="email", value=email), "marketing", OUTCOME_GRANTED)
    request.at_least_as_fresh.append(granted.position)
    first = platform.profile.GetProfile(request, timeout=10)
    assert set(values_of(first.profile)) >= {"first_name"}
    request.unless_etag = first.etag
    ordered = platform.record(write_key, track("Order Completed", ago(1), user_id=person)).position
    request.at_least_as_fresh.append(ordered)
    again = platform.profile.GetProfile(request, timeout=10)
    assert again == pb.GetProfileResponse(etag=first.etag, not_modified=True, verdict=first.verdict), (
        "an order changes neither the id nor a trait"
    )
    renamed = platform.record(write_key, identify(person, ago(0.5), first_name="Anna")).position
    request.at_least_as_fresh.append(renamed)
    changed = platform.profile.GetProfile(request, timeout=10)
    assert values_of(changed.profile)["first_name"] == "Anna"
    assert changed.etag != first.etag
    request.unless_etag = changed.etag
    withdrawn = platform.decide(Identifier(namespace="email", value=email), "marketing", OUTCOME_WITHDRAWN)
    request.at_least_as_fresh.append(withdrawn.position)
    with pytest.raises(grpc.RpcError) as refused:
        platform.profile.GetProfile(request, timeout=10)
    assert reason_of(refused.value) == "CONSENT_WITHDRAWN"


def test_a_mask_that_leads_nowhere_is_refused_with_its_path(platform: Platform, person: str) -> None:
    request = pb.GetProfileRequest(
        customer=by_identifier("user_id", person), purpose="audit", read_mask=FieldMask(paths=["shoe_size"])
    )
    with pytest.raises(grpc.RpcError) as refused:
        platform.profile.GetProfile(request, timeout=10)
    assert (refused.value.code(), reason_of(refused.value)) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_UNKNOWN")


def test_a_watch_says_who_is_gone_when_consent_ends_and_who_is_back_when_it_is_given(
    platform: Platform, stack: Stack, write_key: str, person: str
) -> None:
    email = Identifier(namespace="email", value=f"{person}@shop.example")
    position = platform.record(write_key, identify(person, ago(9), email=email.value, first_name="Ann")).position
    granted = platform.decide(email, "marketing", OUTCOME_GRANTED)
    request = watch_pb2.WatchProfilesRequest(
        purpose="marketing",
        customers=[by_identifier("user_id", person)],
        read_mask=FieldMask(paths=["traits.first_name"]),
        at_least_as_fresh=[position, granted.position],
    )

    def told(response: watch_pb2.WatchProfilesResponse) -> list[str]:
        return [change.gone.reason or values_of(change.profile)["first_name"] for change in response.changes]

    with grpc.insecure_channel(stack.endpoints.profile) as channel:
        stub = watch_pb2_grpc.WatchServiceStub(channel)
        call = stub.WatchProfiles(request, timeout=20)
        assert told(next(call)) == ["Ann"]
        platform.decide(email, "marketing", OUTCOME_WITHDRAWN)
        withdrawn = next(call)
        assert told(withdrawn) == ["CONSENT_WITHDRAWN"]
        call.cancel()
        renamed = platform.record(write_key, identify(person, ago(1), first_name="Anna")).position
        request.at_least_as_fresh.append(renamed)
        platform.decide(email, "marketing", OUTCOME_GRANTED)  # while nobody watches
        request.resume_after.extend(withdrawn.positions)
        again = stub.WatchProfiles(request, timeout=20)
        assert told(next(again)) == ["Anna"]
        again.cancel()


def test_a_read_asks_of_a_grant_what_its_purpose_asks(platform: Platform, write_key: str, person: str) -> None:
    purpose = registry_pb2.Purpose(
        legal_basis=registry_pb2.LEGAL_BASIS_CONSENT, traits=["city"], double_opt_in=True, minimum_age=16
    )
    definition = registry_pb2.Definition(name=person.replace("-", "_"), defined_by="ops", reason="asked", purpose=purpose)
    platform.registry.Define(registry_pb2.DefineRequest(request_id=person, definition=definition), timeout=10)
    position = platform.record(write_key, identify(person, ago(3), city="Turin")).position
    identifier = Identifier(namespace="user_id", value=person)
    told: list[str] = []
    grants: list[dict[str, Any]] = [{}, {"confirmed": True}, {"confirmed": True, "attested_age": 16}]
    for grant in grants:
        decision = RecordDecisionRequest(
            request_id=f"{person}-{len(told)}", identifier=identifier, purpose=definition.name, outcome=OUTCOME_GRANTED, **grant
        )
        platform.consent.RecordDecision(decision, timeout=10)
        query = pb.ProfileQuery(customer=CustomerRef(identifier=identifier))
        request = pb.BatchGetProfilesRequest(queries=[query], purpose=definition.name, at_least_as_fresh=[position])
        [result] = platform.profile.BatchGetProfiles(request, timeout=10).results
        told.append(result.refusal.reason or result.profile.traits["city"].value.string_value)
    assert told == ["CONSENT_UNCONFIRMED", "AGE_NOT_ATTESTED", "Turin"]
