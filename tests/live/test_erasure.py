"""Erasing a person: certificate, reads afterwards, events that come again, holds."""

import json
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import grpc
import httpx
import psycopg
import pytest
from c360.common.v1.common_pb2 import CustomerRef, Identifier
from c360.consent.v1 import consent_pb2
from c360.identity.v1 import decision_pb2, explanation_pb2
from c360.identity.v1 import identity_pb2 as pb
from c360.ingest.v1 import ingest_pb2, receipt_pb2, receipt_pb2_grpc

from services.stack.stack import Stack
from shared.events import customer as events
from shared.instants import now_us
from shared.notes import NoteBroken, verify_note
from shared.rpc.errors import reason_of
from shared.vault.vault import epoch_owner
from tests.e2e.client import DEADLINE_S, Platform, by_id, by_identifier
from tests.live.erasing import COMPLETED, REFUSE, START_CLEAN, Person, erase, identify, never_again, track, wait_completed
from tests.live.parking import is_parked, park_message, remove_parked
from tests.waiting import eventually


@pytest.fixture(scope="module")
def platform(stack: Stack) -> Iterator[Platform]:
    with Platform(stack.endpoints) as made:
        yield made


@pytest.fixture(scope="module")
def key(platform: Platform) -> str:
    return platform.register_source(f"erasure-{uuid.uuid4().hex[:8]}")


def reason(call: object) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as refused:
        call()  # type: ignore[operator]
    return refused.value.code(), reason_of(refused.value)


def test_an_erasure_is_certified_and_the_certificate_verifies_offline(platform: Platform, key: str) -> None:
    person = Person()
    position = person.live(platform, key)
    customer = platform.resolve("email", person.email, position).customer_id
    erasure = erase(platform, person, fresh=position)
    assert (erasure.stage, erasure.customer_id) == (COMPLETED, customer)
    title, content = verify_note(erasure.certificate, erasure.verifier_key).split("\n", 1)
    assert title == "customer360 erasure certificate v1"
    certified = json.loads(content)
    assert certified["scope"] == {"customer_ids": list(erasure.erased_customer_ids), "identifiers": 4}
    assert certified["keys"]["destroyed"] == len(erasure.erased_customer_ids) > 1
    assert certified["replay_check"]["readable_fields"] == 0
    assert certified["replay_check"]["checked"] > 4
    for changed in (erasure.certificate.replace('"readable_fields": 0', '"readable_fields": 1'), erasure.certificate[:-6]):
        with pytest.raises(NoteBroken):
            verify_note(changed, erasure.verifier_key)


def test_a_message_that_nobody_could_apply_is_certified_as_kept_with_its_end(platform: Platform, key: str, stack: Stack) -> None:
    """It may be about others, whose events were answered with 200; its key, and it, are gone in days."""
    person = Person()
    position = person.live(platform, key)
    parked = park_message(stack, epoch_owner(now_us()), person)
    try:
        erasure = erase(platform, person, fresh=position)
        assert is_parked(stack, parked)
    finally:
        remove_parked(stack, parked)
    certified = json.loads(verify_note(erasure.certificate, erasure.verifier_key).split("\n", 1)[1])
    [kept] = [exception for exception in certified["exceptions"] if exception["what"] == "parked_messages"]
    assert kept["amount"] >= 1
    assert kept["until"] > certified["certified_at"]
    assert "could not be applied" in kept["ground"]
    assert "identity.parked" in {store["store"] for store in certified["stores"]}


