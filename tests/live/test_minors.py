"""People who are known to be children: what they can't grant isn't permitted from the next check on, until time makes them old enough."""

from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from c360.common.v1.common_pb2 import CustomerRef, Identifier
from c360.consent.v1 import age_pb2, evidence_pb2, registry_pb2
from c360.consent.v1 import consent_pb2 as pb
from c360.consent.v1.age_pb2_grpc import AgeServiceStub
from c360.consent.v1.evidence_pb2_grpc import EvidenceServiceStub
from google.protobuf.timestamp_pb2 import Timestamp

from shared.instants import DAY, now_us, to_timestamp, years_after
from tests.live.consent_shop import DEADLINE_S, Reader, Shop, an_email, merged, refusal, split

GRANTED, OPTED_IN = pb.OUTCOME_GRANTED, pb.OUTCOME_OPTED_IN


class Desk:
    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self._calls: Any = AgeServiceStub(shop.channel)
        self.evidence: Any = EvidenceServiceStub(shop.channel)

    async def age(self, identifier: Identifier, under: int = 16, at_least: int = 13, **more: Any) -> age_pb2.RecordAgeResponse:
        given: dict[str, Any] = {"request_id": str(uuid4()), "recorded_by": "shop", "reason": "sign-up"} | more
        request = age_pb2.RecordAgeRequest(identifier=identifier, under=under, at_least=at_least, **given)
        answer: age_pb2.RecordAgeResponse = await self._calls.RecordAge(request, timeout=DEADLINE_S)
        return answer

    async def correct(self, age_id: str, **more: Any) -> age_pb2.CorrectAgeResponse:
        given: dict[str, Any] = {"request_id": str(uuid4()), "recorded_by": "desk", "reason": "passport"} | more
        answer: age_pb2.CorrectAgeResponse = await self._calls.CorrectAge(
            age_pb2.CorrectAgeRequest(age_id=age_id, **given), timeout=DEADLINE_S
        )
        return answer

    async def reason(self, identifier: Identifier, purpose: str, **more: Any) -> str:
        request = pb.CheckRequest(purpose=purpose, customer=CustomerRef(identifier=identifier), **more)
        return str((await self.shop.calls.Check(request, timeout=DEADLINE_S)).reason)

    async def offers(self, basis: registry_pb2.LegalBasis.ValueType = registry_pb2.LEGAL_BASIS_CONSENT, **more: Any) -> str:
        """A purpose that those under 16 can't grant."""
        name = f"offers_{uuid4().hex}"
        given: dict[str, Any] = {"legal_basis": basis, "traits": ["email"], "minors_under": 16} | more
        await self.shop.define_purpose(name, **given)
        return name


@pytest.fixture
def desk(shop: Shop) -> Desk:
    return Desk(shop)


def years_ago(years: int) -> Timestamp:
    return to_timestamp(years_after(now_us(), -years))


async def test_from_the_next_check_on_what_a_child_granted_does_not_count_and_other_purposes_are_as_they_were(
    shop: Shop, desk: Desk
) -> None:
    anna, other, offers = an_email(), an_email(), await desk.offers()
    for one in (anna, other):
        await shop.decide(one, offers, GRANTED)
    async with Reader(shop.client, f"reader-{uuid4().hex}") as reader:
        said = await desk.age(anna)
        assert said.enforcing_readers >= 1
        assert reader.applied >= said.position.number, "it was answered when every reader had it"
    found = await shop.check(offers, identifier=anna)
    assert (found.permitted, found.reason, found.state) == (False, "MINOR", "MINOR")
    assert (found.decision_id, list(found.evidence)) == (said.age_id, [said.position])
    assert await desk.reason(anna, "service") == "CONTRACT"
    assert await desk.reason(anna, "analytics") == "LEGITIMATE_INTEREST", "it asks for no age"
    batch = pb.CheckBatchRequest(purpose=offers, customers=[CustomerRef(identifier=one) for one in (anna, other)])
    results = (await shop.calls.CheckBatch(batch, timeout=DEADLINE_S)).results
    assert [one.verdict.reason for one in results] == ["MINOR", "CONSENT_GRANTED"]
    filtering = shop.calls.FilterAudience(
        iter([pb.FilterAudienceRequest(purpose=offers, customers=batch.customers)]), timeout=DEADLINE_S
    )
    first = await filtering.read()
    assert ([one.reason for one in first.excluded], list(first.permitted)) == (["MINOR"], [1])
    await desk.correct(said.age_id)
    assert await desk.reason(anna, offers) == "CONSENT_GRANTED"


