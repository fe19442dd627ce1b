"""Decisions by hand through the real path: profile, consent and every view follow, and come apart again as they were."""

import json
import os
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from c360.common.v1.common_pb2 import CustomerRef, Identifier, Position
from c360.consent.v1 import consent_pb2
from c360.identity.v1 import decision_pb2 as pb
from c360.identity.v1 import identity_pb2
from c360.profile.v1 import profile_pb2

from services.stack.stack import Stack
from shared.rpc.errors import reason_of
from tests.e2e.client import DEADLINE_S, Platform, by_id, by_identifier
from tests.live.command import Command
from tests.live.erasing import identify, track

WHO: Any = {"decided_by": "crm-desk", "reason": "ticket 1"}


@pytest.fixture(scope="module")
def platform(stack: Stack) -> Iterator[Platform]:
    with Platform(stack.endpoints) as platform:
        yield platform


@pytest.fixture(scope="module")
def write_key(platform: Platform) -> str:
    return platform.register_source(f"shop-{uuid.uuid4().hex[:8]}")


class Someone:
    """A person with a user id, an address and a device, who permits marketing or doesn't. Her device had founded a customer before
    anything else was seen of her: of what comes in one unit the strongest identifier founds the first."""

    def __init__(self, platform: Platform, key: str, first_name: str) -> None:
        run = uuid.uuid4().hex[:12]
        self.platform, self.key = platform, key
        self.user, self.email, self.device = f"user-{run}", f"{run}@shop.example", f"device-{run}"
        self.position = self.happens(track("before she was known", anonymous_id=self.device))
        platform.resolve("anonymous_id", self.device, self.position)
        self.happens(identify({"email": self.email, "first_name": first_name}, user_id=self.user, anonymous_id=self.device))
        self.customer = platform.resolve("user_id", self.user, self.position).customer_id

    def happens(self, event: Any) -> Position:
        self.position = self.platform.record(self.key, event).position
        return self.position

    @property
    def ref(self) -> CustomerRef:
        return CustomerRef(identifier=Identifier(namespace="user_id", value=self.user))

    def permits(self) -> None:
        address = Identifier(namespace="email", value=self.email)
        self.platform.decide(address, "marketing", consent_pb2.OUTCOME_GRANTED)

    def is_permitted(self, position: Position) -> bool:
        request = consent_pb2.CheckRequest(
            purpose="marketing", customer=CustomerRef(customer_id=self.customer), at_least_as_fresh=[position]
        )
        return bool(self.platform.consent.Check(request, timeout=DEADLINE_S).permitted)

    def profile(self, *fresh: Position) -> profile_pb2.Profile:
        """Without what counts events."""
        found = self.platform.get_profile(by_identifier("user_id", self.user), "audit", *fresh)
        found.version, found.state_hash = 0, ""
        del found.positions[:]
        return found


@pytest.fixture
def ann(platform: Platform, write_key: str) -> Someone:
    return Someone(platform, write_key, "Ann")


@pytest.fixture
def bea(platform: Platform, write_key: str) -> Someone:
    return Someone(platform, write_key, "Bea")


def refused(call: Callable[..., Any], request: Any) -> str:
    with pytest.raises(grpc.RpcError) as error:
        call(request, timeout=DEADLINE_S)
    return reason_of(error.value)


def merge(platform: Platform, one: Someone, other: Someone, request_id: str = "") -> pb.MergeCustomersResponse:
    request = pb.MergeCustomersRequest(
        request_id=request_id or str(uuid.uuid4()), customer=one.ref, other=other.ref, at_least_as_fresh=other.position, **WHO
    )
    return platform.decisions.MergeCustomers(request, timeout=DEADLINE_S)