def test_afterwards_the_person_has_no_profile_and_replay_shows_redacted_events(platform: Platform, key: str) -> None:
    person = Person()
    position = person.live(platform, key)
    customer = platform.resolve("email", person.email, position).customer_id
    seen = platform.get_profile(by_id(customer), "audit", position)
    before = datetime.now(UTC)
    platform.decide(person.email_identifier(), "marketing", consent_pb2.OUTCOME_GRANTED)
    erasure = erase(platform, person)
    erased = grpc.StatusCode.FAILED_PRECONDITION, "CUSTOMER_ERASED"
    for member in erasure.erased_customer_ids:
        assert reason(lambda member=member: platform.get_profile(by_id(member), "audit")) == erased
        assert reason(lambda member=member: platform.get_profile(by_id(member), "marketing", known_at=before)) == erased
    assert reason(lambda: platform.resolve("email", person.email)) == (grpc.StatusCode.NOT_FOUND, "IDENTIFIER_UNKNOWN")
    assert reason(lambda: platform.get_profile(by_identifier("email", person.email), "audit"))[1] == "IDENTIFIER_UNKNOWN"
    check = consent_pb2.CheckRequest(customer=CustomerRef(customer_id=customer), purpose="marketing")
    assert reason(lambda: platform.consent.Check(check, timeout=DEADLINE_S)) == erased
    past = platform.get_profile(by_id(customer), "audit", known_at=before)
    assert (dict(past.traits), list(past.identifiers)) == ({}, [])
    assert past.redacted_events > 0
    assert past.version == seen.version
    assert {(w.field, w.reason) for w in past.withheld} >= {("identifier:email", "REDACTED")}
    timeline = platform.get_timeline(by_id(customer), "audit")
    assert {entry.kind for entry in timeline if not entry.redacted} == {"founded", "merged", "erased"}
    assert {entry.kind for entry in timeline if entry.redacted} == {"linked", "identified", "tracked"}
    assert not any(canary in str(timeline) + str(past) for canary in person.canaries)
    known = platform.identity.GetCustomer(pb.GetCustomerRequest(customer_id=customer), timeout=DEADLINE_S).customer
    assert (known.erasure_id, list(known.identifiers)) == (erasure.erasure_id, [])


def test_events_of_a_refused_person_are_dropped_and_counted(platform: Platform, key: str, stack: Stack) -> None:
    person = Person()
    erasure = erase(platform, person, REFUSE, person.live(platform, key))
    again = identify({"email": person.email}, user_id=person.user)
    platform.record(key, again)
    platform.record(key, track("again", anonymous_id=person.devices[0]))
    somebody = f"somebody-{person.run}"
    position = platform.record(key, track("hers", user_id=somebody, anonymous_id=person.devices[0])).position
    assert reason(lambda: platform.resolve("email", person.email, position))[1] == "IDENTIFIER_UNKNOWN"
    assert platform.resolve("user_id", somebody, position).customer_id not in erasure.erased_customer_ids
    assert reason(lambda: platform.resolve("anonymous_id", person.devices[0]))[1] == "IDENTIFIER_UNKNOWN"
    request = pb.GetErasureRequest(request_id=erasure.request_id)
    assert platform.identity.GetErasure(request, timeout=DEADLINE_S).erasure.refused_events == 2
    with grpc.insecure_channel(stack.endpoints.ingest) as channel:
        asked, metadata = receipt_pb2.GetReceiptRequest(message_id=again.message_id), (("authorization", f"Bearer {key}"),)

        def receipt() -> receipt_pb2.Receipt:
            found = receipt_pb2_grpc.ReceiptServiceStub(channel).GetReceipt(asked, metadata=metadata, timeout=DEADLINE_S)
            return found.receipt

        eventually(lambda: receipt().status == ingest_pb2.EVENT_STATUS_REJECTED)  # until then it is under way
        assert (list(receipt().reasons), receipt().customer_id) == (["PROCESSING_REFUSED"], "")
    assert platform.record(key, again).results[0].status == ingest_pb2.EVENT_STATUS_DUPLICATE
    never_again(stack, erasure)


def test_who_starts_clean_is_a_new_customer_without_a_past(platform: Platform, key: str, stack: Stack) -> None:
    person = Person()
    position = person.live(platform, key)
    platform.decide(person.email_identifier(), "marketing", consent_pb2.OUTCOME_GRANTED)
    platform.decide(person.email_identifier(), "analytics", consent_pb2.OUTCOME_OBJECTED)
    erasure = erase(platform, person, START_CLEAN, position)
    late = identify({"email": person.email, "first_name": "from before"}, user_id=person.user)
    late.original_time.CopyFrom(erasure.request_time)
    platform.record(key, late)
    position = platform.record(key, identify({"email": person.email, "city": "Kiel"}, user_id=person.user)).position
    profile = platform.get_profile(by_identifier("email", person.email), "audit", position)
    assert profile.customer_id not in erasure.erased_customer_ids
    assert set(profile.traits) == {"email", "city"}
    assert reason(lambda: platform.get_profile(by_identifier("email", person.email), "marketing"))[1] == "CONSENT_MISSING"
    assert reason(lambda: platform.get_profile(by_identifier("email", person.email), "analytics"))[1] == "OBJECTED"
    never_again(stack, erasure)


