"""E-mail marketing is decided about address by address, in checks as in every read."""

import uuid
from collections.abc import Iterator

import grpc
import pytest
from c360.common.v1.common_pb2 import CustomerRef, Identifier
from c360.consent.v1.consent_pb2 import OUTCOME_GRANTED, OUTCOME_OBJECTED, OUTCOME_WITHDRAWN, CheckRequest
from c360.profile.v1 import profile_pb2 as pb

from services.stack.stack import Stack
from shared.rpc.errors import reason_of
from tests.e2e.client import DEADLINE_S, Platform, by_identifier
from tests.live.test_profile import ago, identify


@pytest.fixture
def platform(stack: Stack) -> Iterator[Platform]:
    with Platform(stack.endpoints) as platform:
        yield platform


def test_an_address_that_was_not_asked_is_neither_permitted_nor_shown(platform: Platform) -> None:
    key, user = platform.register_source(f"points-{uuid.uuid4().hex[:8]}"), f"user-{uuid.uuid4().hex}"
    asked, unasked = (Identifier(namespace="email", value=f"{name}-{user}@shop.example") for name in ("asked", "unasked"))
    platform.record(key, identify(user, ago(9), email=asked.value, first_name="Ann"))
    position = platform.record(key, identify(user, ago(1), email=unasked.value)).position
    granted = platform.decide(asked, "marketing", OUTCOME_GRANTED)

    def state(identifier: Identifier) -> str:
        request = CheckRequest(purpose="marketing", customer=CustomerRef(identifier=identifier), at_least_as_fresh=[position])
        return platform.consent.Check(request, timeout=DEADLINE_S).state

    assert (state(asked), state(unasked)) == ("GRANTED", "UNKNOWN")
    assert state(Identifier(namespace="user_id", value=user)) == "GRANTED", "she may be written to, at one of them"
    profile = platform.get_profile(by_identifier("user_id", user), "marketing", position, granted.position)
    assert [one.value for one in profile.identifiers] == [asked.value]
    assert set(profile.traits) == {"first_name"}, "the newer address is the golden one"
    why = {one.field: one.reason for one in profile.withheld}
    assert (why["email"], why["identifier:email"]) == ("CONTACT_POINT_NOT_PERMITTED", "CONTACT_POINT_NOT_PERMITTED")
    query = pb.ProfileQuery(customer=by_identifier("user_id", user))
    batch = platform.profile.BatchGetProfiles(pb.BatchGetProfilesRequest(queries=[query], purpose="marketing"), timeout=DEADLINE_S)
    assert batch.results[0].profile.identifiers == profile.identifiers

    platform.decide(unasked, "marketing", OUTCOME_GRANTED)
    both = platform.get_profile(by_identifier("user_id", user), "marketing")
    assert both.traits["email"].value.string_value == unasked.value
    assert {one.value for one in both.identifiers} == {asked.value, unasked.value}
    platform.decide(Identifier(namespace="user_id", value=user), "marketing", OUTCOME_OBJECTED)
    assert (state(asked), state(unasked)) == ("OBJECTED", "OBJECTED"), "who objects does so whatever the address"
    with pytest.raises(grpc.RpcError) as refused:
        platform.get_profile(by_identifier("user_id", user), "marketing")
    assert reason_of(refused.value) == "OBJECTED"


def test_who_withdrew_at_one_address_is_read_by_the_grant_at_another_which_is_the_one_that_is_told(platform: Platform) -> None:
    key, user = platform.register_source(f"points-{uuid.uuid4().hex[:8]}"), f"user-{uuid.uuid4().hex}"
    home, work = (Identifier(namespace="email", value=f"{name}-{user}@shop.example") for name in ("home", "work"))
    platform.record(key, identify(user, ago(9), email=home.value))
    position = platform.record(key, identify(user, ago(1), email=work.value, first_name="Ada")).position
    by_person = platform.define_purpose("first_name", "email")
    for purpose in ("marketing", by_person):
        platform.decide(home, purpose, OUTCOME_GRANTED)
        platform.decide(work, purpose, OUTCOME_GRANTED)
        withdrawn = platform.decide(work, purpose, OUTCOME_WITHDRAWN)

    profile = platform.get_profile(by_identifier("user_id", user), "marketing", position, withdrawn.position)
    assert [one.value for one in profile.identifiers] == [home.value], "which address may be used"
    assert {name: one.value.string_value for name, one in profile.traits.items()} == {"first_name": "Ada"}, "of the person"
    assert {one.field: one.reason for one in profile.withheld}["email"] == "CONTACT_POINT_NOT_PERMITTED"
    with pytest.raises(grpc.RpcError) as refused:
        platform.get_profile(by_identifier("user_id", user), by_person)
    assert reason_of(refused.value) == "CONSENT_WITHDRAWN", "stricter: of a person a withdrawal anywhere ends it"