@pytest.mark.parametrize("how", ["split", "withdraw"])
def test_merged_by_hand_they_are_one_and_apart_again_each_is_as_before(
    platform: Platform, ann: Someone, bea: Someone, how: str
) -> None:
    ann.permits()
    before = ann.profile(ann.position), bea.profile(bea.position)
    assert (ann.is_permitted(ann.position), bea.is_permitted(bea.position)) == (True, False)
    merged = merge(platform, ann, bea)
    assert [cluster.customer_id for cluster in merged.customers] == [ann.customer]
    assert {ann.customer, bea.customer} <= set(merged.customers[0].member_ids)
    joined = bea.profile(merged.position)
    assert joined == ann.profile(merged.position)
    assert joined.member_ids == merged.customers[0].member_ids
    assert joined.traits["first_name"].value.string_value == "Bea"
    assert {found.value for found in joined.identifiers} == {one for who in (ann, bea) for one in (who.user, who.email, who.device)}
    assert bea.is_permitted(merged.position)
    told = platform.get_timeline(by_id(bea.customer), "audit", merged.position, kinds=("merge_decided",))
    assert len(told) == 2
    came = platform.identity.GetCustomer(identity_pb2.GetCustomerRequest(customer_id=bea.customer), timeout=DEADLINE_S).customer
    assert merged.decision.decision_id in [edge.cause_decision_id for edge in came.merges]

    bea.happens(track("while they were one", anonymous_id=bea.device))
    apart = take_apart(platform, merged.decision, ann, bea, how)
    assert {cluster.customer_id for cluster in apart.customers} == {ann.customer, bea.customer}
    now = bea.profile(apart.position, bea.position)
    now.last_seen_time.CopyFrom(before[1].last_seen_time)
    assert now.SerializeToString(deterministic=True) == before[1].SerializeToString(deterministic=True)
    assert ann.profile(apart.position).SerializeToString(deterministic=True) == before[0].SerializeToString(deterministic=True)
    assert (ann.is_permitted(apart.position), bea.is_permitted(apart.position)) == (True, False)

    bea.happens(identify({"first_name": "Beatrix"}, user_id=bea.user))
    assert bea.profile(bea.position).traits["first_name"].value.string_value == "Beatrix"
    assert ann.profile(bea.position).traits["first_name"].value.string_value == "Ann"
    for who in (ann, bea):
        happened = platform.get_timeline(by_id(who.customer), "audit", bea.position, kinds=("tracked",))
        assert len(happened) == (1 if who is ann else 2)


def take_apart(platform: Platform, decision: pb.Decision, ann: Someone, bea: Someone, how: str) -> Any:
    if how == "withdraw":
        request = pb.WithdrawDecisionRequest(
            request_id=str(uuid.uuid4()), decision_id=decision.decision_id, withdrawn_by="crm-desk", reason="a mistake"
        )
        return platform.decisions.WithdrawDecision(request, timeout=DEADLINE_S)
    customer, other = CustomerRef(customer_id=ann.customer), CustomerRef(customer_id=bea.customer)
    split = pb.SplitCustomerRequest(request_id=str(uuid.uuid4()), customer=customer, other=other, **WHO)
    return platform.decisions.SplitCustomer(split, timeout=DEADLINE_S)


def test_the_founder_split_off_still_resolves_and_events_go_to_the_right_side(
    platform: Platform, write_key: str, ann: Someone
) -> None:
    """Her first customer was founded by a device that turns out to be somebody else's."""
    device = CustomerRef(identifier=Identifier(namespace="anonymous_id", value=ann.device))
    request = pb.SplitCustomerRequest(
        request_id=str(uuid.uuid4()), customer=ann.ref, other=device, at_least_as_fresh=ann.position, **WHO
    )
    apart = platform.decisions.SplitCustomer(request, timeout=DEADLINE_S)
    assert len(apart.customers) == 2
    assert [one.namespace for one in apart.decision.identifiers] == ["user_id", "anonymous_id"], (
        "of one customer, so its id tells nothing"
    )
    her, its = (platform.resolve(name, value) for name, value in (("user_id", ann.user), ("anonymous_id", ann.device)))
    assert its.customer_id == ann.customer != her.customer_id
    position = ann.happens(track("on the device", anonymous_id=ann.device))
    assert len(platform.get_timeline(by_id(ann.customer), "audit", position, kinds=("tracked",))) == 2
    assert not platform.get_timeline(by_id(her.customer_id), "audit", position, kinds=("tracked",))
    # Seen together again, by the same or another event, they stay apart.
    position = ann.happens(identify({}, user_id=ann.user, anonymous_id=ann.device))
    assert platform.resolve("user_id", ann.user, position).customer_id == her.customer_id
    assert refused(platform.decisions.SplitCustomer, again(request)) == "NOT_TOGETHER"


def again(request: Any) -> Any:
    """The same, as another request."""
    changed = type(request)()
    changed.CopyFrom(request)
    changed.request_id = str(uuid.uuid4())
    return changed