def test_who_came_back_by_one_name_still_has_no_past(platform: Platform, key: str) -> None:
    """What brought her back is what the old event names, and nothing else."""
    person = Person()
    named = Identifier(namespace="user_id", value=person.user)
    position = platform.record(key, identify({"x": 1}, user_id=person.user)).position
    erasure = erase(platform, person, START_CLEAN, position, named=named)
    platform.record(key, identify({"x": 2}, user_id=person.user))
    late = identify({"first_name": "from before"}, user_id=person.user)
    late.original_time.CopyFrom(erasure.request_time)
    position = platform.record(key, late).position
    assert set(platform.get_profile(by_identifier("user_id", person.user), "audit", position).traits) == {"x"}
    request = pb.GetErasureRequest(request_id=erasure.request_id)
    assert platform.identity.GetErasure(request, timeout=DEADLINE_S).erasure.refused_events == 1


def test_a_hold_queues_the_erasure_and_restricts_reading_until_it_is_released(platform: Platform, key: str) -> None:
    person = Person()
    position = person.live(platform, key)
    placed = pb.PlaceLegalHoldRequest(
        request_id=f"hold-{person.run}",
        customer=CustomerRef(identifier=person.email_identifier()),
        reason="litigation",
        at_least_as_fresh=position,
    )
    hold = platform.identity.PlaceLegalHold(placed, timeout=DEADLINE_S).hold
    erasure = erase(platform, person)
    assert (erasure.stage, list(erasure.hold_ids)) == (pb.ERASURE_STAGE_QUEUED, [hold.hold_id])
    fresh = platform.newest_position(key)
    assert platform.get_profile(by_id(erasure.customer_id), "audit", fresh).traits
    assert reason(lambda: platform.get_profile(by_id(erasure.customer_id), "service"))[1] == "HELD"
    released = pb.ReleaseLegalHoldRequest(request_id=str(uuid.uuid4()), hold_id=hold.hold_id)
    assert platform.identity.ReleaseLegalHold(released, timeout=DEADLINE_S).hold.HasField("release_time")
    assert wait_completed(platform, erasure).certificate


def test_two_queued_erasures_of_customers_that_merge_meanwhile_are_both_certified(platform: Platform, key: str) -> None:
    one, other = Person(), Person()
    waiting = []
    for person in (one, other):
        position = platform.record(key, identify({"email": person.email}, anonymous_id=person.devices[0])).position
        hold = pb.PlaceLegalHoldRequest(
            request_id=person.run,
            customer=CustomerRef(identifier=person.email_identifier()),
            reason="litigation",
            at_least_as_fresh=position,
        )
        hold_id = platform.identity.PlaceLegalHold(hold, timeout=DEADLINE_S).hold.hold_id
        waiting.append((erase(platform, person), hold_id))
    merge_by_hand(platform, one, other)
    merged = {platform.resolve("email", person.email).customer_id for person in (one, other)}
    assert len(merged) == 1
    for erasure, hold_id in waiting:
        assert erasure.stage == pb.ERASURE_STAGE_QUEUED
        released = pb.ReleaseLegalHoldRequest(request_id=hold_id, hold_id=hold_id)
        platform.identity.ReleaseLegalHold(released, timeout=DEADLINE_S)
    done = [wait_completed(platform, erasure) for erasure, _ in waiting]
    assert all(erasure.certificate for erasure in done)
    assert len({tuple(erasure.erased_customer_ids) for erasure in done}) == 1


def test_who_stays_is_told_that_a_proposal_is_closed_and_not_with_whom(platform: Platform, key: str) -> None:
    """Two users of one mailbox, of whom one asks to be erased."""
    one, other = Person(), Person()
    for person in (one, other):
        position = platform.record(key, identify({"email": one.email}, user_id=person.user)).position
        customer = platform.resolve("user_id", person.user, position).customer_id
    stays = platform.resolve("user_id", one.user).customer_id
    about_it = pb.EraseCustomerRequest(
        request_id=str(uuid.uuid4()),
        customer=CustomerRef(customer_id=customer),
        policy=REFUSE,
        reason="she asked",
        requested_by="clerk 7",
    )
    assert platform.identity.EraseCustomer(about_it, timeout=DEADLINE_S).erasure.stage == COMPLETED
    assert not [
        found
        for found in platform.identity.ListProposals(pb.ListProposalsRequest(page_size=500)).proposals
        if stays in found.customer_ids
    ]
    asked = explanation_pb2.GetCustomerHistoryRequest(customer_id=stays)
    history = platform.explanations.GetCustomerHistory(asked, timeout=DEADLINE_S)
    told = [(entry.type, entry.reason, entry.cause, entry.other_erased) for entry in history.entries if entry.subject_id]
    assert told == [
        (events.MERGE_PROPOSED.id, "TWO_KNOWN_PEOPLE", "", True),
        (events.PROPOSAL_CLOSED.id, "withdrawn", "ERASURE", True),
    ]
    timeline = platform.get_timeline(by_id(stays), "audit", platform.newest_position(key))
    assert customer not in str(history) + str(timeline)


