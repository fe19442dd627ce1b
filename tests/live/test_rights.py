"""Rights requests through their real wiring: recorded once, due first, and done only for whom somebody checked."""

import asyncio
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest
from c360.common.v1.common_pb2 import Identifier
from c360.consent.v1 import consent_pb2
from c360.consent.v1 import rights_pb2 as pb
from c360.consent.v1.rights_pb2_grpc import RightsServiceStub

from shared.events import customer as events
from shared.events.catalogue import Entry, make_entry
from shared.ids import from_text
from shared.instants import now_us
from tests.live.consent_shop import DEADLINE_S, Shop, an_email, refusal

SHA256 = "ab" * 32


class Desk:
    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.calls: Any = RightsServiceStub(shop.channel)

    async def open(self, identifier: Identifier, right: int = pb.RIGHT_ACCESS, **more: Any) -> pb.RightsRequest:
        given = {"request_id": str(uuid4()), "law": pb.LAW_GDPR, "taken_by": "desk", "reason": "letter"} | more
        request = pb.OpenRightsRequestRequest(identifier=identifier, right=right, **given)  # type: ignore[arg-type]
        answer: pb.OpenRightsRequestResponse = await self.calls.OpenRightsRequest(request, timeout=DEADLINE_S)
        return answer.request

    async def take(self, rights_id: str, request_id: str = "", **step: Any) -> pb.RightsRequest:
        given = {"request_id": request_id or str(uuid4()), "taken_by": "desk", "reason": "as asked"} | step
        request = pb.TakeRightsStepRequest(rights_request_id=rights_id, **given)
        answer: pb.TakeRightsStepResponse = await self.calls.TakeRightsStep(request, timeout=DEADLINE_S)
        return answer.request

    async def check_identity(self, rights_id: str, passed: bool = True) -> pb.RightsRequest:
        return await self.take(rights_id, identity_checked=pb.IdentityChecked(passed=passed, method="signed-in"))

    async def begun(self, identifier: Identifier, right: int) -> str:
        rights_id = (await self.open(identifier, right)).rights_request_id
        await self.check_identity(rights_id)
        return (await self.take(rights_id, begun=pb.Begun())).rights_request_id

    async def get(self, rights_id: str) -> pb.GetRightsRequestResponse:
        answer: pb.GetRightsRequestResponse = await self.calls.GetRightsRequest(
            pb.GetRightsRequestRequest(rights_request_id=rights_id), timeout=DEADLINE_S
        )
        return answer

    async def listed(self, **which: Any) -> list[pb.RightsRequest]:
        request, found = pb.ListRightsRequestsRequest(**which), []
        while True:
            page = await self.calls.ListRightsRequests(request, timeout=DEADLINE_S)
            found += page.requests
            request.page_token = page.next_page_token
            if not request.page_token:
                return found


@pytest.fixture
def desk(shop: Shop) -> Desk:
    return Desk(shop)


async def test_a_request_lives_from_its_receipt_to_its_answer(desk: Desk) -> None:
    anna = an_email()
    opened = await desk.open(anna, receive_date="2026-03-05", calendar="DE")
    assert (opened.state, opened.due_date, opened.longest_date) == (pb.RIGHTS_STATE_RECEIVED, "2026-04-07", "2026-06-05")
    rights_id = opened.rights_request_id
    begin = desk.take(rights_id, begun=pb.Begun())
    assert await refusal(begin) == ("FAILED_PRECONDITION", "IDENTITY_NOT_CHECKED")
    assert (await desk.check_identity(rights_id, passed=False)).state == pb.RIGHTS_STATE_RECEIVED
    assert (await desk.check_identity(rights_id)).state == pb.RIGHTS_STATE_VERIFIED
    extended = await desk.take(rights_id, extended=pb.Extended(tell_date="2026-04-07"))
    assert (extended.due_date, extended.extended) == ("2026-06-05", True)
    done = pb.Fulfilled(references=["report"], proof_sha256=SHA256)
    assert await refusal(desk.take(rights_id, fulfilled=done)) == ("FAILED_PRECONDITION", "RIGHTS_REQUEST_NOT_BEGUN")
    await desk.take(rights_id, begun=pb.Begun())
    unproven = desk.take(rights_id, fulfilled=pb.Fulfilled(references=["report"]))
    assert await refusal(unproven) == ("INVALID_ARGUMENT", "PROOF_INVALID")
    assert (await desk.take(rights_id, fulfilled=done)).state == pb.RIGHTS_STATE_FULFILLED
    assert await refusal(desk.take(rights_id, withdrawn=pb.Withdrawn())) == ("FAILED_PRECONDITION", "RIGHTS_REQUEST_CLOSED")
    steps = (await desk.get(rights_id)).steps
    assert [step.kind for step in steps] == ["received", *2 * ["identity_checked"], "extended", "begun", "fulfilled"]
    assert all(one.position.number < other.position.number for one, other in pairwise(steps))
    assert (list(steps[-1].references), steps[-1].proof_sha256, steps[-1].taken_by) == (["report"], SHA256, "desk")


async def test_what_is_repeated_is_answered_alike_and_recorded_once(desk: Desk) -> None:
    anna, key = an_email(), str(uuid4())
    both = await asyncio.gather(*(desk.open(anna, request_id=key) for _ in range(2)))
    assert both[0] == both[1]
    rights_id = both[0].rights_request_id
    assert await refusal(desk.open(an_email(), request_id=key)) == ("ABORTED", "REQUEST_ID_REUSED")
    checked = pb.IdentityChecked(passed=True, method="signed-in")
    step = str(uuid4())
    for _ in range(2):
        assert (await desk.take(rights_id, step, identity_checked=checked)).state == pb.RIGHTS_STATE_VERIFIED
    assert len((await desk.get(rights_id)).steps) == 2
    other = (await desk.open(an_email())).rights_request_id
    assert await refusal(desk.take(other, step, identity_checked=checked)) == ("ABORTED", "REQUEST_ID_REUSED")
    assert await refusal(desk.take(rights_id, step, begun=pb.Begun())) == ("ABORTED", "REQUEST_ID_REUSED")


