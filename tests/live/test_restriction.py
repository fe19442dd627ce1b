"""Processing that is restricted: nothing of the person is permitted from the next check on, by consent's service itself."""

from collections.abc import Awaitable
from typing import Any
from uuid import uuid4

import pytest
from c360.common.v1.common_pb2 import CustomerRef, Identifier
from c360.consent.v1 import consent_pb2 as pb
from c360.consent.v1 import evidence_pb2, registry_pb2, restriction_pb2
from c360.consent.v1.evidence_pb2_grpc import EvidenceServiceStub
from c360.consent.v1.restriction_pb2_grpc import RestrictionServiceStub
from google.protobuf.timestamp_pb2 import Timestamp

from shared.instants import SECOND, now_us, to_timestamp
from tests.live.consent_shop import DEADLINE_S, Reader, Shop, an_email, merged, refusal, split

CONTESTED = restriction_pb2.RESTRICTION_GROUND_ACCURACY_CONTESTED
GRANTED = pb.OUTCOME_GRANTED


class Desk:
    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self._calls: Any = RestrictionServiceStub(shop.channel)
        self.evidence: Any = EvidenceServiceStub(shop.channel)

    async def restrict(self, identifier: Identifier, **more: Any) -> restriction_pb2.RestrictProcessingResponse:
        given: dict[str, Any] = {
            "request_id": str(uuid4()),
            "grounds": [CONTESTED],
            "restricted_by": "desk",
            "reason": "ticket 7",
        } | more
        request = restriction_pb2.RestrictProcessingRequest(identifier=identifier, **given)
        answer: restriction_pb2.RestrictProcessingResponse = await self._calls.RestrictProcessing(request, timeout=DEADLINE_S)
        return answer

    async def lift(self, restriction_id: str, **more: Any) -> restriction_pb2.LiftRestrictionResponse:
        given: dict[str, Any] = {
            "request_id": str(uuid4()),
            "tell_time": to_timestamp(now_us()),
            "lifted_by": "desk",
            "reason": "verified",
        } | more
        request = restriction_pb2.LiftRestrictionRequest(restriction_id=restriction_id, **given)
        answer: restriction_pb2.LiftRestrictionResponse = await self._calls.LiftRestriction(request, timeout=DEADLINE_S)
        return answer

    async def reason(self, identifier: Identifier, purpose: str = "service", **more: Any) -> str:
        request = pb.CheckRequest(purpose=purpose, customer=CustomerRef(identifier=identifier), **more)
        return str((await self.shop.calls.Check(request, timeout=DEADLINE_S)).reason)


@pytest.fixture
def desk(shop: Shop) -> Desk:
    return Desk(shop)


async def test_from_the_next_check_on_no_purpose_is_permitted_but_those_that_go_on(shop: Shop, desk: Desk) -> None:
    anna = an_email()
    await shop.decide(anna, "marketing", GRANTED)
    async with Reader(shop.client, f"reader-{uuid4().hex}") as reader:
        made = await desk.restrict(anna)
        assert made.enforcing_readers >= 1
        assert reader.applied >= made.position.number, "it was answered when every reader had it"
    for purpose in ("service", "marketing", "analytics", "advertising"):
        found = await shop.check(purpose, identifier=anna)
        assert (found.permitted, found.reason, found.state) == (False, "RESTRICTED", "RESTRICTED")
        assert (found.decision_id, list(found.evidence)) == (made.restriction_id, [made.position])
    assert (await shop.check("audit", identifier=anna)).reason == "LEGAL_OBLIGATION"
    batch = pb.CheckBatchRequest(purpose="service", customers=[CustomerRef(identifier=one) for one in (anna, an_email())])
    results = (await shop.calls.CheckBatch(batch, timeout=DEADLINE_S)).results
    assert [one.verdict.reason for one in results] == ["RESTRICTED", "CONTRACT"]
    filtering = shop.calls.FilterAudience(
        iter([pb.FilterAudienceRequest(purpose="service", customers=batch.customers)]), timeout=DEADLINE_S
    )
    first = await filtering.read()
    assert ([one.reason for one in first.excluded], list(first.permitted)) == (["RESTRICTED"], [1])
    await desk.lift(made.restriction_id)
    assert (await desk.reason(anna), await desk.reason(anna, "marketing")) == ("CONTRACT", "CONSENT_GRANTED")


