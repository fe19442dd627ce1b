"""People who are known to be children: for purposes that they can't grant every door of profile is closed from the next read on."""

import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import grpc
import pytest
from c360.common.v1.common_pb2 import Identifier
from c360.consent.v1 import age_pb2, registry_pb2
from c360.consent.v1.age_pb2_grpc import AgeServiceStub
from c360.consent.v1.consent_pb2 import OUTCOME_GRANTED, ParentalAuthorisation, RecordDecisionRequest
from c360.profile.v1 import disclosure_pb2, watch_pb2
from c360.profile.v1.disclosure_pb2_grpc import DisclosureServiceStub
from c360.profile.v1.rules_pb2_grpc import ProfileRulesServiceStub
from c360.profile.v1.watch_pb2_grpc import WatchServiceStub

from services.stack.stack import Stack
from shared.instants import now_us, to_timestamp, years_after
from tests.e2e.client import DEADLINE_S, Platform, by_id, by_identifier
from tests.live.reading import Reader
from tests.live.test_profile import ago, identify
from tests.live.test_restricted_reads import Doors


class Person:
    """Somebody with an address, and a purpose that those under 16 can't grant."""

    def __init__(self, stack: Stack, platform: Platform, profile: grpc.Channel, ages: AgeServiceStub) -> None:
        self.platform, self.ages = platform, ages
        self.name = f"minor-{uuid.uuid4().hex}"
        self.purpose = self.name.replace("-", "")
        self.email = Identifier(namespace="email", value=f"{self.name}@shop.example")
        self.source = self.name[:20]
        key = platform.register_source(self.source)
        born = identify(self.name, ago(9), email=self.email.value, first_name="Ann")
        self.position = platform.record(key, born).position
        self.customer = platform.get_profile(by_identifier("user_id", self.name), "service", self.position).customer_id
        self._stack, self._rules = stack, ProfileRulesServiceStub(profile)

    def asks(self, basis: registry_pb2.LegalBasis.ValueType, **more: Any) -> None:
        purpose = registry_pb2.Purpose(legal_basis=basis, traits=["*"], minors_under=16, **more)
        definition = registry_pb2.Definition(name=self.purpose, defined_by="ops", reason="asked", purpose=purpose)
        self.platform.registry.Define(registry_pb2.DefineRequest(request_id=self.purpose, definition=definition), timeout=10)

    def is_known_to_be(
        self, under: int, at_least: int, years_ago: int = 0, of: Identifier | None = None
    ) -> age_pb2.RecordAgeResponse:
        """She, or somebody else."""
        request = age_pb2.RecordAgeRequest(
            request_id=of.value if of else self.name,
            identifier=of or self.email,
            under=under,
            at_least=at_least,
            age_time=to_timestamp(years_after(now_us(), -years_ago)),
            recorded_by="shop",
            reason="sign-up",
        )
        answer: age_pb2.RecordAgeResponse = self.ages.RecordAge(request, timeout=DEADLINE_S)
        return answer

    def grants(self, number: int, **more: Any) -> None:
        request = RecordDecisionRequest(
            request_id=f"{self.name}-{number}", identifier=self.email, purpose=self.purpose, outcome=OUTCOME_GRANTED, **more
        )
        self.platform.consent.RecordDecision(request, timeout=10)

    def answers(self, purpose: str) -> set[str]:
        """Of all doors, why nothing is shown; empty where it is."""
        with Reader(self._stack, self.purpose) as reader:
            doors = Doors(self.platform, reader, self._rules, self.source, self.customer)
            exported, usable = doors.exported(purpose)
            return {*doors.answers(purpose).values(), "" if exported and usable else "not exported"}


@pytest.fixture
def profile(stack: Stack) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(stack.endpoints.profile) as profile:
        yield profile


@pytest.fixture
def a_person(stack: Stack, profile: grpc.Channel) -> Iterator[Callable[[], Person]]:
    with Platform(stack.endpoints) as platform, grpc.insecure_channel(stack.endpoints.consent) as consent:
        yield lambda: Person(stack, platform, profile, AgeServiceStub(consent))


def test_every_door_is_closed_from_the_next_read_on_until_a_parent_authorises_it(
    profile: grpc.Channel, a_person: Callable[[], Person]
) -> None:
    ann = a_person()
    ann.asks(registry_pb2.LEGAL_BASIS_CONSENT)
    ann.grants(1)
    assert ann.answers(ann.purpose) == {""}
    watching = WatchServiceStub(profile).WatchProfiles(
        watch_pb2.WatchProfilesRequest(purpose=ann.purpose, customers=[by_id(ann.customer)]), timeout=DEADLINE_S
    )
    assert _next_change(watching).HasField("profile")
    said = ann.is_known_to_be(16, 13)
    assert said.enforcing_readers >= 1
    assert ann.answers(ann.purpose) == {"MINOR", "not exported"}
    assert ann.answers("service") == {""}, "it asks for no age"
    assert _next_change(watching).gone.reason == "MINOR"
    who = disclosure_pb2.WhoReadRequest(customer=by_id(ann.customer), purpose=ann.purpose)
    reads = [one for page in _pages(DisclosureServiceStub(profile), who) for one in page.disclosures]
    assert any(one.reason == "MINOR" for one in reads), "refusals are disclosures, with their reason"
    ann.grants(2)
    assert ann.answers(ann.purpose) == {"MINOR", "not exported"}
    friend = Identifier(namespace="email", value=f"{ann.name}@friends.example")
    ann.grants(3, parental_authorisation=ParentalAuthorisation(guardian=friend, verified_by="signed form"))
    assert ann.answers(ann.purpose) == {""}
    assert _next_change(watching).HasField("profile")
    ann.is_known_to_be(16, 15, of=friend)
    assert ann.answers(ann.purpose) == {"MINOR", "not exported"}, "whoever authorised it turns out to be a child"
    assert _next_change(watching).gone.reason == "MINOR"
    watching.cancel()


def test_who_grew_up_by_time_alone_is_read_once_they_granted_anew(a_person: Callable[[], Person]) -> None:
    ann = a_person()
    ann.asks(registry_pb2.LEGAL_BASIS_CONSENT)
    ann.grants(1, decide_time=to_timestamp(years_after(now_us(), -3)))
    ann.is_known_to_be(16, 15, years_ago=2)
    assert ann.answers(ann.purpose) == {"GRANTED_BY_MINOR", "not exported"}
    ann.grants(2)
    assert ann.answers(ann.purpose) == {""}


def _next_change(watching: Iterable[watch_pb2.WatchProfilesResponse]) -> watch_pb2.ProfileChange:
    return next(change for response in watching for change in response.changes)


def _pages(stub: DisclosureServiceStub, request: disclosure_pb2.WhoReadRequest) -> Iterator[disclosure_pb2.WhoReadResponse]:
    while True:
        page = stub.WhoRead(request, timeout=DEADLINE_S)
        yield page
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token
