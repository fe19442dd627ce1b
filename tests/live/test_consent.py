"""Consent through its real wiring: gRPC in front, NATS and PostgreSQL behind."""

import asyncio
import time
from functools import partial
from typing import Any
from uuid import uuid4

import grpc
import pytest
from c360.common.v1.common_pb2 import CustomerRef, Identifier, Position
from c360.consent.v1 import consent_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp

from shared import bus
from shared.events.consent import DECISION_RECORDED
from shared.events.wire import CONSENT_STREAM, decode_unit
from shared.instants import now_us
from shared.log import LogWriter
from shared.store.pool import open_pool
from tests.live.consent_shop import DEADLINE_S, Shop, an_email, an_unknown_entry, merged, refusal, refusal_in_time

GRANTED, REFUSED, WITHDRAWN = pb.OUTCOME_GRANTED, pb.OUTCOME_REFUSED, pb.OUTCOME_WITHDRAWN
RETRYABLE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


async def test_a_withdrawal_holds_from_the_next_read_on(shop: Shop) -> None:
    anna = an_email()
    assert (await shop.check("marketing", identifier=anna)).reason == "CONSENT_MISSING"
    granted = await shop.decide(anna, "marketing", GRANTED)
    permitted = await shop.check("marketing", identifier=anna)
    withdrawn = await shop.decide(anna, "marketing", WITHDRAWN)
    denied = await shop.check("marketing", withdrawn.position, identifier=anna)
    assert (permitted.permitted, permitted.decision_id) == (True, granted.decision_id)
    assert (denied.permitted, denied.reason, denied.decision_id) == (False, "CONSENT_WITHDRAWN", withdrawn.decision_id)
    assert (await shop.check("service", identifier=anna)).reason == "CONTRACT"


async def test_an_identifier_is_the_same_however_it_is_written(shop: Shop) -> None:
    anna = an_email()
    await shop.decide(Identifier(namespace="email", value=f"  {anna.value.upper()} "), "marketing", GRANTED)
    assert (await shop.check("marketing", identifier=anna)).permitted


async def test_decisions_are_listed_as_they_were_recorded(shop: Shop) -> None:
    anna, earlier = an_email(), Timestamp(seconds=1_600_000_000)
    first = await shop.decide(anna, "marketing", REFUSED, method="web-form")
    second = await shop.decide(anna, "analytics", pb.OUTCOME_OBJECTED, decide_time=earlier, method="call-centre")
    listed = await shop.decisions(anna)
    assert [decision.decision_id for decision in listed] == [first.decision_id, second.decision_id]
    assert [(it.purpose, it.purpose_version, it.outcome, it.method) for it in listed] == [
        ("marketing", 1, REFUSED, "web-form"),
        ("analytics", 1, pb.OUTCOME_OBJECTED, "call-centre"),
    ]
    assert listed[1].decide_time == earlier
    assert listed[1].record_time.seconds >= listed[0].record_time.seconds > earlier.seconds
    assert await shop.decisions(an_email()) == []


async def test_a_late_grant_does_not_overrule_a_withdrawal_that_happened_after_it(shop: Shop) -> None:
    anna = an_email()
    await shop.decide(anna, "marketing", WITHDRAWN)
    await shop.decide(anna, "marketing", GRANTED, decide_time=Timestamp(seconds=1_600_000_000))
    assert (await shop.check("marketing", identifier=anna)).reason == "CONSENT_WITHDRAWN"


async def test_a_decision_repeated_is_recorded_once(shop: Shop) -> None:
    anna, request_id = an_email(), str(uuid4())
    first = await shop.decide(anna, "marketing", GRANTED, request_id=request_id)
    again = await shop.decide(anna, "marketing", GRANTED, request_id=request_id)
    assert (again.decision_id, again.position) == (first.decision_id, first.position)
    assert len(await shop.decisions(anna)) == 1
    other = shop.decide(anna, "marketing", WITHDRAWN, request_id=request_id)
    assert await refusal(other) == ("ABORTED", "REQUEST_ID_REUSED")