async def test_it_holds_for_whoever_is_or_may_be_the_same_and_no_longer_than_they_are(shop: Shop, desk: Desk) -> None:
    anna, other, likely = an_email(), an_email(), an_email()
    (one, _), (two, _), (three, fresh) = [await shop.founded(it) for it in (anna, other, likely)]
    await desk.restrict(anna)
    assert await desk.reason(other, at_least_as_fresh=[fresh]) == "CONTRACT"
    certain, match = merged(one, two), merged(one, three, likely=True)
    joined = await shop.publish(*certain, *match)
    for it in (anna, other, likely):
        assert await desk.reason(it, at_least_as_fresh=[joined]) == "RESTRICTED"
    parted = await shop.publish(*split(certain), *split(match))
    assert await desk.reason(anna, at_least_as_fresh=[parted]) == "RESTRICTED"
    for it in (other, likely):
        assert await desk.reason(it, at_least_as_fresh=[parted]) == "CONTRACT"


async def test_a_check_of_the_past_knows_what_held_and_was_known_then(shop: Shop, desk: Desk) -> None:
    anna, hour = an_email(), 3_600 * SECOND
    start = now_us()
    made = await desk.restrict(anna, restrict_time=to_timestamp(start - 2 * hour))
    known = now_us()
    at = {back: to_timestamp(start - back * hour) for back in (1, 3)}
    assert await desk.reason(anna, valid_at=at[3]) == "CONTRACT"
    assert await desk.reason(anna, valid_at=at[1]) == "RESTRICTED"
    assert await desk.reason(anna, valid_at=at[1], known_at=to_timestamp(start)) == "CONTRACT", "nobody knew it yet"
    await desk.lift(made.restriction_id)
    assert await desk.reason(anna) == "CONTRACT"
    assert await desk.reason(anna, known_at=to_timestamp(known)) == "RESTRICTED"


async def test_it_is_explained_and_so_is_what_changed(shop: Shop, desk: Desk) -> None:
    anna = an_email()
    granted = await shop.decide(anna, "marketing", GRANTED)
    before = to_timestamp(now_us())
    made = await desk.restrict(anna)
    request = evidence_pb2.ExplainCheckRequest(purpose="marketing", customer=CustomerRef(identifier=anna))
    told = await desk.evidence.ExplainCheck(request, timeout=DEADLINE_S)
    assert told.explanation.reason == "RESTRICTED"
    roles = {one.decision.decision_id: one.role for one in told.explanation.decisions}
    assert roles == {made.restriction_id: "DECIDES", granted.decision_id: "RESTRICTED"}
    [restriction] = [one.decision.restriction for one in told.explanation.decisions if one.decision.HasField("restriction")]
    assert (list(restriction.grounds), restriction.recorded_by, restriction.reason) == ([CONTESTED], "desk", "ticket 7")
    end = await desk.lift(made.restriction_id)
    told = await desk.evidence.ExplainCheck(request, timeout=DEADLINE_S)
    roles = {one.decision.decision_id: one.role for one in told.explanation.decisions}
    assert roles == {made.restriction_id: "LIFTED", end.decision_id: "LIFTS", granted.decision_id: "DECIDES"}
    diff = evidence_pb2.DiffCheckRequest(
        purpose="marketing", customer=CustomerRef(identifier=anna), from_known_at=before, to_known_at=to_timestamp(now_us())
    )
    changed = await desk.evidence.DiffCheck(diff, timeout=DEADLINE_S)
    assert {one.decision_id for one in changed.changes} == {made.restriction_id, end.decision_id}