async def test_who_grew_up_by_time_alone_grants_anew(shop: Shop, desk: Desk) -> None:
    """15 at least two years ago, so 16 at the latest a year ago."""
    anna, offers = an_email(), await desk.offers()
    await shop.decide(anna, offers, GRANTED, decide_time=years_ago(3))
    await desk.age(anna, 16, 15, age_time=years_ago(2))
    found = await shop.check(offers, identifier=anna)
    assert (found.reason, found.state) == ("GRANTED_BY_MINOR", "INVALIDATED")
    assert await desk.reason(anna, offers, valid_at=to_timestamp(years_after(now_us(), -1) - DAY)) == "MINOR"
    await shop.decide(anna, offers, GRANTED)
    assert await desk.reason(anna, offers) == "CONSENT_GRANTED"


async def test_who_comes_of_age_in_a_moment_is_refused_no_longer_than_that(shop: Shop, desk: Desk) -> None:
    """A verdict may not be kept beyond."""
    anna, ads = an_email(), await desk.offers(registry_pb2.LEGAL_BASIS_LEGITIMATE_INTEREST)
    grown = now_us() + 2_000_000
    await desk.age(anna, 16, 15, age_time=to_timestamp(years_after(grown, -1)))
    found = await shop.check(ads, identifier=anna)
    if found.reason == "MINOR":
        assert found.valid_until_time.ToMicroseconds() <= grown
    while now_us() < grown:
        await shop.check(ads, identifier=anna)
    assert await desk.reason(anna, ads) == "LEGITIMATE_INTEREST"


async def test_what_a_parent_authorised_counts(shop: Shop, desk: Desk) -> None:
    anna, offers = an_email(), await desk.offers(minimum_age=16)
    await desk.age(anna)
    mother = pb.ParentalAuthorisation(guardian=an_email(), verified_by="signed form")
    made = await shop.decide(anna, offers, GRANTED, parental_authorisation=mother)
    assert await desk.reason(anna, offers) == "CONSENT_GRANTED"
    [listed] = [one for one in await shop.decisions(anna) if one.decision_id == made.decision_id]
    told = listed.parental_authorisation
    assert (told.verified_by, len(told.guardian_hash), told.guardian.value) == ("signed form", 32, "")
    for wrong in (
        shop.decide(anna, offers, GRANTED, parental_authorisation=pb.ParentalAuthorisation(guardian=an_email())),
        shop.decide(anna, offers, pb.OUTCOME_WITHDRAWN, parental_authorisation=mother),
    ):
        assert (await refusal(wrong))[1] == "AUTHORISATION_INVALID"
    await shop.decide(anna, offers, pb.OUTCOME_WITHDRAWN)
    found = await shop.check(offers, identifier=anna)
    assert (found.reason, len(found.evidence)) == ("MINOR", 2), "the age, and the withdrawal besides"


async def test_who_authorises_it_is_neither_the_child_nor_another_one(shop: Shop, desk: Desk) -> None:
    anna, phone, ben, offers = an_email(), an_email(), an_email(), await desk.offers()
    _, fresh = await shop.founded(anna, phone)
    await desk.age(anna)
    said = await desk.age(ben)
    assert await desk.reason(phone, offers, at_least_as_fresh=[fresh]) == "MINOR"
    for guardian, reason in ((anna, "GUARDIAN_IS_THE_PERSON"), (phone, "GUARDIAN_IS_THE_PERSON"), (ben, "GUARDIAN_IS_A_MINOR")):
        by = pb.ParentalAuthorisation(guardian=guardian, verified_by="checkbox")
        wanted = pb.RecordDecisionRequest(
            request_id=str(uuid4()), identifier=anna, purpose=offers, outcome=GRANTED, parental_authorisation=by
        )
        assert await refusal(shop.calls.RecordDecision(wanted)) == ("FAILED_PRECONDITION", reason)
        batch = await shop.calls.RecordDecisions(pb.RecordDecisionsRequest(decisions=[wanted]), timeout=DEADLINE_S)
        assert [one.refusal.reason for one in batch.results] == [reason]
    assert [one.outcome for one in await shop.decisions(anna)] == [pb.OUTCOME_AGE_KNOWN], "nothing of it is recorded"
    await desk.correct(said.age_id, under=40, at_least=30)
    await shop.decide(anna, offers, GRANTED, parental_authorisation=by)
    assert await desk.reason(anna, offers) == "CONSENT_GRANTED"