async def test_what_one_identifier_decided_holds_for_the_customer(shop: Shop) -> None:
    anna, phone = an_email(), Identifier(namespace="phone", value=f"+4930{uuid4().int % 10**8:08}")
    purpose = await shop.personal_purpose()
    for one in (purpose, "marketing"):
        await shop.decide(anna, one, GRANTED)
    customer, founded = await shop.founded(anna, phone)
    assert (await shop.check(purpose, founded, customer_id=customer)).permitted
    assert (await shop.check(purpose, identifier=phone)).permitted
    other = an_email()
    _, linked = await shop.founded(other, to=customer)
    assert (await shop.check(purpose, linked, identifier=other)).state == "GRANTED"
    assert (await shop.check("marketing", identifier=other)).state == "UNKNOWN", "of e-mail each address decides for itself"
    assert (await shop.check("marketing", customer_id=customer)).permitted


async def test_a_merge_joins_decisions_over_any_number_of_customers(shop: Shop) -> None:
    one, two, three = an_email(), an_email(), an_email()
    (a, _), (b, _), (c, founded) = [await shop.founded(identifier) for identifier in (one, two, three)]
    purpose = await shop.personal_purpose()
    await shop.decide(one, purpose, GRANTED)
    assert not (await shop.check(purpose, founded, customer_id=c)).permitted
    await shop.publish(*merged(a, b))
    joined = await shop.publish(an_unknown_entry(a), *merged(b, c), ingested=41)
    for customer in (a, b, c):
        assert (await shop.check(purpose, joined, customer_id=customer)).permitted
    await shop.decide(three, purpose, WITHDRAWN)
    verdicts = [await shop.check(purpose, customer_id=customer) for customer in (a, b, c)]
    assert {verdict.reason for verdict in verdicts} == {"CONSENT_WITHDRAWN"}
    assert [it.outcome for it in await shop.decisions(one)] == [GRANTED]  # a decision never moves


async def test_whoever_has_no_identifier_any_more_joins_others_all_the_same(shop: Shop) -> None:
    """Who is certainly one person doesn't depend on whether those between them are known by anything."""
    anna, work = an_email(), an_email()
    ids = [(await shop.founded(*theirs))[0] for theirs in ([anna], [], [work])]
    fresh = await shop.publish(*merged(ids[0], ids[1]), *merged(ids[1], ids[2]))
    purpose = await shop.personal_purpose()
    granted = await shop.decide(work, purpose, GRANTED)
    assert (await shop.check(purpose, fresh, customer_id=ids[0])).decision_id == granted.decision_id
    assert (await shop.check(purpose, identifier=anna)).permitted


async def test_no_grant_crosses_what_is_only_likely_and_an_objection_does(shop: Shop) -> None:
    one, two, three, purpose = an_email(), an_email(), an_email(), await shop.personal_purpose()
    (a, _), (b, _), (c, _) = [await shop.founded(identifier) for identifier in (one, two, three)]
    await shop.publish(*merged(a, b))
    joined = await shop.publish(*merged(b, c, likely=True))
    await shop.decide(one, purpose, GRANTED)

    async def states() -> list[str]:
        by_id = [(await shop.check(purpose, joined, customer_id=customer)).state for customer in (a, b, c)]
        assert [(await shop.check(purpose, identifier=identifier)).state for identifier in (one, two, three)] == by_id
        return by_id

    assert await states() == ["GRANTED", "GRANTED", "UNKNOWN"]
    await shop.decide(three, purpose, GRANTED)
    assert await states() == ["GRANTED"] * 3
    await shop.decide(three, purpose, WITHDRAWN)
    assert await states() == ["CONFLICT", "CONFLICT", "WITHDRAWN"]
    await shop.decide(two, purpose, GRANTED)
    assert await states() == ["GRANTED", "GRANTED", "WITHDRAWN"]
    await shop.decide(three, purpose, pb.OUTCOME_OPTED_OUT)
    assert await states() == ["OPTED_OUT"] * 3


