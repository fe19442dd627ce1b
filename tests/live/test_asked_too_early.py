"""A question that comes too early is answered, recorded, and told."""

from uuid import uuid4

from c360.consent.v1 import consent_pb2 as pb
from c360.consent.v1 import registry_pb2

from shared.instants import DAY, now_us, to_timestamp
from tests.live.consent_shop import DEADLINE_S, Shop, an_email


async def test_who_was_asked_too_early_is_told_in_answers_and_lists(shop: Shop) -> None:
    name, email, now = f"p_{uuid4().hex}", an_email(), now_us()
    await shop.define_purpose(name, legal_basis=registry_pb2.LEGAL_BASIS_CONSENT, traits=["email"], ask_again_after_days=180)

    def at(days_ago: int) -> pb.RecordDecisionRequest:
        return pb.RecordDecisionRequest(
            request_id=str(uuid4()),
            identifier=email,
            purpose=name,
            outcome=pb.OUTCOME_REFUSED,
            decide_time=to_timestamp(now - days_ago * DAY),
        )

    first = await shop.calls.RecordDecision(at(400), timeout=DEADLINE_S)
    batch = pb.RecordDecisionsRequest(decisions=[at(100), at(10)])
    told = (await shop.calls.RecordDecisions(batch, timeout=DEADLINE_S)).results
    assert (first.asked_too_early, [one.asked_too_early for one in told]) == (False, [False, True])
    late = await shop.calls.RecordDecision(at(300), timeout=DEADLINE_S)
    assert late.asked_too_early, "what comes late is told of too"
    listed = {one.decide_time.ToMicroseconds(): one.asked_too_early for one in await shop.decisions(email)}
    assert [listed[moment] for moment in sorted(listed)] == [False, True, False, True]
