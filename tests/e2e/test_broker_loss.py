"""JetStream is transport: when its store is lost after everything was taken, the logs fill it again and all goes on."""

import random
import shutil
from pathlib import Path

import nats

from services.stack.stack import Stack
from shared.events.wire import CONSENT_STREAM, CUSTOMER_STREAM
from tests.e2e import tally
from tests.e2e.client import Platform
from tests.e2e.faults import lose_broker_store
from tests.e2e.test_kill import wait_for_progress
from tests.e2e.turmoil import turmoil


def test_the_store_is_lost_while_everything_runs(own_stack: Stack) -> None:
    with turmoil(own_stack, random.Random(8), people=10) as running:
        wait_for_progress(running)
        with running.drained():
            lose_broker_store(own_stack)
        wait_for_progress(running)
        result = running.finish()
    assert result.problems == []
    assert result.visible == result.sent == result.acknowledged
    assert (result.lost, result.doubled) == (0, 0)


async def test_the_store_is_lost_while_everything_is_stopped(directory: Path) -> None:
    with Stack(directory) as stack, turmoil(stack, random.Random(9), people=10) as first:
        wait_for_progress(first)
        before = first.finish()
    shutil.rmtree(directory / "nats")
    with Stack(directory, disposable=True) as stack:
        with turmoil(stack, random.Random(10), people=10) as second:
            wait_for_progress(second)
            after = second.finish()
        with Platform(stack.endpoints) as platform:
            again = tally.count(platform, tally.merged(sender.ledger for sender in first.senders))
        assert await first_and_last(stack, CUSTOMER_STREAM) == (1, tally.scalar(stack, "SELECT count(*) FROM identity.outbox"))
        assert (await first_and_last(stack, CONSENT_STREAM))[0] == 1
    assert before.problems == after.problems == again.problems == []
    assert after.visible == after.sent == after.acknowledged
    assert (again.visible, again.lost, again.doubled) == (before.visible, 0, 0)


async def first_and_last(stack: Stack, stream: str) -> tuple[int, int]:
    client = await nats.connect(stack.broker_url)
    state = (await client.jetstream().stream_info(stream)).state
    await client.close()
    return state.first_seq, state.last_seq