async def test_a_check_waits_for_the_positions_that_it_carries(shop: Shop) -> None:
    anna = an_email()
    customer, founded = await shop.founded(anna)
    ingested = int(time.time() * 1e6)
    await shop.publish(ingested=ingested)
    answer = await shop.check("service", founded, Position(log="ingest", number=ingested), customer_id=customer)
    assert answer.permitted
    for log in ("ingest", "customer", "consent"):
        late = pb.CheckRequest(
            purpose="service", customer=CustomerRef(identifier=anna), at_least_as_fresh=[Position(log=log, number=2**62)]
        )
        assert await refusal_in_time(partial(shop.calls.Check, late)) == ("UNAVAILABLE", "NOT_FRESH_ENOUGH")


ANNA = Identifier(namespace="email", value="anna@example.com")
A_DECISION: dict[str, Any] = {"request_id": "bad-1", "identifier": ANNA, "purpose": "marketing", "outcome": GRANTED}
FUTURE = Timestamp(seconds=int(time.time()) + 3600)


def decision(**changes: Any) -> pb.RecordDecisionRequest:
    return pb.RecordDecisionRequest(**(A_DECISION | changes))


BAD_INPUT = [
    ("RecordDecision", decision(request_id=""), "REQUEST_ID_MISSING"),
    ("RecordDecision", decision(request_id="x" * 101), "REQUEST_ID_INVALID"),
    ("RecordDecision", decision(purpose=""), "PURPOSE_UNKNOWN"),
    ("RecordDecision", decision(purpose="nobody_defined_this"), "PURPOSE_UNKNOWN"),
    ("RecordDecision", decision(purpose="a\0b"), "PURPOSE_UNKNOWN"),
    ("RecordDecision", decision(identifier=None), "IDENTIFIER_INVALID"),
    ("RecordDecision", decision(identifier=Identifier(namespace="email", value="anna")), "IDENTIFIER_INVALID"),
    ("RecordDecision", decision(identifier=Identifier(namespace="phone", value="12")), "IDENTIFIER_INVALID"),
    ("RecordDecision", decision(outcome=pb.OUTCOME_UNSPECIFIED), "OUTCOME_MISSING"),
    ("RecordDecision", decision(outcome=99), "OUTCOME_MISSING"),
    ("RecordDecision", decision(method="x" * 65), "METHOD_INVALID"),
    ("RecordDecision", decision(proof_sha256="no hash"), "PROOF_INVALID"),
    ("RecordDecision", decision(proof_sha256="00"), "PROOF_INVALID"),
    ("RecordDecision", decision(decide_time=FUTURE), "INSTANT_IN_FUTURE"),
    ("RecordDecision", decision(decide_time=Timestamp(seconds=2**62)), "INSTANT_IN_FUTURE"),
    ("RecordDecision", decision(decide_time=Timestamp(seconds=-(2**62))), "INSTANT_INVALID"),
    ("Check", pb.CheckRequest(purpose="nobody_defined_this", customer=CustomerRef(identifier=ANNA)), "PURPOSE_UNKNOWN"),
    ("Check", pb.CheckRequest(purpose="", customer=CustomerRef(identifier=ANNA)), "PURPOSE_UNKNOWN"),
    ("Check", pb.CheckRequest(purpose="service"), "CUSTOMER_MISSING"),
    ("Check", pb.CheckRequest(purpose="service", customer=CustomerRef(customer_id="anna")), "CUSTOMER_ID_INVALID"),
    (
        "Check",
        pb.CheckRequest(purpose="service", customer=CustomerRef(identifier=Identifier(namespace="email"))),
        "IDENTIFIER_INVALID",
    ),
    ("Check", pb.CheckRequest(purpose="service", at_least_as_fresh=[Position(log="x")]), "POSITION_INVALID"),
    ("ListDecisions", pb.ListDecisionsRequest(), "IDENTIFIER_INVALID"),
]


@pytest.mark.parametrize(("method", "request_", "reason"), BAD_INPUT)
async def test_bad_input_is_refused_with_its_reason(shop: Shop, method: str, request_: Any, reason: str) -> None:
    assert await refusal(getattr(shop.calls, method)(request_, timeout=DEADLINE_S)) == ("INVALID_ARGUMENT", reason)


