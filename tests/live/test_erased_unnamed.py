"""After an erasure no read path of any service names the erased customer in an answer about who stays."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from c360.common.v1.common_pb2 import Position
from c360.identity.v1 import decision_pb2, explanation_pb2, identity_pb2
from c360.profile.v1 import history_pb2
from c360.profile.v1 import profile_pb2 as pb

from services.stack.stack import Stack
from tests.e2e.client import DEADLINE_S, Platform, by_id, by_identifier, timestamp
from tests.live.erasing import COMPLETED, Person, erase, identify
from tests.live.test_erasure import about, merge_by_hand


@pytest.fixture(scope="module")
def platform(stack: Stack) -> Iterator[Platform]:
    with Platform(stack.endpoints) as made:
        yield made


def test_no_answer_about_who_stays_names_who_was_erased(platform: Platform) -> None:
    """Merged and split by hand. Who leaves is the older, and so was canonical while they were one."""
    key, leaves, stays = platform.register_source(f"unnamed-{uuid.uuid4().hex[:8]}"), Person(), Person()
    for person in (leaves, stays):
        position = platform.record(key, identify({"email": person.email, "first_name": person.name}, user_id=person.user)).position
        platform.resolve("user_id", person.user, position)
    gone, left = (platform.resolve("user_id", person.user).customer_id for person in (leaves, stays))
    merge_by_hand(platform, leaves, stays)
    merged = platform.get_profile(by_id(left), "audit", platform.newest_position(key))
    together = datetime.now(UTC)
    assert list(merged.member_ids) == [gone, left]
    platform.decisions.SplitCustomer(decision_pb2.SplitCustomerRequest(**about(leaves, stays)), timeout=DEADLINE_S)
    assert erase(platform, leaves, fresh=platform.newest_position(key)).stage == COMPLETED
    fresh = platform.newest_position(key)

    then = platform.get_profile(by_id(left), "audit", fresh, known_at=together)
    assert (then.customer_id, list(then.member_ids), then.version) == (left, [left], merged.version)
    changes = [one.member for one in _changes(platform, left, fresh, history_pb2.CHANGE_ORDER_KNOWN) if one.HasField("member")]
    told = [(one.customer_id, one.customer_erased, one.joined, one.cause.kind) for one in changes]
    assert told == [(left, False, True, "founded"), ("", True, True, "merged"), ("", True, False, "split")]
    for answer in (then, *_of_profile(platform, left, together, fresh), *_of_identity(platform, left, stays, together, fresh)):
        assert gone not in str(answer)


def _of_profile(platform: Platform, left: str, then: datetime, fresh: Position) -> Iterator[Any]:
    asked: dict[str, Any] = {"customer": by_id(left), "purpose": "audit", "at_least_as_fresh": [fresh]}
    known: dict[str, Any] = asked | {"known_at": timestamp(then)}
    calls, point = platform.profile, history_pb2.Point(known_at=timestamp(then))
    yield platform.get_profile(by_id(left), "audit", fresh)
    yield calls.LookupCustomer(pb.LookupCustomerRequest(**known), timeout=DEADLINE_S)
    yield calls.ListMembers(pb.ListMembersRequest(**known), timeout=DEADLINE_S)
    many = {name: value for name, value in known.items() if name != "customer"}
    queries = [pb.ProfileQuery(customer=by_id(left))]
    yield calls.BatchGetProfiles(pb.BatchGetProfilesRequest(queries=queries, **many), timeout=DEADLINE_S)
    yield platform.get_timeline(by_id(left), "audit", fresh)
    yield platform.get_timeline(by_id(left), "audit", fresh, known_at=then)
    yield list(calls.ReplayCustomer(pb.ReplayCustomerRequest(**asked), timeout=DEADLINE_S))
    for old, new in ((history_pb2.Point(), point), (point, history_pb2.Point())):
        yield platform.history.DiffProfile(history_pb2.DiffProfileRequest(old=old, new=new, **asked), timeout=DEADLINE_S)
    yield _changes(platform, left, fresh, history_pb2.CHANGE_ORDER_HAPPENED)
    yield _changes(platform, left, fresh, history_pb2.CHANGE_ORDER_HAPPENED, then)


def _changes(
    platform: Platform, left: str, fresh: Position, order: history_pb2.ChangeOrder.ValueType, then: datetime | None = None
) -> list[history_pb2.DatedChange]:
    asked = history_pb2.ListProfileChangesRequest(
        customer=by_id(left),
        purpose="audit",
        order=order,
        until=history_pb2.Point(known_at=timestamp(then)),
        page_size=500,
        at_least_as_fresh=[fresh],
    )
    return list(platform.history.ListProfileChanges(asked, timeout=DEADLINE_S).changes)


def _of_identity(platform: Platform, left: str, stays: Person, then: datetime, fresh: Position) -> Iterator[Any]:
    calls, email = platform.explanations, stays.email_identifier()
    yield platform.identity.GetCustomer(
        identity_pb2.GetCustomerRequest(customer_id=left, at_least_as_fresh=fresh), timeout=DEADLINE_S
    )
    yield platform.resolve("email", stays.email)
    for known_at in (None, timestamp(then)):
        history = explanation_pb2.GetCustomerHistoryRequest(customer_id=left, known_at=known_at)
        yield calls.GetCustomerHistory(history, timeout=DEADLINE_S)
        resolve = explanation_pb2.ResolveIdentifierAtRequest(identifier=email, known_at=known_at)
        yield calls.ResolveIdentifierAt(resolve, timeout=DEADLINE_S)
    yield calls.ResolveIdentifierAt(
        explanation_pb2.ResolveIdentifierAtRequest(identifier=email, as_of=timestamp(then)), timeout=DEADLINE_S
    )
    named = by_identifier("email", stays.email)
    decided = decision_pb2.ListDecisionsRequest(customer=named, include_withdrawn=True)
    yield platform.decisions.ListDecisions(decided, timeout=DEADLINE_S)