def test_what_was_decided_about_who_is_erased_is_told_as_decided_to_who_stays(platform: Platform, key: str) -> None:
    """Merged and split by hand; the decisions themselves go with the erasure."""
    one, other, third = Person(), Person(), Person()
    for person in (third, one, other):
        platform.resolve(
            "user_id", person.user, platform.record(key, identify({"email": person.email}, user_id=person.user)).position
        )
    merge_by_hand(platform, third, one)
    merge_by_hand(platform, one, other)
    for person in (other, third):
        platform.decisions.SplitCustomer(decision_pb2.SplitCustomerRequest(**about(one, person)), timeout=DEADLINE_S)
    stays, leaves, beside = (platform.resolve("user_id", person.user).customer_id for person in (one, other, third))
    about_it = pb.EraseCustomerRequest(
        request_id=str(uuid.uuid4()),
        customer=CustomerRef(customer_id=leaves),
        policy=REFUSE,
        reason="she asked",
        requested_by="clerk 7",
    )
    assert platform.identity.EraseCustomer(about_it, timeout=DEADLINE_S).erasure.stage == COMPLETED
    asked = explanation_pb2.GetCustomerHistoryRequest(customer_id=stays)
    history = platform.explanations.GetCustomerHistory(asked, timeout=DEADLINE_S)
    told = {entry.type: (entry.cause, entry.decided_by) for entry in history.entries}
    assert told[events.MERGED.id] == told[events.SPLIT.id] == ("DECISION", "crm-desk")
    assert leaves not in str(history)
    asked = explanation_pb2.GetCustomerHistoryRequest(customer_id=beside)  # whom these decisions weren't about
    history = platform.explanations.GetCustomerHistory(asked, timeout=DEADLINE_S)
    concluded = {entry.cause for entry in history.entries if entry.type in (events.MERGED.id, events.SPLIT.id)}
    assert concluded == {"DECISION"}


def about(one: Person, other: Person) -> Any:
    """What a decision by hand about two people says."""
    customer, its = (CustomerRef(identifier=person.email_identifier()) for person in (one, other))
    return {
        "request_id": str(uuid.uuid4()),
        "customer": customer,
        "other": its,
        "decided_by": "crm-desk",
        "reason": "ticket 1",
    }


def merge_by_hand(platform: Platform, one: Person, other: Person) -> None:
    platform.decisions.MergeCustomers(decision_pb2.MergeCustomersRequest(**about(one, other)), timeout=DEADLINE_S)


class Merged:
    """Two known people, merged by hand; the hold is placed through the younger."""

    def __init__(self, platform: Platform, key: str) -> None:
        self.platform, self.key, self.older, self.younger = platform, key, Person(), Person()
        for person in (self.older, self.younger):
            event = identify({"email": person.email, "first_name": person.name}, user_id=person.user)
            position = platform.record(key, event).position
            platform.resolve("email", person.email, position)
        merge_by_hand(platform, self.older, self.younger)
        placed = pb.PlaceLegalHoldRequest(
            request_id=str(uuid.uuid4()), customer=CustomerRef(identifier=self.younger.email_identifier()), reason="litigation"
        )
        self.hold_id = platform.identity.PlaceLegalHold(placed, timeout=DEADLINE_S).hold.hold_id

    def split(self) -> None:
        split = decision_pb2.SplitCustomerRequest(**about(self.older, self.younger))
        self.platform.decisions.SplitCustomer(split, timeout=DEADLINE_S)

    def release(self) -> None:
        released = pb.ReleaseLegalHoldRequest(request_id=str(uuid.uuid4()), hold_id=self.hold_id)
        self.platform.identity.ReleaseLegalHold(released, timeout=DEADLINE_S)

    def customer_of(self, person: Person) -> str:
        return self.platform.resolve("email", person.email).customer_id


def test_a_queued_erasure_follows_who_was_named_through_a_split(platform: Platform, key: str) -> None:
    two = Merged(platform, key)
    erasure = erase(platform, two.younger)
    two.split()
    older, younger = two.customer_of(two.older), two.customer_of(two.younger)
    two.release()
    erased = wait_completed(platform, erasure)
    assert (erased.customer_id, list(erased.erased_customer_ids)) == (younger, [younger])
    assert json.loads(verify_note(erased.certificate, erased.verifier_key).split("\n", 1)[1])["request"]["customer_id"] == younger
    profile = platform.get_profile(by_id(older), "service", platform.newest_position(key))
    assert profile.traits["first_name"].value.string_value == two.older.name