async def test_it_is_recorded_and_lifted_once_and_never_unless_the_person_was_told(desk: Desk) -> None:
    anna, again = an_email(), str(uuid4())
    made = [await desk.restrict(anna, request_id=again) for _ in range(2)]
    assert made[0].restriction_id == made[1].restriction_id
    other = await desk.restrict(anna, grounds=[restriction_pb2.RESTRICTION_GROUND_LEGAL_CLAIMS])
    restriction, told = made[0].restriction_id, to_timestamp(now_us())

    async def refused(call: Awaitable[Any]) -> str:
        return (await refusal(call))[1]

    assert await refused(desk.restrict(anna, request_id=again, reason="another")) == "REQUEST_ID_REUSED"
    assert await refused(desk.restrict(anna, grounds=[])) == "GROUND_MISSING"
    assert await refused(desk.lift(restriction, tell_time=None)) == "NOT_TOLD_BEFORE"
    assert await refused(desk.lift(restriction, tell_time=Timestamp(seconds=1))) == "NOT_TOLD_BEFORE"
    assert await refused(desk.lift(str(uuid4()))) == "RESTRICTION_UNKNOWN"
    assert await refused(desk.shop.decide(anna, "service", pb.OUTCOME_RESTRICTED)) == "OUTCOME_MISSING"
    lifting = str(uuid4())
    ended = [await desk.lift(restriction, request_id=lifting, tell_time=told) for _ in range(2)]
    assert ended[0].decision_id == ended[1].decision_id
    assert await refused(desk.lift(restriction)) == "RESTRICTION_LIFTED"
    assert await desk.reason(anna) == "RESTRICTED", "there is another"
    await desk.lift(other.restriction_id)
    assert await desk.reason(anna) == "CONTRACT"
    listed = [(one.purpose, one.outcome) for one in await desk.shop.decisions(anna)]
    assert listed == [("*", pb.OUTCOME_RESTRICTED)] * 2 + [("*", pb.OUTCOME_RESTRICTION_LIFTED)] * 2


async def test_by_consent_a_purpose_goes_on_once_it_was_granted_anew(shop: Shop, desk: Desk) -> None:
    anna, name = an_email(), f"offers_{uuid4().hex}"
    goes_on = [registry_pb2.RESTRICTION_EXCEPTION_CONSENT]
    await shop.define_purpose(name, legal_basis=registry_pb2.LEGAL_BASIS_CONSENT, traits=["email"], despite_restriction=goes_on)
    await shop.decide(anna, name, GRANTED)
    await desk.restrict(anna)
    assert await desk.reason(anna, name) == "RESTRICTED"
    await shop.decide(anna, name, GRANTED)
    assert await desk.reason(anna, name) == "CONSENT_GRANTED"
    contract = shop.define_purpose(
        f"more_{name}", legal_basis=registry_pb2.LEGAL_BASIS_CONTRACT, traits=["email"], despite_restriction=goes_on
    )
    assert (await refusal(contract))[1] == "CONDITION_NOT_ENFORCED"


async def test_whose_processing_is_restricted_is_listed_page_by_page_until_it_is_lifted(shop: Shop, desk: Desk) -> None:
    anna, other = an_email(), an_email()
    customer, _ = await shop.founded(anna)
    made = [await desk.restrict(one, reason="contested") for one in (anna, anna, other)]

    async def listed(**more: Any) -> dict[str, evidence_pb2.RestrictedProcessing]:
        found, token = list[evidence_pb2.RestrictedProcessing](), ""
        while True:
            request = evidence_pb2.ListRestrictionsRequest(page_size=1, page_token=token, **more)
            page = await desk.evidence.ListRestrictions(request, timeout=DEADLINE_S)
            found += page.restrictions
            if not (token := page.next_page_token):
                assert len({one.restriction_id for one in found}) == len(found), "each is listed once"
                return {one.restriction_id: one for one in found}

    ids = [one.restriction_id for one in made]
    found = await listed()
    assert [found[one].customer_id for one in ids] == [customer, customer, ""]
    assert [found[one].identifier_hash for one in ids] == [shop.hash_of(one).hex() for one in (anna, anna, other)]
    assert [found[one].position for one in ids] == [one.position for one in made]
    assert {found[one].restriction.reason for one in ids} == {"contested"}
    await desk.lift(ids[0])
    assert found.keys() - (await listed()).keys() == {ids[0]}
    ended = (await listed(include_ended=True))[ids[0]]
    assert (ended.lift.recorded_by, ended.HasField("lift_time"), ended.lift.lifts) == ("desk", True, ids[0])


