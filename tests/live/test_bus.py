"""The bus on a real NATS: relays and followers survive kills, lost streams and second publishers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

import nats.js.errors
import pytest
from nats.aio.client import Client

from services.stack.stack import Stack
from shared import bus
from shared.bus import Follower, Relay, publish_at
from shared.bus.connection import ensure_stream

TIMEOUT_S = 30.0


class Outbox:
    """Numbered messages, as a log would give them."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.oldest = 0

    def add(self, count: int) -> None:
        self.messages += [b"message %d" % n for n in range(len(self.messages), len(self.messages) + count)]

    async def read(self, first: int, limit: int) -> list[tuple[int, bytes]]:
        first = max(first, self.oldest)
        return list(enumerate(self.messages[first : first + limit], first))


@pytest.fixture
async def client(servers: Stack) -> AsyncIterator[Client]:
    client = await bus.connect(servers.endpoints.nats, "test")
    yield client
    await client.close()


@pytest.fixture
async def stream(client: Client) -> AsyncIterator[str]:
    name = f"TEST-{uuid4().hex[:8]}"
    yield name
    with suppress(nats.js.errors.APIError):
        await client.jetstream().delete_stream(name)


@asynccontextmanager
async def running(*work: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(w()) for w in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def read_until(follower: Follower, sequence: int) -> list[tuple[int, bytes]]:
    async with asyncio.timeout(TIMEOUT_S):
        read: list[tuple[int, bytes]] = []
        while not read or read[-1][0] < sequence:
            read += [(m.sequence, m.data) for m in await follower.take()]
    return read


def expected(outbox: Outbox, first: int = 0) -> list[tuple[int, bytes]]:
    return [(number + 1, data) for number, data in enumerate(outbox.messages)][first:]


async def test_the_sequence_of_a_message_is_its_number_plus_one(client: Client, stream: str) -> None:
    outbox = Outbox()
    outbox.add(450)
    relay = Relay(client, stream, outbox.read)
    async with running(relay.run):
        assert await read_until(Follower(client, stream, 0), 450) == expected(outbox)
        outbox.add(1)
        relay.tell()
        assert await read_until(Follower(client, stream, 450), 451) == expected(outbox, 450)


async def test_a_message_can_not_be_published_twice_or_out_of_order(client: Client, stream: str) -> None:
    await ensure_stream(client, stream, 1)
    await publish_at(client, stream, 0, b"first")
    for number in (0, 2):
        with pytest.raises(nats.js.errors.BadRequestError):
            await publish_at(client, stream, number, b"again, or too early")


async def test_two_relays_of_one_outbox_publish_everything_once(client: Client, stream: str) -> None:
    outbox = Outbox()
    outbox.add(300)
    relays = [Relay(client, stream, outbox.read) for _ in range(2)]
    async with running(*(relay.run for relay in relays)):
        assert await read_until(Follower(client, stream, 0), 300) == expected(outbox)


async def test_a_lost_stream_is_filled_again_and_a_follower_goes_on(client: Client, stream: str) -> None:
    outbox = Outbox()
    outbox.add(10)
    relay = Relay(client, stream, outbox.read)
    follower = Follower(client, stream, 0)
    async with running(relay.run):
        await read_until(follower, 10)
        await client.jetstream().delete_stream(stream)
        outbox.add(10)
        relay.tell()
        assert await read_until(follower, 20) == expected(outbox, 10)
        assert await read_until(Follower(client, stream, 0), 20) == expected(outbox)


async def test_a_stream_made_anew_after_trimming_keeps_its_numbers(client: Client, stream: str) -> None:
    outbox = Outbox()
    outbox.add(20)
    outbox.oldest = 15
    async with running(Relay(client, stream, outbox.read).run):
        assert await read_until(Follower(client, stream, 3), 20) == expected(outbox, 15)


async def test_relay_and_follower_go_on_when_the_broker_is_killed(servers: Stack, client: Client, stream: str) -> None:
    outbox = Outbox()
    relay = Relay(client, stream, outbox.read)
    follower = Follower(client, stream, 0)

    async def add_slowly() -> None:
        for _ in range(60):
            outbox.add(5)
            relay.tell()
            await asyncio.sleep(0.01)

    async with running(relay.run):
        adding = asyncio.create_task(add_slowly())
        first = await read_until(follower, 20)
        await asyncio.to_thread(servers.kill, "nats")
        await adding
        assert first + await read_until(follower, 300) == expected(outbox)