def test_a_hold_on_a_merged_customer_binds_both_sides_of_a_split(platform: Platform, key: str) -> None:
    two = Merged(platform, key)
    two.split()
    queued = [erase(platform, person) for person in (two.older, two.younger)]
    assert [list(erasure.hold_ids) for erasure in queued] == 2 * [[two.hold_id]]
    two.release()
    done = [wait_completed(platform, erasure) for erasure in queued]
    assert [list(erasure.erased_customer_ids) for erasure in done] == [[erasure.customer_id] for erasure in queued]


def test_an_envelope_that_its_live_key_does_not_open_is_an_alarm(platform: Platform, key: str, stack: Stack) -> None:
    person = Person()
    position = person.live(platform, key)
    profile = platform.get_profile(by_identifier("email", person.email), "audit", position)
    customer = profile.customer_id
    flip(stack, profile.member_ids)
    try:
        before = broken_envelopes(stack)
        assert reason(lambda: platform.get_timeline(by_id(customer), "audit")) == (grpc.StatusCode.DATA_LOSS, "ENVELOPE_BROKEN")
        assert broken_envelopes(stack) == before + 1
        assert "does not open with the live key" in stack.log_tail("profile")
    finally:
        flip(stack, profile.member_ids)


def flip(stack: Stack, customers: Iterable[str]) -> None:
    """One bit of each identify event's envelope; twice is as before."""
    with psycopg.connect(stack.admin_url.rsplit("/", 1)[0] + "/c360") as admin:
        admin.execute(
            "UPDATE profile.events SET envelope = set_byte(envelope, 40, get_byte(envelope, 40) # 1) WHERE stream = ANY(%s) AND type_id = %s",
            [[uuid.UUID(customer).bytes for customer in customers], events.IDENTIFIED.id],
        )


def broken_envelopes(stack: Stack) -> float:
    text = httpx.get(stack.endpoints.metrics["profile"]).text
    return float(next(line for line in text.splitlines() if line.startswith("c360_envelopes_broken_total")).split()[-1])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"request_id": ""}, "REQUEST_ID_MISSING"),
        ({"policy": 0}, "POLICY_MISSING"),
        ({"reason": ""}, "REASON_INVALID"),
        ({"requested_by": "x" * 101}, "NAME_INVALID"),
        ({"customer": CustomerRef(customer_id="17")}, "CUSTOMER_ID_INVALID"),
        ({"customer": CustomerRef(customer_id=str(uuid.uuid4()))}, "CUSTOMER_UNKNOWN"),
    ],
)
def test_bad_requests_are_refused_with_their_reason(platform: Platform, change: dict[str, object], expected: str) -> None:
    good = {
        "request_id": str(uuid.uuid4()),
        "customer": CustomerRef(customer_id=str(uuid.uuid4())),
        "policy": REFUSE,
        "reason": "asked",
    }
    request = pb.EraseCustomerRequest(**(good | change))  # type: ignore[arg-type]
    assert reason(lambda: platform.identity.EraseCustomer(request, timeout=DEADLINE_S))[1] == expected


def test_a_request_id_stands_for_one_erasure(platform: Platform, key: str) -> None:
    person, other = Person(), Person()
    position = person.live(platform, key)
    erasure = erase(platform, person, fresh=position)
    assert erase(platform, person, request_id=erasure.request_id) == erasure
    fresh = other.live(platform, key)
    again = pb.EraseCustomerRequest(
        request_id=erasure.request_id,
        customer=CustomerRef(customer_id=platform.resolve("email", other.email, fresh).customer_id),
        policy=REFUSE,
        reason="GDPR Art. 17, ticket 1",
        requested_by="privacy-desk",
    )
    assert reason(lambda: platform.identity.EraseCustomer(again, timeout=DEADLINE_S))[1] == "REQUEST_ID_REUSED"
    twice = pb.EraseCustomerRequest(
        request_id=str(uuid.uuid4()), customer=CustomerRef(customer_id=erasure.customer_id), policy=REFUSE, reason="again"
    )
    assert reason(lambda: platform.identity.EraseCustomer(twice, timeout=DEADLINE_S)) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "CUSTOMER_ERASED",
    )
