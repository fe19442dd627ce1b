"""What consent says of the past: what it said then, and what had been decided by then."""

from random import Random
from uuid import uuid4

import pytest
from c360.common.v1.common_pb2 import CustomerRef
from c360.consent.v1 import consent_pb2 as pb
from c360.consent.v1.registry_pb2 import LEGAL_BASIS_CONSENT, LEGAL_BASIS_LEGITIMATE_INTEREST
from google.protobuf.timestamp_pb2 import Timestamp

from shared.instants import SECOND, from_timestamp, now_us, to_timestamp
from tests.live.consent_shop import DEADLINE_S, Shop, an_email, refusal

OUTCOMES = [pb.OUTCOME_GRANTED, pb.OUTCOME_WITHDRAWN, pb.OUTCOME_OBJECTED, pb.OUTCOME_REFUSED]
DENIALS = {pb.OUTCOME_WITHDRAWN: "CONSENT_WITHDRAWN", pb.OUTCOME_OBJECTED: "OBJECTED", pb.OUTCOME_REFUSED: "CONSENT_REFUSED"}


async def check(
    shop: Shop, purpose: str, email: pb.CheckRequest, valid_at: Timestamp | None = None, known_at: Timestamp | None = None
) -> pb.CheckResponse:
    request = pb.CheckRequest(purpose=purpose, valid_at=valid_at, known_at=known_at)
    request.MergeFrom(email)
    answer: pb.CheckResponse = await shop.calls.Check(request, timeout=DEADLINE_S)
    answer.ClearField("valid_until_time")  # of now alone
    return answer


@pytest.mark.parametrize("seed", range(2))
async def test_a_check_of_the_past_is_what_was_answered_then_and_follows_from_what_was_decided_by_then(
    shop: Shop, seed: int
) -> None:
    chance, name, email = Random(seed), f"offers_{uuid4().hex}", an_email()
    asked = pb.CheckRequest(customer=CustomerRef(identifier=email))
    await shop.define_purpose(name, legal_basis=LEGAL_BASIS_CONSENT, traits=["email"])
    answered = []
    began = now_us()
    for number in range(12):
        if number == 6:
            await shop.define_purpose(name, legal_basis=LEGAL_BASIS_LEGITIMATE_INTEREST, traits=["email"])
        decided_at = to_timestamp(began - chance.randrange(1, 9) * SECOND)
        await shop.decide(email, name, chance.choice(OUTCOMES), decide_time=decided_at)
        answered.append((to_timestamp(now_us()), await check(shop, name, asked)))
    for known_at, then in answered:
        assert await check(shop, name, asked, known_at=known_at) == then
    recorded = [one for one in await shop.decisions(email) if one.purpose == name]
    for seconds in range(10):
        valid_at, known_at = began - seconds * SECOND, answered[chance.randrange(12)][0]
        counting = [
            one
            for one in recorded
            if from_timestamp(one.decide_time) <= valid_at and from_timestamp(one.record_time) <= from_timestamp(known_at)
        ]
        listing = pb.ListDecisionsRequest(identifier=email, valid_at=to_timestamp(valid_at), known_at=known_at)
        assert list((await shop.calls.ListDecisions(listing, timeout=DEADLINE_S)).decisions) == counting
        latest = max(
            counting, default=None, key=lambda one: (one.decide_time.seconds, one.outcome != pb.OUTCOME_GRANTED, one.decision_id)
        )
        found = await check(shop, name, asked, valid_at=to_timestamp(valid_at), known_at=known_at)
        assert found.decision_id == (latest.decision_id if latest else "")
        if latest:
            assert found.reason == DENIALS.get(latest.outcome, "CONSENT_GRANTED")


async def test_before_a_purpose_was_defined_nothing_is_known_of_it(shop: Shop) -> None:
    before, name = to_timestamp(now_us()), f"offers_{uuid4().hex}"
    await shop.define_purpose(name, legal_basis=LEGAL_BASIS_CONSENT, traits=["email"])
    asked = pb.CheckRequest(customer=CustomerRef(identifier=an_email()))
    assert (await check(shop, name, asked)).purpose_version == 1
    assert await refusal(check(shop, name, asked, known_at=before)) == ("INVALID_ARGUMENT", "PURPOSE_UNKNOWN")
    ahead = to_timestamp(now_us() + 3600 * SECOND)
    assert await refusal(check(shop, name, asked, valid_at=ahead)) == ("INVALID_ARGUMENT", "INSTANT_IN_FUTURE")