async def test_what_holds_for_one_person_is_listed_whoever_it_is_bound_to(shop: Shop, desk: Desk) -> None:
    """What is listed is what a check is refused by: the restrictions of who is one with them, of who may be, and by what was shared."""
    anna, married, likely, stranger = [an_email() for _ in range(4)]
    (one, _), (two, _), (three, _), (four, _) = [await shop.founded(it) for it in (anna, married, likely, stranger)]
    match = merged(one, three, likely=True)
    fresh = await shop.publish(*merged(one, two), *match)
    made = {it.value: (await desk.restrict(it)).restriction_id for it in (married, likely, stranger)}

    async def listed(customer: CustomerRef, **more: Any) -> dict[str, str]:
        found, token = dict[str, str](), ""
        while True:
            request = evidence_pb2.ListRestrictionsRequest(customer=customer, page_size=1, page_token=token, **more)
            page = await desk.evidence.ListRestrictions(request, timeout=DEADLINE_S)
            found |= {it.restriction_id: it.belonging for it in page.restrictions}
            if not (token := page.next_page_token):
                return found

    theirs, likely_theirs = made[married.value], made[likely.value]
    for by in (CustomerRef(customer_id=one), CustomerRef(identifier=anna), CustomerRef(customer_id=two)):
        assert await listed(by, at_least_as_fresh=[fresh]) == {theirs: "THEIRS", likely_theirs: "LIKELY_THEIRS"}
    assert await listed(CustomerRef(customer_id=three)) == {theirs: "LIKELY_THEIRS", likely_theirs: "THEIRS"}
    await desk.lift(theirs)
    assert await desk.reason(anna) == "RESTRICTED"
    assert await listed(CustomerRef(customer_id=one)) == {likely_theirs: "LIKELY_THEIRS"}, "what she is refused by is listed"
    assert await listed(CustomerRef(customer_id=one), include_ended=True) == {theirs: "THEIRS", likely_theirs: "LIKELY_THEIRS"}
    parted = await shop.publish(*split(match))
    assert await listed(CustomerRef(customer_id=one), at_least_as_fresh=[parted]) == {}
    assert await listed(CustomerRef(customer_id=four)) == {made[stranger.value]: "THEIRS"}
    assert await listed(CustomerRef(identifier=an_email())) == {}
    unknown = evidence_pb2.ListRestrictionsRequest(customer=CustomerRef(customer_id=str(uuid4())))
    assert (await refusal(desk.evidence.ListRestrictions(unknown, timeout=DEADLINE_S)))[1] == "CUSTOMER_UNKNOWN"


async def test_a_receipt_says_that_processing_is_restricted_as_long_as_it_is(shop: Shop, desk: Desk) -> None:
    anna, other = an_email(), an_email()
    one, two = [(await shop.founded(it))[0] for it in (anna, other)]
    fresh = await shop.publish(*merged(one, two))
    granted = await shop.decide(anna, "marketing", GRANTED)
    await shop.check("marketing", fresh, identifier=anna)

    async def receipts() -> list[str]:
        kinds = (evidence_pb2.RECEIPT_FORMAT_KANTARA, evidence_pb2.RECEIPT_FORMAT_ISO_27560)
        requests = [evidence_pb2.GetReceiptRequest(decision_id=granted.decision_id, format=kind) for kind in kinds]
        return [(await desk.evidence.GetReceipt(request, timeout=DEADLINE_S)).document for request in requests]

    before = await receipts()
    made = await desk.restrict(other)
    assert ["Art. 18" in one for one in await receipts()] == [True, True], "by whichever of their identifiers"
    await desk.lift(made.restriction_id)
    assert await receipts() == before