def test_a_decision_is_taken_down_once_and_what_is_impossible_is_refused_with_its_reason(
    platform: Platform, write_key: str, ann: Someone, bea: Someone
) -> None:
    calls, fresh = platform.decisions, bea.position
    forbid = pb.ForbidMergeRequest(request_id=str(uuid.uuid4()), customer=ann.ref, other=bea.ref, at_least_as_fresh=fresh, **WHO)
    taken = calls.ForbidMerge(forbid, timeout=DEADLINE_S)
    assert calls.ForbidMerge(forbid, timeout=DEADLINE_S).decision == taken.decision
    assert refused(calls.ForbidMerge, again(forbid)) == "ALREADY_DECIDED"
    reused = pb.ForbidMergeRequest(request_id=forbid.request_id, customer=ann.ref, other=bea.ref, decided_by="x", reason="another")
    assert refused(calls.ForbidMerge, reused) == "REQUEST_ID_REUSED"
    wanted = pb.MergeCustomersRequest(request_id=str(uuid.uuid4()), customer=ann.ref, other=bea.ref, **WHO)
    assert refused(calls.MergeCustomers, wanted) == "FORBIDDEN"
    same = pb.MergeCustomersRequest(request_id="same", customer=ann.ref, other=ann.ref, **WHO)
    assert refused(calls.MergeCustomers, same) == "SAME_CUSTOMER"
    device = CustomerRef(identifier=Identifier(namespace="anonymous_id", value=ann.device))
    assert refused(calls.MergeCustomers, pb.MergeCustomersRequest(request_id="one", customer=ann.ref, other=device, **WHO)) == (
        "ALREADY_TOGETHER"
    )
    unknown = CustomerRef(customer_id=str(uuid.uuid4()))
    assert refused(calls.MergeCustomers, pb.MergeCustomersRequest(request_id="u", customer=ann.ref, other=unknown, **WHO)) == (
        "CUSTOMER_UNKNOWN"
    )
    assert refused(calls.MergeCustomers, pb.MergeCustomersRequest(request_id="m", customer=ann.ref, **WHO)) == "CUSTOMER_MISSING"
    assert refused(
        calls.MergeCustomers, pb.MergeCustomersRequest(request_id="n", customer=ann.ref, other=bea.ref, reason="nobody says it")
    ) == ("NAME_INVALID")
    back = pb.WithdrawDecisionRequest(request_id=str(uuid.uuid4()), decision_id=str(uuid.uuid4()), withdrawn_by="x", reason="y")
    assert refused(calls.WithdrawDecision, back) == "DECISION_UNKNOWN"
    back.decision_id = taken.decision.decision_id
    assert calls.WithdrawDecision(back, timeout=DEADLINE_S) == calls.WithdrawDecision(back, timeout=DEADLINE_S)
    assert refused(calls.WithdrawDecision, again(back)) == "DECISION_WITHDRAWN"
    merged = calls.MergeCustomers(wanted, timeout=DEADLINE_S)
    erasure = identity_pb2.EraseCustomerRequest(
        request_id=str(uuid.uuid4()),
        customer=CustomerRef(customer_id=ann.customer),
        policy=identity_pb2.REIMPORT_POLICY_REFUSE,
        reason="GDPR Art. 17",
    )
    platform.identity.EraseCustomer(erasure, timeout=DEADLINE_S)
    gone = CustomerRef(customer_id=ann.customer)
    assert refused(calls.ForbidMerge, pb.ForbidMergeRequest(request_id="e", customer=gone, other=unknown, **WHO)) == (
        "CUSTOMER_ERASED"
    )
    listed = pb.ListDecisionsRequest(customer=gone, include_withdrawn=True)
    assert merged.decision.decision_id
    assert not calls.ListDecisions(listed, timeout=DEADLINE_S).decisions