async def test_who_turns_out_to_be_the_child_has_authorised_nothing_as_long_as_they_are(shop: Shop, desk: Desk) -> None:
    anna, mum, offers = an_email(), an_email(), await desk.offers()
    (child, _), (parent, fresh) = [await shop.founded(one) for one in (anna, mum)]
    await desk.age(anna)
    by = pb.ParentalAuthorisation(guardian=mum, verified_by="checkbox")
    await shop.decide(anna, offers, GRANTED, parental_authorisation=by)
    assert await desk.reason(anna, offers, at_least_as_fresh=[fresh]) == "CONSENT_GRANTED"
    edge = merged(child, parent)
    joined = await shop.publish(*edge)
    assert await desk.reason(anna, offers, at_least_as_fresh=[joined]) == "MINOR"
    parted = await shop.publish(*split(edge))
    assert await desk.reason(anna, offers, at_least_as_fresh=[parted]) == "CONSENT_GRANTED"


async def test_who_turns_out_to_be_a_child_has_authorised_nothing_as_far_as_is_known(shop: Shop, desk: Desk) -> None:
    """By whichever identifier of theirs it is told, from the next check on; a check of what was known before goes by that."""
    anna, ben, phone, offers = (
        an_email(),
        an_email(),
        Identifier(namespace="phone", value=f"+49170{uuid4().int % 10**8:08}"),
        await desk.offers(),
    )
    _, fresh = await shop.founded(ben, phone)
    await desk.age(anna)
    by = pb.ParentalAuthorisation(guardian=ben, verified_by="checkbox")
    granted = await shop.decide(anna, offers, GRANTED, parental_authorisation=by)
    assert await desk.reason(anna, offers, at_least_as_fresh=[fresh]) == "CONSENT_GRANTED"
    before = to_timestamp(now_us())
    async with Reader(shop.client, f"reader-{uuid4().hex}") as reader:
        said = await desk.age(phone, under=16, at_least=13)
        assert reader.applied >= said.position.number, "it was answered when every reader had it"
    assert await desk.reason(anna, offers) == "MINOR"
    assert await desk.reason(anna, offers, known_at=before) == "CONSENT_GRANTED", "nobody knew it yet"
    [told] = [one for one in await shop.decisions(anna) if one.age.guardian_hash]
    assert (told.age.follows, told.age.under, told.age.recorded_by, told.method) == (said.age_id, 16, "consent", "")
    assert "sign-up" not in str(told), "who said so of the guardian isn't the child's to know"
    assert (await refusal(desk.correct(told.decision_id)))[1] == "AGE_UNKNOWN", "it is corrected where it was said"
    known = to_timestamp(now_us())
    right = await desk.correct(said.age_id, under=40, at_least=30)
    assert await desk.reason(anna, offers) == "CONSENT_GRANTED"
    assert await desk.reason(anna, offers, known_at=known) == "MINOR"
    request = evidence_pb2.ExplainCheckRequest(purpose=offers, customer=CustomerRef(identifier=anna))
    explanation = (await desk.evidence.ExplainCheck(request, timeout=DEADLINE_S)).explanation
    roles = {one.decision.age.follows or one.decision.decision_id: one.role for one in explanation.decisions}
    assert (roles[said.age_id], roles[right.age_id]) == ("CORRECTED", "DECIDES_NOTHING")
    assert roles[granted.decision_id] == "DECIDES"


async def test_it_does_not_matter_which_is_told_first_of_the_guardian_and_what_they_authorised(shop: Shop, desk: Desk) -> None:
    """Too young by a later version of the purpose alone: told before it is refused by none."""
    reasons = list[str]()
    for age_first in (True, False):
        anna, ben, offers = an_email(), an_email(), await desk.offers(minors_under=13)
        await desk.age(anna, 13, 0)
        by = pb.ParentalAuthorisation(guardian=ben, verified_by="checkbox")
        if age_first:
            await desk.age(ben, 16, 14)
        await shop.decide(anna, offers, GRANTED, parental_authorisation=by)
        if not age_first:
            await desk.age(ben, 16, 14)
        assert await desk.reason(anna, offers) == "CONSENT_GRANTED", "who is 14 isn't too young for it"
        await shop.define_purpose(offers, legal_basis=registry_pb2.LEGAL_BASIS_CONSENT, traits=["email"], minors_under=16)
        reasons.append(await desk.reason(anna, offers))
    assert reasons == ["MINOR", "MINOR"]


