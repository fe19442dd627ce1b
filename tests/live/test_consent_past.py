"""What consent says of the past: what it said then, and what had been decided by then."""

from random import Random
from uuid import uuid4

import pytest
from c360.common.v1.common_pb2 import CustomerRef, Identifier, Position
from c360.consent.v1 import consent_pb2 as pb
from c360.consent.v1 import evidence_pb2 as evidence
from c360.consent.v1.evidence_pb2_grpc import EvidenceServiceStub
from c360.consent.v1.registry_pb2 import LEGAL_BASIS_CONSENT, LEGAL_BASIS_LEGITIMATE_INTEREST
from google.protobuf.timestamp_pb2 import Timestamp

from shared.events.catalogue import Entry
from shared.instants import SECOND, from_timestamp, now_us, to_timestamp
from tests.live.consent_shop import DEADLINE_S, Shop, an_email, linked, merged, refusal, split, unlinked

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


class Graph:
    """Customers of a purpose that is decided by the person, whom identity links, joins and parts as chance wants."""

    def __init__(self, shop: Shop, purpose: str, seed: int) -> None:
        self.shop = shop
        self.purpose = purpose
        self.chance = Random(seed)
        self.linked: dict[str, tuple[Identifier, str]] = {}  # by value
        self.joined: list[list[Entry]] = []
        self.customers: list[str] = []
        self.position = Position(log="customer")

    async def found(self) -> None:
        one = an_email()
        customer, self.position = await self.shop.founded(one)
        self.linked[one.value] = one, customer
        self.customers.append(customer)
        await self.shop.decide(one, self.purpose, self.chance.choice(OUTCOMES))

    async def change(self) -> None:
        what = self.chance.choice(["move", "share", "merge", "likely", "split", "decide"])
        one, customer = self.chance.choice(list(self.linked.values()))
        if what == "move":
            other = self.chance.choice(self.customers)
            self.position = await self.shop.publish(unlinked(customer, self.shop.hash_of(one)), *self._links(other, one))
            self.linked[one.value] = one, other
        elif what == "share":
            self.position = await self.shop.publish(unlinked(customer, self.shop.hash_of(one), shared=True))
        elif what in ("merge", "likely"):
            self.joined.append(merged(*self.chance.sample(self.customers, 2), likely=what == "likely"))
            self.position = await self.shop.publish(*self.joined[-1])
        elif what == "split" and self.joined:
            self.position = await self.shop.publish(*split(self.joined.pop(self.chance.randrange(len(self.joined)))))
        else:
            await self.shop.decide(one, self.purpose, self.chance.choice(OUTCOMES))

    def _links(self, customer: str, one: Identifier) -> list[Entry]:
        return [linked(customer, self.shop.hash_of(one))]

    async def answers(self, known_at: Timestamp | None = None) -> list[pb.CheckResponse]:
        """About everybody, by every name; `known_at` none: now."""
        asked = [CustomerRef(identifier=one) for one, _ in self.linked.values()]
        asked += [CustomerRef(customer_id=customer) for customer in self.customers]
        fresh = [] if known_at else [self.position]
        request = pb.CheckBatchRequest(purpose=self.purpose, customers=asked, known_at=known_at, at_least_as_fresh=fresh)
        answer = await self.shop.calls.CheckBatch(request, timeout=DEADLINE_S)
        for one in answer.results:
            one.verdict.ClearField("valid_until_time")
        return [one.verdict for one in answer.results]


@pytest.mark.parametrize("seed", range(3))
async def test_who_was_one_with_whom_is_of_the_past_too(shop: Shop, seed: int) -> None:
    graph = Graph(shop, await shop.personal_purpose(), seed)
    for _ in range(4):
        await graph.found()
    answered = []
    for _ in range(25):
        await graph.change()
        answers = await graph.answers()
        answered.append((to_timestamp(now_us()), answers))
    assert len({str(answers) for _, answers in answered}) > 5, "it made a difference"
    for known_at, answers in answered:
        assert await graph.answers(known_at) == answers


async def test_a_merge_is_told_as_what_made_the_difference(shop: Shop) -> None:
    anna, bernd, name = an_email(), an_email(), await shop.personal_purpose()
    (one, _), (other, _) = await shop.founded(anna), await shop.founded(bernd)
    await shop.decide(bernd, name, pb.OUTCOME_GRANTED)
    before = to_timestamp(now_us())
    position = await shop.publish(*merged(one, other))
    request = evidence.DiffCheckRequest(
        purpose=name, customer=CustomerRef(identifier=anna), from_known_at=before, at_least_as_fresh=[position]
    )
    found = await EvidenceServiceStub(shop.channel).DiffCheck(request, timeout=DEADLINE_S)
    assert (found.before.reason, found.after.reason) == ("CONSENT_MISSING", "CONSENT_GRANTED")
    [came] = [change for change in found.changes if change.what == "identifier"]
    assert (came.identifier_hash, came.before, came.after) == (shop.hash_of(bernd).hex(), "", "THEIRS")