def test_whoever_speaks_with_somebody_sees_what_is_asked_of_them_alone(platform: Platform, ann: Someone, bea: Someone) -> None:
    calls = platform.identity
    position = bea.happens(identify({"email": ann.email}, user_id=bea.user))
    request = identity_pb2.ListProposalsRequest(customer=ann.ref, at_least_as_fresh=position)
    [asked] = calls.ListProposals(request, timeout=DEADLINE_S).proposals
    for asked_of, someone in zip(asked.customer_ids, (ann, bea), strict=True):  # older first
        assert asked_of in someone.profile(position).member_ids
    for known_as in (bea.ref, CustomerRef(customer_id=ann.customer)):
        request = identity_pb2.ListProposalsRequest(customer=known_as)
        assert calls.ListProposals(request, timeout=DEADLINE_S).proposals == [asked]
    merged = pb.MergeCustomersRequest(request_id=uuid.uuid4().hex, customer=ann.ref, other=bea.ref, **WHO)
    platform.decisions.MergeCustomers(merged, timeout=DEADLINE_S)
    for customer in (ann.customer, bea.customer, *asked.customer_ids):  # every id that was ever given out, also after they are one
        request = identity_pb2.ListProposalsRequest(customer=CustomerRef(customer_id=customer))
        [ended] = calls.ListProposals(request, timeout=DEADLINE_S).proposals
        assert (ended.proposal_id, ended.state) == (asked.proposal_id, identity_pb2.PROPOSAL_STATE_WITHDRAWN)
        request.state = identity_pb2.PROPOSAL_STATE_OPEN
        assert not calls.ListProposals(request, timeout=DEADLINE_S).proposals
    with pytest.raises(grpc.RpcError) as refused:
        calls.ListProposals(
            identity_pb2.ListProposalsRequest(customer=CustomerRef(customer_id=str(uuid.uuid4()))), timeout=DEADLINE_S
        )
    assert reason_of(refused.value) == "CUSTOMER_UNKNOWN"


def test_a_page_of_what_is_asked_of_one_is_no_page_of_anothers(platform: Platform, ann: Someone, bea: Someone) -> None:
    calls = platform.identity
    for number in range(3):
        email = f"{uuid.uuid4().hex}@shop.example"
        identified = [identify({"email": email}, user_id=user) for user in (ann.user, f"{bea.user}-{number}")]
        position = [bea.happens(event) for event in identified][-1]
    request = identity_pb2.ListProposalsRequest(customer=ann.ref, page_size=2, at_least_as_fresh=position)
    first = calls.ListProposals(request, timeout=DEADLINE_S)
    request.page_token = first.next_page_token
    second = calls.ListProposals(request, timeout=DEADLINE_S)
    assert (len(first.proposals), len(second.proposals), second.next_page_token) == (2, 1, "")
    assert {one.proposal_id for one in first.proposals}.isdisjoint(one.proposal_id for one in second.proposals)
    for other in (identity_pb2.ListProposalsRequest(customer=bea.ref), identity_pb2.ListProposalsRequest()):
        other.page_token = first.next_page_token
        with pytest.raises(grpc.RpcError) as refused:
            calls.ListProposals(other, timeout=DEADLINE_S)
        assert reason_of(refused.value) == "PAGE_TOKEN_INVALID"


def listed(c360: Command, who: str, *options: str) -> list[Any]:
    return [json.loads(line) for line in c360.run("identity", "proposals", who, *options, "--json").stdout.splitlines()]


def test_a_proposal_is_decided_on_the_command_line(stack: Stack, platform: Platform, ann: Someone, bea: Someone) -> None:
    stack.write_key()
    c360 = Command(stack.data_directory)
    position = bea.happens(identify({"email": ann.email}, user_id=bea.user))
    fresh = f"{position.log}/{position.partition}/{position.number}"
    two = {f"user_id:{ann.user}", f"user_id:{bea.user}"}
    assert {c360.json("identity", "resolve", one, "--fresh", fresh)["customer_id"] for one in two} == {ann.customer, bea.customer}
    [proposal_id] = {one["proposal_id"] for who in two for one in listed(c360, who)}
    decline = ("identity", "decide", proposal_id, "--decline", "--by", "desk", "--reason", "a shared mailbox")
    declined = c360.json(*decline)
    assert declined["decision"]["kind"] == "forbid"
    assert "PROPOSAL_CLOSED" in c360.run(*decline, code=1).stderr
    assert not listed(c360, ann.customer)
    [ended] = listed(c360, ann.customer, "--state", "declined")
    assert (ended["proposal_id"], ended["decided_by"], ended["decision_reason"]) == (proposal_id, "desk", "a shared mailbox")
    decision_id = declined["decision"]["decision_id"]
    assert (ended["close_cause"], ended["close_cause_id"]) == ("DECISION", decision_id)
    assert decision_id in c360.run("identity", "decisions", f"user_id:{ann.user}").stdout
    told = [one["decision"] for one in c360.json("identity", "why", *sorted(two))["obstacles"] if one["decision"]]
    assert [(one["proposal_id"], one["reason"]) for one in told] == [(proposal_id, "a shared mailbox")]
    withdrawn = c360.json("identity", "withdraw", decision_id, "--by", "desk", "--reason", "looked again")
    merged = c360.json("identity", "merge", *sorted(two), "--by", "desk", "--reason", os.urandom(4).hex())
    assert len(withdrawn["customers"]) == 2
    assert len(merged["customers"]) == 1
    assert "decision" in c360.run("identity", "customer", ann.customer).stdout


