"""A decision is answered when no reader can serve without it: leases over real NATS, readers that apply the real stream."""

import asyncio
import os
import signal
import time
from functools import partial

from c360.common.v1.common_pb2 import Identifier
from c360.consent.v1 import consent_pb2 as pb

from shared.bus.enforcement import BEHIND, LEASE_S, PATIENCE_S, SAFETY_S, SUBJECT, Renewal, encode
from tests.live.consent_shop import Reader, Shop, an_email, refusal_in_time, until

GRANTED, WITHDRAWN = pb.OUTCOME_GRANTED, pb.OUTCOME_WITHDRAWN
MARGIN_S = 10.0  # for what isn't waiting: that it ends is what is tested


async def test_a_decision_is_answered_when_a_reader_has_applied_it(shop: Shop) -> None:
    async with Reader(shop.client, "prompt") as reader:
        answer = await shop.decide(an_email(), "marketing", GRANTED)
        assert reader.lease.holds()
        assert reader.applied >= answer.position.number
        assert answer.enforcing_readers == 1


async def test_a_withdrawal_waits_for_a_reader_that_has_not_applied_it(shop: Shop) -> None:
    anna = an_email()
    async with Reader(shop.client, "slow") as reader:
        reader.applying.clear()
        withdrawal = asyncio.create_task(shop.decide(anna, "marketing", WITHDRAWN))
        await until(lambda: _is_recorded(shop, anna))
        assert reader.lease.holds()
        assert not withdrawal.done()
        reader.applying.set()
        answer = await withdrawal
        assert (reader.applied >= answer.position.number, answer.enforcing_readers) == (True, 1)


async def _is_recorded(shop: Shop, identifier: Identifier) -> bool:
    return bool(await shop.decisions(identifier))


async def test_a_reader_that_falls_silent_delays_an_answer_until_its_lease_has_run_out(shop: Shop) -> None:
    async with Reader(shop.client, "silent") as reader:
        await reader.fall_silent()
        started = time.monotonic()
        answer = await shop.decide(an_email(), "marketing", WITHDRAWN)
        assert not reader.lease.holds()
        assert time.monotonic() - started <= LEASE_S + SAFETY_S + MARGIN_S
        assert answer.enforcing_readers == 0


async def test_a_reader_that_renews_but_applies_nothing_loses_its_lease_too(shop: Shop) -> None:
    async with Reader(shop.client, "stuck") as reader:
        reader.applying.clear()
        started = time.monotonic()
        await shop.decide(an_email(), "marketing", WITHDRAWN)
        assert not reader.lease.holds()
        assert time.monotonic() - started <= PATIENCE_S + LEASE_S + SAFETY_S + MARGIN_S


async def test_when_time_runs_out_the_decision_is_recorded_and_the_same_request_waits_again(shop: Shop) -> None:
    anna = an_email()
    async with Reader(shop.client, "late") as reader:
        reader.applying.clear()
        hurried = partial(shop.decide, anna, "marketing", WITHDRAWN, request_id="hurried")
        assert await refusal_in_time(hurried) == ("DEADLINE_EXCEEDED", "NOT_YET_ENFORCED")
        [recorded] = await shop.decisions(anna)
        reader.applying.set()
        answer = await shop.decide(anna, "marketing", WITHDRAWN, request_id="hurried")
        assert answer.decision_id == recorded.decision_id
        assert reader.applied >= answer.position.number


async def test_a_reader_gets_no_lease_before_it_has_applied_what_was_answered(shop: Shop) -> None:
    answered = (await shop.decide(an_email(), "marketing", WITHDRAWN)).position.number
    for applied, granted in ((answered - 1, False), (answered, True)):
        reply = await shop.client.request(SUBJECT, encode(Renewal("newcomer", applied)), timeout=5)
        assert (reply.data != BEHIND) == granted
    await shop.client.publish(SUBJECT, encode(Renewal("newcomer", answered, leaving=True)))


async def test_after_a_restart_no_reader_gets_a_lease_without_what_was_answered_before(shop: Shop) -> None:
    answered = (await shop.decide(an_email(), "marketing", WITHDRAWN)).position.number
    shop.stack.kill("consent")
    shop.stack.wait_ready("consent")
    reply = await shop.client.request(SUBJECT, encode(Renewal("newcomer", answered - 1)), timeout=5)
    assert reply.data == BEHIND


async def test_a_service_that_is_stopped_answers_the_decision_under_way_first(shop: Shop) -> None:
    anna = an_email()
    async with Reader(shop.client, "last") as reader:
        reader.applying.clear()
        withdrawal = asyncio.create_task(shop.decide(anna, "marketing", WITHDRAWN))
        await until(lambda: _is_recorded(shop, anna))
        process = shop.stack.pid("consent")
        assert process is not None
        os.kill(process, signal.SIGTERM)
        await until(lambda: _refuses_calls(shop))
        reader.applying.set()
        assert (await withdrawal).enforcing_readers == 1
    shop.stack.wait_ready("consent")


async def _refuses_calls(shop: Shop) -> bool:
    return not await asyncio.to_thread(shop.stack.is_ready, "consent")
