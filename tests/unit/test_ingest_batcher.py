"""Group commit: order, bounds, and what callers learn when the broker is away."""

import asyncio

import pytest

from services.ingest.batcher import BUFFERED_EVENTS, MESSAGE_BYTES, Batcher
from shared.errors import LimitExceeded, Unavailable


class Broker:
    """Keeps messages; holds them up while it is closed, and refuses them while it is down."""

    def __init__(self) -> None:
        self.messages: list[list[bytes]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.down = False

    async def publish(self, events: list[bytes]) -> int:
        await self.open.wait()
        if self.down:
            raise Unavailable("down", reason="BROKER_DOWN")
        self.messages.append(events)
        return len(self.messages)

    @property
    def events(self) -> list[bytes]:
        return [event for message in self.messages for event in message]


async def test_what_comes_while_a_message_is_on_its_way_becomes_one_message_in_order() -> None:
    broker = Broker()
    broker.open.clear()
    batcher = Batcher(broker.publish)
    running = asyncio.create_task(batcher.run())
    requests = [asyncio.create_task(batcher.submit([b"%d" % n])) for n in range(100)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    broker.open.set()
    numbers = await asyncio.gather(*requests)
    assert broker.events == [b"%d" % n for n in range(100)]
    assert numbers == sorted(numbers)
    assert len(broker.messages) <= 2
    batcher.close()
    await running


async def test_a_request_larger_than_a_message_is_split_and_answered_with_its_last_place() -> None:
    broker = Broker()
    batcher = Batcher(broker.publish)
    running = asyncio.create_task(batcher.run())
    events = [bytes([n]) * 90_000 for n in range(30)]
    assert await batcher.submit(events) == len(broker.messages) > 1
    assert broker.events == events
    assert max(sum(map(len, message)) for message in broker.messages) <= MESSAGE_BYTES
    batcher.close()
    await running


async def test_a_full_buffer_refuses_and_has_room_again_when_it_has_drained() -> None:
    broker = Broker()
    broker.open.clear()
    batcher = Batcher(broker.publish)
    running = asyncio.create_task(batcher.run())
    waiting = asyncio.create_task(batcher.submit([b"x"] * BUFFERED_EVENTS))
    await asyncio.sleep(0)
    with pytest.raises(LimitExceeded) as refused:
        await batcher.submit([b"one more"])
    assert refused.value.reason == "OVERLOADED"
    broker.open.set()
    await waiting
    assert await batcher.submit([b"one more"]) == len(broker.messages)
    batcher.close()
    await running


async def test_when_the_broker_is_given_up_all_who_wait_are_told_and_later_ones_are_served() -> None:
    broker = Broker()
    broker.down = True
    broker.open.clear()
    batcher = Batcher(broker.publish)
    running = asyncio.create_task(batcher.run())
    requests = [asyncio.create_task(batcher.submit([b"%d" % n])) for n in range(10)]
    await asyncio.sleep(0)
    broker.open.set()
    refused = await asyncio.gather(*requests, return_exceptions=True)
    assert {type(error) for error in refused} == {Unavailable}
    broker.down = False
    assert await batcher.submit([b"later"]) == 1
    batcher.close()
    await running


async def test_closing_publishes_what_waits_and_takes_nothing_more() -> None:
    broker = Broker()
    broker.open.clear()
    batcher = Batcher(broker.publish)
    running = asyncio.create_task(batcher.run())
    requests = [asyncio.create_task(batcher.submit([b"%d" % n])) for n in range(10)]
    await asyncio.sleep(0)
    batcher.close()
    with pytest.raises(Unavailable):
        await batcher.submit([b"too late"])
    broker.open.set()
    await running
    await asyncio.gather(*requests)
    assert len(broker.events) == 10


async def test_a_caller_that_leaves_disturbs_nobody() -> None:
    broker = Broker()
    broker.open.clear()
    batcher = Batcher(broker.publish)
    running = asyncio.create_task(batcher.run())
    first, leaver, last = (asyncio.create_task(batcher.submit([name])) for name in (b"first", b"leaver", b"last"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    leaver.cancel()
    broker.open.set()
    assert await first <= await last
    assert {b"first", b"last"} <= set(broker.events)
    batcher.close()
    await running