def test_who_would_be_moved_besides_is_named_and_it_has_to_be_meant(stack: Stack, platform: Platform, ann: Someone) -> None:
    """The telephone of two is nobody's; once they are one it is theirs, and with it an address that was seen with nothing else."""
    stack.write_key()
    c360 = Command(stack.data_directory)
    run = uuid.uuid4()
    phone, address, users = f"+49151{run.int % 10**8:08}", f"{run.hex}@shop.example", [f"{run.hex}-{n}" for n in range(2)]
    for user in users:
        ann.happens(identify({"phone": phone}, user_id=user))
    position = ann.happens(identify({"phone": phone, "email": address}, anonymous_id=run.hex))
    one, two, other = (
        platform.resolve(*named, position).customer_id for named in (*(("user_id", user) for user in users), ("email", address))
    )
    [proposal] = listed(c360, one)
    accept = ("identity", "decide", proposal["proposal_id"], "--accept", "--by", "desk", "--reason", "one person")
    merge = ("identity", "merge", *(f"user_id:{user}" for user in users), "--by", "desk", "--reason", "one person")
    for alone in (accept, merge):
        told = c360.run(*alone, code=1).stderr
        assert "WOULD_MOVE_OTHERS" in told
        assert other in told
    assert c360.json("identity", "simulate", *merge[1:4])["merges"] == 2
    assert platform.resolve("email", address).customer_id == other
    made = c360.json(*accept, "--move-others")
    [joined] = made["customers"]
    assert made["moved"] == [{"customer_id": other, "now_customer_ids": [joined["customer_id"]]}]
    assert {one, two, other} <= set(joined["member_ids"])
    c360.run("identity", "withdraw", made["decision"]["decision_id"], "--by", "desk", "--reason", "a mistake")
    assert "Moved besides" in c360.run(*merge, "--move-others").stdout


def test_what_ended_a_question_that_nobody_answered_is_told(stack: Stack, platform: Platform, ann: Someone, bea: Someone) -> None:
    """By hand about the two of them; that taken back, it is asked anew; and then their mailbox is too many people's."""
    stack.write_key()
    c360 = Command(stack.data_directory)
    mailbox = {"email": ann.email}
    position = bea.happens(identify(mailbox, user_id=bea.user))
    fresh = f"{position.log}/{position.partition}/{position.number}"
    forbid = ("identity", "forbid", f"user_id:{ann.user}", f"user_id:{bea.user}", "--by", "desk", "--reason", "a shared mailbox")
    decision_id = c360.json(*forbid, "--fresh", fresh)["decision"]["decision_id"]
    [ended] = listed(c360, ann.customer, "--state", "withdrawn")
    told = [ended[name] for name in ("close_cause", "close_cause_id", "decided_by", "decision_reason", "decision_id")]
    assert told == ["DECISION", decision_id, "desk", "a shared mailbox", ""]
    [closed] = [one for one in history(c360, ann.customer) if one["type"] == "customer.proposal_closed"]
    assert [closed[name] for name in ("cause", "cause_id", "decided_by", "reason")] == [
        "DECISION",
        decision_id,
        "desk",
        "withdrawn",
    ]
    c360.run("identity", "withdraw", decision_id, "--by", "chief", "--reason", "a mistake")
    assert len(listed(c360, ann.customer)) == 1
    position = bea.happens(identify(mailbox, user_id=f"{bea.user}-third"))
    fresh = f"{position.log}/{position.partition}/{position.number}"
    [_, last] = listed(c360, ann.customer, "--state", "withdrawn", "--fresh", fresh)
    assert (last["close_cause"], last["decided_by"]) == ("EVENT", "")
    [*_, closed] = [one for one in history(c360, ann.customer) if one["type"] == "customer.proposal_closed"]
    assert (closed["cause"], closed["cause_id"], closed["reason"]) == ("EVENT", last["close_cause_id"], "withdrawn")


def history(c360: Command, customer: str) -> list[Any]:
    return [json.loads(line) for line in c360.run("identity", "history", customer, "--json").stdout.splitlines()]