async def test_what_needs_no_consent_is_opted_in_to_by_a_minor_or_their_parent(shop: Shop, desk: Desk) -> None:
    """CCPA, 1798.120(c): under 16 nothing is sold without an opt-in; from 13 on their own."""
    ads = await desk.offers(registry_pb2.LEGAL_BASIS_LEGITIMATE_INTEREST, minors_opt_in_from=13)
    teen, child = an_email(), an_email()
    await desk.age(teen)
    await desk.age(child, 13, 0)
    for one in (teen, child):
        assert await desk.reason(one, ads) == "MINOR"
        await shop.decide(one, ads, OPTED_IN, attested_age=13)
    assert (await desk.reason(teen, ads), await desk.reason(child, ads)) == ("OPTED_IN", "MINOR")
    father = pb.ParentalAuthorisation(guardian=an_email(), verified_by="payment card")
    await shop.decide(child, ads, OPTED_IN, parental_authorisation=father)
    assert await desk.reason(child, ads) == "OPTED_IN"
    await shop.decide(teen, ads, pb.OUTCOME_OPTED_OUT)
    assert await desk.reason(teen, ads) == "MINOR"


async def test_it_holds_for_whoever_is_or_may_be_the_same_and_no_longer_than_they_are(shop: Shop, desk: Desk) -> None:
    anna, other, likely, offers = an_email(), an_email(), an_email(), await desk.offers()
    (one, _), (two, _), (three, fresh) = [await shop.founded(it) for it in (anna, other, likely)]
    for it in (anna, other, likely):
        await shop.decide(it, offers, GRANTED)
    await desk.age(anna)
    assert await desk.reason(other, offers, at_least_as_fresh=[fresh]) == "CONSENT_GRANTED"
    certain, match = merged(one, two), merged(one, three, likely=True)
    joined = await shop.publish(*certain, *match)
    for it in (anna, other, likely):
        assert await desk.reason(it, offers, at_least_as_fresh=[joined]) == "MINOR"
    for it, how in ((anna, "THEIRS"), (other, "THEIRS"), (likely, "LIKELY_THEIRS"), (an_email(), "")):
        listed = pb.ListDecisionsRequest(identifier=it, customer=CustomerRef(identifier=anna))
        assert (await shop.calls.ListDecisions(listed, timeout=DEADLINE_S)).belonging == how
    parted = await shop.publish(*split(certain), *split(match))
    assert await desk.reason(anna, offers, at_least_as_fresh=[parted]) == "MINOR"
    for it in (other, likely):
        assert await desk.reason(it, offers, at_least_as_fresh=[parted]) == "CONSENT_GRANTED"


async def test_a_check_of_the_past_knows_what_was_said_and_known_then(shop: Shop, desk: Desk) -> None:
    anna, offers, start = an_email(), await desk.offers(), to_timestamp(now_us())
    await shop.decide(anna, offers, GRANTED, decide_time=years_ago(2))
    granted = to_timestamp(now_us())
    said = await desk.age(anna, age_time=years_ago(1))
    known = to_timestamp(now_us())
    assert await desk.reason(anna, offers) == "MINOR", "told late, of a grant that was earlier"
    assert await desk.reason(anna, offers, valid_at=start) == "MINOR"
    assert await desk.reason(anna, offers, known_at=granted) == "CONSENT_GRANTED", "nobody knew it yet"
    await desk.correct(said.age_id)
    assert await desk.reason(anna, offers, known_at=known) == "MINOR"
    assert await desk.reason(anna, offers, valid_at=start) == "CONSENT_GRANTED", "it was wrong all along"
    assert await desk.reason(anna, offers) == "CONSENT_GRANTED"


async def test_it_is_explained_and_so_is_what_changed(shop: Shop, desk: Desk) -> None:
    anna, offers = an_email(), await desk.offers()
    granted = await shop.decide(anna, offers, GRANTED)
    before = to_timestamp(now_us())
    said = await desk.age(anna, method="sign-up")
    request = evidence_pb2.ExplainCheckRequest(purpose=offers, customer=CustomerRef(identifier=anna))
    told = (await desk.evidence.ExplainCheck(request, timeout=DEADLINE_S)).explanation
    assert {one.decision.decision_id: one.role for one in told.decisions} == {
        said.age_id: "DECIDES",
        granted.decision_id: "GRANTED_BY_MINOR",
    }
    [age] = [one.decision for one in told.decisions if one.decision.HasField("age")]
    assert (age.purpose, age.method, age.age.under, age.age.at_least, age.age.recorded_by) == ("*", "sign-up", 16, 13, "shop")
    right = await desk.correct(said.age_id, under=40, at_least=30)
    told = (await desk.evidence.ExplainCheck(request, timeout=DEADLINE_S)).explanation
    assert {one.decision.decision_id: one.role for one in told.decisions} == {
        said.age_id: "CORRECTED",
        right.age_id: "DECIDES_NOTHING",
        granted.decision_id: "DECIDES",
    }
    diff = evidence_pb2.DiffCheckRequest(
        purpose=offers, customer=CustomerRef(identifier=anna), from_known_at=before, to_known_at=to_timestamp(now_us())
    )
    changed = await desk.evidence.DiffCheck(diff, timeout=DEADLINE_S)
    assert {one.decision_id for one in changed.changes} == {said.age_id, right.age_id}


