"""Processing that is restricted: every door of profile is closed from the next read on, and events are taken all the same."""

import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import grpc
import pytest
from c360.common.v1.common_pb2 import Identifier
from c360.consent.v1 import restriction_pb2
from c360.consent.v1.restriction_pb2_grpc import RestrictionServiceStub
from c360.profile.v1 import export_pb2, history_pb2, profile_pb2, rules_pb2, watch_pb2
from c360.profile.v1.rules_pb2_grpc import ProfileRulesServiceStub
from c360.profile.v1.watch_pb2_grpc import WatchServiceStub

from services.stack.stack import Stack
from shared.instants import now_us, to_timestamp
from shared.rpc.errors import reason_of
from tests.e2e.client import DEADLINE_S, Platform, by_id, by_identifier, timestamp
from tests.live.reading import Reader
from tests.live.test_profile import ago, identify


@pytest.fixture
def platform(stack: Stack) -> Iterator[Platform]:
    with Platform(stack.endpoints) as platform:
        yield platform


class Doors:
    """Each call that shows something of one customer for a purpose."""

    def __init__(self, platform: Platform, reader: Reader, rules: ProfileRulesServiceStub, source: str, customer: str) -> None:
        self._platform = platform
        self._reader = reader
        self._rules = rules
        self._source = source
        self._customer = customer

    def answers(self, purpose: str) -> dict[str, str]:
        """By door, empty or why not."""
        platform = self._platform
        about: dict[str, Any] = {"customer": by_id(self._customer), "purpose": purpose}
        old = history_pb2.Point(valid_at=timestamp(ago(1)))
        calls: dict[str, Callable[[], Any]] = {
            "profile": lambda: platform.get_profile(by_id(self._customer), purpose),
            "past": lambda: platform.get_profile(by_id(self._customer), purpose, valid_at=ago(1)),
            "timeline": lambda: platform.get_timeline(by_id(self._customer), purpose),
            "lookup": lambda: platform.profile.LookupCustomer(profile_pb2.LookupCustomerRequest(**about), timeout=DEADLINE_S),
            "identifiers": lambda: platform.profile.ListIdentifiers(
                profile_pb2.ListIdentifiersRequest(**about), timeout=DEADLINE_S
            ),
            "members": lambda: platform.profile.ListMembers(profile_pb2.ListMembersRequest(**about), timeout=DEADLINE_S),
            "diff": lambda: platform.history.DiffProfile(history_pb2.DiffProfileRequest(**about, old=old), timeout=DEADLINE_S),
            "changes": lambda: platform.history.ListProfileChanges(
                history_pb2.ListProfileChangesRequest(**about), timeout=DEADLINE_S
            ),
            "explain": lambda: self._rules.ExplainTrait(
                rules_pb2.ExplainTraitRequest(**about, trait="first_name"), timeout=DEADLINE_S
            ),
            "replay": lambda: list(platform.profile.ReplayCustomer(profile_pb2.ReplayCustomerRequest(**about), timeout=DEADLINE_S)),
            "watch": lambda: next(platform.profile.WatchProfile(profile_pb2.WatchProfileRequest(**about), timeout=DEADLINE_S)),
        }
        return {door: _why_not(call) for door, call in calls.items()} | {
            "batch": self._of_a_batch(purpose),
            "http": self._of_http(purpose),
        }

    def _of_a_batch(self, purpose: str) -> str:
        query = profile_pb2.ProfileQuery(customer=by_id(self._customer))
        request = profile_pb2.BatchGetProfilesRequest(queries=[query], purpose=purpose)
        [result] = self._platform.profile.BatchGetProfiles(request, timeout=DEADLINE_S).results
        return str(result.refusal.reason)

    def _of_http(self, purpose: str) -> str:
        answer = self._reader.ask(self._customer, "traits", purpose)
        return "" if answer.status_code == 200 else str(answer.json()["error"]["reason"])

    def exported(self, purpose: str) -> tuple[int, bool]:
        """How many events of the source are given out, and whether the customer may be used for the purpose."""
        request = export_pb2.ExportEventsRequest(source=self._source, purpose=purpose)
        events = sum(len(one.events) for one in self._platform.export.ExportEvents(request, timeout=DEADLINE_S))
        checked = export_pb2.CheckExportedRequest(purpose=purpose, customer_ids=[self._customer])
        refused = self._platform.export.CheckExported(checked, timeout=DEADLINE_S).refused_customer_ids
        return events, not refused


def _why_not(call: Callable[[], Any]) -> str:
    try:
        call()
    except grpc.RpcError as error:
        return str(reason_of(error))
    return ""


@pytest.fixture
def channels(stack: Stack) -> Iterator[tuple[grpc.Channel, grpc.Channel]]:
    """Of profile and of consent."""
    with grpc.insecure_channel(stack.endpoints.profile) as profile, grpc.insecure_channel(stack.endpoints.consent) as consent:
        yield profile, consent


def test_every_door_is_closed_from_the_next_read_on_until_it_is_lifted(
    stack: Stack, platform: Platform, channels: tuple[grpc.Channel, grpc.Channel]
) -> None:
    source, user = f"restricted-{uuid.uuid4().hex[:8]}", f"user-{uuid.uuid4().hex}"
    key, email = platform.register_source(source), Identifier(namespace="email", value=f"{user}@shop.example")
    position = platform.record(key, identify(user, ago(9), email=email.value, first_name="Ann")).position
    customer = platform.get_profile(by_identifier("user_id", user), "service", position).customer_id
    restrictions = RestrictionServiceStub(channels[1])
    with Reader(stack) as reader:
        doors = Doors(platform, reader, ProfileRulesServiceStub(channels[0]), source, customer)
        open_to_all = dict.fromkeys(doors.answers("service"), "")
        assert doors.answers("service") == open_to_all
        events, usable = doors.exported("service")
        assert usable
        assert events
        watching = WatchServiceStub(channels[0]).WatchProfiles(
            watch_pb2.WatchProfilesRequest(purpose="service", customers=[by_id(customer)]), timeout=DEADLINE_S
        )
        assert _next_change(watching).HasField("profile")

        restricted = restrictions.RestrictProcessing(
            restriction_pb2.RestrictProcessingRequest(
                request_id=user,
                identifier=email,
                grounds=[restriction_pb2.RESTRICTION_GROUND_OBJECTION_PENDING],
                restricted_by="desk",
                reason="letter",
            ),
            timeout=DEADLINE_S,
        )
        assert restricted.enforcing_readers >= 1
        assert set(doors.answers("service").values()) == {"RESTRICTED"}
        assert doors.answers("audit") == open_to_all
        assert doors.exported("service") == (0, False)
        assert _next_change(watching).gone.reason == "RESTRICTED"

        stored = platform.record(key, identify(user, ago(1), first_name="Anna")).position
        audited = platform.get_profile(by_id(customer), "audit", stored)
        assert audited.traits["first_name"].value.string_value == "Anna", "events are taken"
        restrictions.LiftRestriction(
            restriction_pb2.LiftRestrictionRequest(
                request_id=f"{user}-lifted",
                restriction_id=restricted.restriction_id,
                tell_time=to_timestamp(now_us()),
                lifted_by="desk",
                reason="decided",
            ),
            timeout=DEADLINE_S,
        )
        assert doors.answers("service") == open_to_all
        assert _next_change(watching).HasField("profile")
        watching.cancel()


def _next_change(watching: Iterable[watch_pb2.WatchProfilesResponse]) -> watch_pb2.ProfileChange:
    return next(change for response in watching for change in response.changes)
