"""A purpose that sees values masked sees them so in profiles, and finds what is behind them in no answer at all."""

import uuid
from collections.abc import Iterable, Iterator
from typing import Any

import grpc
import pytest
from c360.consent.v1 import registry_pb2 as registry
from c360.profile.v1 import export_pb2, history_pb2, rules_pb2, rules_pb2_grpc
from c360.profile.v1 import profile_pb2 as pb

from services.stack.stack import Stack
from shared.rpc.errors import reason_of
from tests.e2e.client import DEADLINE_S, Platform, by_identifier, timestamp
from tests.live.test_profile import ago, identify

EVERYBODY_S = 10 * DEADLINE_S  # who is on the stack that tests share
MASKS = {
    "email": registry.MASKING_PARTIAL,
    "phone": registry.MASKING_PARTIAL,
    "birthday": registry.MASKING_GENERALISED,
    "customer_number": registry.MASKING_TOKENISED,
    "city": registry.MASKING_ABSENT,
}


@pytest.fixture
def platform(stack: Stack) -> Iterator[Platform]:
    with Platform(stack.endpoints) as platform:
        yield platform


def define(platform: Platform, masks: dict[str, Any] = MASKS) -> str:
    name = f"masked_{uuid.uuid4().hex}"
    purpose = registry.Purpose(legal_basis=registry.LEGAL_BASIS_CONTRACT, traits=["*"], masks=masks)
    definition = registry.Definition(name=name, defined_by="ops", reason="asked", purpose=purpose)
    platform.registry.Define(registry.DefineRequest(request_id=name, definition=definition), timeout=DEADLINE_S)
    return name


def values(profile: pb.Profile) -> dict[str, str]:
    return {name: trait.value.string_value for name, trait in profile.traits.items()}


def test_what_is_masked_is_masked_in_profiles_and_nowhere_else(stack: Stack, platform: Platform) -> None:
    source, user = f"masks-{uuid.uuid4().hex[:8]}", f"user-{uuid.uuid4().hex}"
    key = platform.register_source(source)
    email, number, city = f"erika-{user}@musterfrau.example", f"number-{user}", f"city-{user}"
    said = {"email": email, "phone": "+49 30 1234567", "birthday": "1984-05-06", "customer_number": number, "city": city}
    platform.record(key, identify(user, ago(9), first_name="Erika", **(said | {"city": f"{city}-before"})))
    position = platform.record(key, identify(user, ago(1), **said)).position
    purpose, other, person = define(platform), define(platform), by_identifier("user_id", user)
    profile = platform.get_profile(person, purpose, position)
    shown = values(profile)
    assert (shown["first_name"], shown["birthday"], shown["phone"]) == ("Erika", "1984", "***67")
    assert shown["email"] == "e***@m***.example"
    assert shown["customer_number"].startswith("tok_")
    assert shown["customer_number"] != values(platform.get_profile(person, other))["customer_number"]
    assert ("email", "e***@m***.example") in {(one.namespace, one.value) for one in profile.identifiers}
    why = {one.field: one.reason for one in profile.withheld}
    assert (why["email"], why["birthday"], why["city"]) == ("MASKED_PARTIAL", "MASKED_GENERALISED", "MASKED_ABSENT")
    assert not profile.state_hash
    assert values(platform.get_profile(person, "audit"))["email"] == email

    told = b"".join(one.SerializeToString() for one in answers(stack, platform, person, purpose, source))
    assert b"Erika" in told
    hidden = (email, email.partition("@")[0], number, city, "1234567", "1984-05-06")
    assert [one for one in hidden if one.encode() in told] == []


def answers(stack: Stack, platform: Platform, person: Any, purpose: str, source: str) -> Iterable[Any]:
    """All that a purpose is told of a person."""
    asked: dict[str, Any] = {"customer": person, "purpose": purpose}
    yield platform.profile.GetProfile(pb.GetProfileRequest(**asked), timeout=DEADLINE_S)
    batch = pb.BatchGetProfilesRequest(queries=[pb.ProfileQuery(customer=person)], purpose=purpose)
    yield platform.profile.BatchGetProfiles(batch, timeout=DEADLINE_S)
    yield platform.profile.ListIdentifiers(pb.ListIdentifiersRequest(**asked), timeout=DEADLINE_S)
    yield platform.profile.GetTimeline(pb.GetTimelineRequest(**asked), timeout=DEADLINE_S)
    yield next(iter(platform.profile.WatchProfile(pb.WatchProfileRequest(**asked), timeout=DEADLINE_S)))
    old = history_pb2.Point(valid_at=timestamp(ago(5)))
    yield platform.history.DiffProfile(history_pb2.DiffProfileRequest(**asked, old=old), timeout=DEADLINE_S)
    for order in (history_pb2.CHANGE_ORDER_KNOWN, history_pb2.CHANGE_ORDER_HAPPENED):
        yield platform.history.ListProfileChanges(history_pb2.ListProfileChangesRequest(**asked, order=order), timeout=DEADLINE_S)
    yield from platform.export.ExportEvents(export_pb2.ExportEventsRequest(purpose=purpose, source=source), timeout=DEADLINE_S)
    yield from platform.export.ExportChanges(export_pb2.ExportChangesRequest(purpose=purpose), timeout=EVERYBODY_S)
    with grpc.insecure_channel(stack.endpoints.profile) as channel:
        rules: Any = rules_pb2_grpc.ProfileRulesServiceStub(channel)
        with pytest.raises(grpc.RpcError) as refused:
            rules.ExplainTrait(rules_pb2.ExplainTraitRequest(**asked, trait="email"), timeout=DEADLINE_S)
        assert reason_of(refused.value) == "NOT_IN_PURPOSE"


def test_masks_that_would_not_be_are_refused(platform: Platform) -> None:
    for masks in ({"events": registry.MASKING_ABSENT}, {"*": registry.MASKING_PARTIAL}, {"email": registry.MASKING_UNSPECIFIED}):
        with pytest.raises(grpc.RpcError) as refused:
            define(platform, masks)
        assert reason_of(refused.value) == "PURPOSE_INVALID"