async def test_a_receipt_tells_who_granted_it_for_a_child_and_an_age_has_none(shop: Shop, desk: Desk) -> None:
    anna, offers = an_email(), await desk.offers()
    said = await desk.age(anna)
    mother = pb.ParentalAuthorisation(guardian=an_email(), verified_by="signed form")
    granted = await shop.decide(anna, offers, GRANTED, parental_authorisation=mother)
    for form in (evidence_pb2.RECEIPT_FORMAT_ISO_27560, evidence_pb2.RECEIPT_FORMAT_KANTARA):

        async def receipt(decision_id: str, form: Any = form) -> str:
            request = evidence_pb2.GetReceiptRequest(decision_id=decision_id, format=form)
            return str((await desk.evidence.GetReceipt(request, timeout=DEADLINE_S)).document)

        told = await receipt(granted.decision_id)
        assert "verified by: signed form" in told
        assert mother.guardian.value not in told
        assert (await refusal(receipt(said.age_id)))[1] == "NO_RECEIPT"


async def test_an_age_is_recorded_and_corrected_once(desk: Desk) -> None:
    anna, again = an_email(), str(uuid4())
    said = [await desk.age(anna, request_id=again) for _ in range(2)]
    assert said[0].age_id == said[1].age_id

    async def refused(call: Awaitable[Any]) -> str:
        return (await refusal(call))[1]

    assert await refused(desk.age(anna, 15, request_id=again)) == "REQUEST_ID_REUSED"
    for under, at_least in ((0, 0), (13, 13), (151, 0)):
        assert await refused(desk.age(anna, under, at_least)) == "AGE_INVALID"
    assert await refused(desk.age(anna, proof_sha256="none")) == "PROOF_INVALID"
    assert await refused(desk.age(anna, recorded_by="")) == "NAME_INVALID"
    assert await refused(desk.age(anna, age_time=Timestamp(seconds=int(datetime(2100, 1, 1, tzinfo=UTC).timestamp())))) == (
        "INSTANT_IN_FUTURE"
    )
    assert await refused(desk.correct(str(uuid4()))) == "AGE_UNKNOWN"
    assert await refused(desk.correct(said[0].age_id, at_least=3)) == "AGE_INVALID"
    assert await refused(desk.shop.decide(anna, "analytics", pb.OUTCOME_AGE_KNOWN)) == "OUTCOME_MISSING"
    correcting = str(uuid4())
    ended = [await desk.correct(said[0].age_id, request_id=correcting) for _ in range(2)]
    assert ended[0].age_id == ended[1].age_id
    assert await refused(desk.correct(said[0].age_id)) == "AGE_CORRECTED"
    assert await refused(desk.correct(ended[0].age_id)) == "AGE_UNKNOWN"
    listed = [(one.purpose, one.outcome) for one in await desk.shop.decisions(anna)]
    assert listed == [("*", pb.OUTCOME_AGE_KNOWN), ("*", pb.OUTCOME_AGE_TAKEN_BACK)]


async def test_minors_are_asked_about_only_where_people_decide(desk: Desk) -> None:
    contract = desk.offers(registry_pb2.LEGAL_BASIS_CONTRACT)
    assert (await refusal(contract))[1] == "CONDITION_NOT_ENFORCED"
    assert (await refusal(desk.offers(minors_opt_in_from=13)))[1] == "CONDITION_NOT_ENFORCED", "consent is granted"
    assert (await refusal(desk.offers(minors_under=151)))[1] == "PURPOSE_INVALID"
    assert (await refusal(desk.offers(registry_pb2.LEGAL_BASIS_LEGITIMATE_INTEREST, minors_opt_in_from=17)))[1] == "PURPOSE_INVALID"