async def test_a_duplicate_is_named_and_checked_like_any_other(desk: Desk) -> None:
    anna = an_email()
    first = await desk.open(anna, pb.RIGHT_PORTABILITY)
    await desk.check_identity(first.rights_request_id)
    second = await desk.open(anna, pb.RIGHT_PORTABILITY)
    assert second.duplicate_of_id == first.rights_request_id
    begin = desk.take(second.rights_request_id, begun=pb.Begun())
    assert await refusal(begin) == ("FAILED_PRECONDITION", "IDENTITY_NOT_CHECKED")
    assert not (await desk.open(anna, pb.RIGHT_ACCESS)).duplicate_of_id, "it asks for something else"


async def test_what_is_due_first_comes_first(desk: Desk) -> None:
    anna = an_email()
    days = ["2026-03-05", "2025-11-03", "2026-01-12"]
    ids = [(await desk.open(anna, receive_date=day)).rights_request_id for day in days]
    await desk.take(ids[2], refused=pb.Refused(ground=pb.GROUND_IDENTITY_NOT_PROVEN))
    listed = await desk.listed(identifier=anna, page_size=1)
    assert [one.rights_request_id for one in listed] == [ids[1], ids[0]]
    assert all(one.overdue for one in listed)
    refused = await desk.listed(identifier=anna, states=[pb.RIGHTS_STATE_REFUSED])
    assert [(one.rights_request_id, one.overdue) for one in refused] == [(ids[2], False)]
    assert await desk.listed(identifier=anna, right=pb.RIGHT_ERASURE) == []


async def test_an_objection_is_done_by_decisions_of_the_person(desk: Desk) -> None:
    anna, shop = an_email(), desk.shop
    rights_id = await desk.begun(anna, pb.RIGHT_OBJECTION)
    granted = await shop.decide(anna, await shop.personal_purpose(), consent_pb2.OUTCOME_GRANTED)
    stranger = await shop.decide(an_email(), "analytics", consent_pb2.OUTCOME_OBJECTED)
    for decision_id in (granted.decision_id, stranger.decision_id, str(uuid4()), "none"):
        done = pb.Fulfilled(references=[decision_id])
        assert await refusal(desk.take(rights_id, fulfilled=done)) == ("INVALID_ARGUMENT", "REFERENCES_INVALID")
    objected = await shop.decide(anna, "analytics", consent_pb2.OUTCOME_OBJECTED)
    done = pb.Fulfilled(references=[objected.decision_id])
    assert (await desk.take(rights_id, fulfilled=done)).state == pb.RIGHTS_STATE_FULFILLED


async def test_an_erasure_is_done_when_the_person_is_erased(desk: Desk) -> None:
    anna, shop = an_email(), desk.shop
    customer, position = await shop.founded(anna)
    await shop.check("analytics", position, customer_id=customer)
    rights_id = await desk.begun(anna, pb.RIGHT_ERASURE)
    assert (await desk.get(rights_id)).request.customer_id == customer
    done = pb.Fulfilled(references=["erasure"], proof_sha256=SHA256)
    assert await refusal(desk.take(rights_id, fulfilled=done)) == ("FAILED_PRECONDITION", "NOT_ERASED")
    position = await shop.publish(an_erasure(customer, shop.hash_of(anna)))
    await shop.check("analytics", position, identifier=an_email())
    answered = await desk.take(rights_id, fulfilled=done)
    assert (answered.state, answered.customer_id) == (pb.RIGHTS_STATE_FULFILLED, "")


def an_erasure(customer: str, value_hash: bytes) -> Entry:
    erased = events.CustomerErased(erasure_id=b"e" * 16, policy="refuse", identifier_hashes=(value_hash,))
    return make_entry(events.ERASED, from_text(customer, "customer"), uuid4().bytes, now_us(), erased)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"right": pb.RIGHT_UNSPECIFIED}, "RIGHT_MISSING"),
        ({"law": 99}, "LAW_MISSING"),
        ({"calendar": "XX"}, "CALENDAR_UNKNOWN"),
        ({"receive_date": "05.03.2026"}, "DAY_INVALID"),
        ({"receive_date": "2999-01-01"}, "DAY_INVALID"),
        ({"taken_by": ""}, "NAME_INVALID"),
        ({"reason": ""}, "REASON_INVALID"),
    ],
)
async def test_what_cannot_be_taken_is_refused(desk: Desk, more: dict[str, Any], reason: str) -> None:
    right = more.pop("right", pb.RIGHT_ACCESS)
    assert await refusal(desk.open(an_email(), right, **more)) == ("INVALID_ARGUMENT", reason)


async def test_a_step_of_nothing_is_refused(desk: Desk) -> None:
    assert await refusal(desk.take(str(uuid4()), begun=pb.Begun())) == ("NOT_FOUND", "RIGHTS_REQUEST_UNKNOWN")
    assert await refusal(desk.get("x")) == ("INVALID_ARGUMENT", "RIGHTS_REQUEST_ID_INVALID")
    opened = await desk.open(an_email())
    assert await refusal(desk.take(opened.rights_request_id)) == ("INVALID_ARGUMENT", "STEP_MISSING")