async def test_an_unknown_customer_is_not_found(shop: Shop) -> None:
    assert await refusal(shop.check("service", customer_id=str(uuid4()))) == ("NOT_FOUND", "CUSTOMER_UNKNOWN")


async def published(shop: Shop, position: Position) -> list[bus.Message]:
    """The stream from its beginning, as soon as it includes this position."""
    follower = bus.Follower(shop.client, CONSENT_STREAM, 0)
    messages: list[bus.Message] = []
    async with asyncio.timeout(DEADLINE_S):
        while not messages or messages[-1].sequence <= position.number:
            messages += await follower.take()
    await follower.close()
    return messages


async def test_what_is_published_is_the_log_and_names_nobody(shop: Shop) -> None:
    anna = an_email()
    recorded = await shop.decide(anna, "marketing", GRANTED)
    messages = await published(shop, recorded.position)
    units = [decode_unit(message.data) for message in messages]
    assert [unit.number for unit in units] == list(range(len(units)))
    [entry] = units[recorded.position.number].entries
    assert (entry.type_id, entry.public().identifier_hash) == (DECISION_RECORDED.id, shop.hash_of(anna))
    assert not any(anna.value.encode() in message.data for message in messages)
    assert anna.value not in (shop.stack.data_directory / "logs" / "consent.log").read_text()


async def answered(shop: Shop, anna: Identifier, request_id: str) -> pb.RecordDecisionResponse:
    """Tries until it is answered, as a caller does while servers come back."""
    async with asyncio.timeout(2 * DEADLINE_S):
        while True:
            try:
                return await shop.decide(anna, "marketing", WITHDRAWN, request_id=request_id, timeout=5)
            except grpc.aio.AioRpcError as error:
                if error.code() not in RETRYABLE:
                    raise


@pytest.mark.parametrize("killed", ["consent", "postgres", "nats"])
async def test_whatever_is_killed_nothing_is_lost_or_doubled(shop: Shop, killed: str) -> None:
    anna, bernd = an_email(), an_email()
    customer, founded = await shop.founded(anna, bernd)
    before = await shop.decide(anna, "marketing", GRANTED)
    assert (await shop.check("marketing", founded, before.position, customer_id=customer)).permitted
    request_id = str(uuid4())
    shop.stack.kill(killed)
    withdrawn = await answered(shop, bernd, request_id)
    again = await answered(shop, bernd, request_id)
    shop.stack.wait_ready("postgres", "nats", "consent")
    assert (again.decision_id, again.position) == (withdrawn.decision_id, withdrawn.position)
    assert [it.decision_id for it in await shop.decisions(bernd)] == [withdrawn.decision_id]
    assert [it.decision_id for it in await shop.decisions(anna)] == [before.decision_id]
    verdict = await shop.check("marketing", withdrawn.position, identifier=bernd)
    assert verdict.reason == "CONSENT_WITHDRAWN"
    messages = await published(shop, withdrawn.position)
    assert [message.sequence for message in messages] == [decode_unit(message.data).number + 1 for message in messages]


async def test_customers_made_known_after_a_restart_are_known(shop: Shop) -> None:
    shop.stack.kill("consent")
    anna = an_email()
    customer, founded = await shop.founded(anna)
    shop.stack.wait_ready("consent")
    assert (await shop.check("service", founded, customer_id=customer)).permitted


async def test_a_process_that_another_one_has_fenced_takes_the_log_over_again(shop: Shop) -> None:
    anna, request_id = an_email(), str(uuid4())
    pool = await open_pool(shop.stack.environment_of("consent")["C360_DATABASE_URL"], "consent")
    await LogWriter(pool, [0], now_us).claim()
    await pool.close()
    assert await refusal(shop.decide(anna, "marketing", WITHDRAWN, request_id=request_id)) == ("UNAVAILABLE", "FENCED")
    await shop.decide(anna, "marketing", WITHDRAWN, request_id=request_id)
    assert len(await shop.decisions(anna)) == 1
