"""Checks of many: as those of each alone, in the order asked, and however the audience is cut into batches."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from random import Random
from typing import Any
from uuid import uuid4

import pytest
from c360.common.v1.common_pb2 import CustomerRef, Identifier
from c360.consent.v1 import consent_pb2 as pb

from tests.live.consent_shop import DEADLINE_S, Shop, an_email, merged, refusal

OUTCOMES = [pb.OUTCOME_GRANTED, pb.OUTCOME_GRANTED, pb.OUTCOME_WITHDRAWN, pb.OUTCOME_REFUSED]


async def an_audience(shop: Shop, chance: Random) -> tuple[list[CustomerRef], list[Any]]:
    """People of one and of two identifiers, some joined, some nobody's, some misspelt and one named twice; and what to wait for."""
    emails = [an_email() for _ in range(8)]
    founded = [await shop.founded(email, *([an_email()] if chance.random() < 0.5 else [])) for email in emails]
    ids = [customer for customer, _ in founded]
    fresh = [await shop.publish(*merged(ids[0], ids[1]), *merged(ids[1], ids[2]))]
    for email in [*emails, nobodys := an_email()]:
        if chance.random() < 0.8:
            fresh.append((await shop.decide(email, "marketing", chance.choice(OUTCOMES))).position)
    named = [CustomerRef(identifier=email) for email in [*emails, nobodys]] + [CustomerRef(customer_id=one) for one in ids]
    named += [
        CustomerRef(customer_id=str(uuid4())),
        CustomerRef(identifier=Identifier(namespace="email", value="no")),
        CustomerRef(),
    ]
    chance.shuffle(named)
    return [*named, named[0]], fresh


async def one_by_one(shop: Shop, named: Sequence[CustomerRef]) -> list[str]:
    found = []
    for one in named:
        request = pb.CheckRequest(purpose="marketing", customer=one)
        checked = await shop.calls.CheckBatch(pb.CheckBatchRequest(purpose="marketing", customers=[one]), timeout=DEADLINE_S)
        if checked.results[0].HasField("verdict"):
            alone = await shop.calls.Check(request, timeout=DEADLINE_S)
            alone.valid_until_time.CopyFrom(checked.results[0].verdict.valid_until_time)  # which depends on when one asks
            assert checked.results[0].verdict == alone
            found.append(checked.results[0].verdict.reason)
        else:
            told = checked.results[0].refusal
            assert (await refusal(shop.calls.Check(request, timeout=DEADLINE_S)))[1] == told.reason
            found.append(told.reason)
    return found


@pytest.mark.parametrize("seed", range(2))
async def test_many_are_told_what_each_alone_is_told(shop: Shop, seed: int) -> None:
    chance = Random(seed)
    named, fresh = await an_audience(shop, chance)
    request = pb.CheckBatchRequest(purpose="marketing", customers=named, at_least_as_fresh=fresh)
    answer = await shop.calls.CheckBatch(request, timeout=DEADLINE_S)
    told = [one.verdict.reason or one.refusal.reason for one in answer.results]
    assert told == await one_by_one(shop, named)
    batches = list(cut(named, chance))
    *answers, end = [answer async for answer in shop.calls.FilterAudience(sent(batches), timeout=DEADLINE_S)]
    assert [one.sequence for one in answers] == list(range(len(batches)))
    filtered = [reason for one, batch in zip(answers, batches, strict=True) for reason in reasons(one, len(batch))]
    assert filtered == ["" if reason == "CONSENT_GRANTED" else reason for reason in told]
    counts = Counter(filtered)
    assert end.counts.permitted == counts.pop("", 0)
    assert dict(end.counts.excluded) == dict(counts)


def cut(named: Sequence[CustomerRef], chance: Random) -> "list[Sequence[CustomerRef]]":
    found, begin = [], 0
    while begin < len(named):
        end = begin + chance.randrange(1, 7)
        found.append(named[begin:end])
        begin = end
    return found


async def sent(batches: Sequence[Sequence[CustomerRef]], **more: Any) -> AsyncIterator[pb.FilterAudienceRequest]:
    """Only the first one says the purpose."""
    for sequence, batch in enumerate(batches):
        yield pb.FilterAudienceRequest(purpose="" if sequence else "marketing", customers=batch, sequence=sequence, **more)


def reasons(answer: pb.FilterAudienceResponse, size: int) -> list[str]:
    """Of each of a batch; empty of whom is permitted."""
    excluded = {one.index: one.reason for one in answer.excluded}
    assert sorted([*answer.permitted, *excluded]) == list(range(size))
    return [excluded.get(index, "") for index in range(size)]


async def two_purposes() -> AsyncIterator[pb.FilterAudienceRequest]:
    for purpose in ("marketing", "analytics"):
        yield pb.FilterAudienceRequest(purpose=purpose, customers=[CustomerRef(identifier=an_email())])


async def test_a_batch_that_is_none_is_refused(shop: Shop) -> None:
    one = CustomerRef(identifier=an_email())
    for customers, reason in (([], "BATCH_EMPTY"), ([one] * 1001, "BATCH_TOO_LARGE")):
        request = pb.CheckBatchRequest(purpose="marketing", customers=customers)
        assert await refusal(shop.calls.CheckBatch(request, timeout=DEADLINE_S)) == ("INVALID_ARGUMENT", reason)
        assert await refusal(ended(shop, sent([customers]))) == ("INVALID_ARGUMENT", reason)
    assert await refusal(ended(shop, two_purposes())) == ("INVALID_ARGUMENT", "FILTER_CHANGED")
    unnamed = pb.CheckBatchRequest(customers=[one])
    assert await refusal(shop.calls.CheckBatch(unnamed, timeout=DEADLINE_S)) == ("INVALID_ARGUMENT", "PURPOSE_UNKNOWN")


async def ended(shop: Shop, requests: AsyncIterator[pb.FilterAudienceRequest]) -> None:
    async for _ in shop.calls.FilterAudience(requests, timeout=DEADLINE_S):
        pass
