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
from shared.bus import follower as follower_module
from shared.bus import relay as relay_module
from shared.bus.connection import ensure_stream
from shared.poison import Halted
from shared.waiting import end

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
    client = await bus.connect(servers.broker_url, "test")
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
        await end(tasks)


async def read_until(follower: Follower, sequence: int) -> list[tuple[int, bytes]]:
    async with asyncio.timeout(TIMEOUT_S):
        read: list[tuple[int, bytes]] = []
        while not read or read[-1][0] < sequence:
            read += [(m.sequence, m.data) for m in await follower.take()]
    return read


async def test_of_large_messages_fewer_are_asked_for_ahead(client: Client, stream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that is far behind must not have as much in memory as the broker has on its disk."""
    monkeypatch.setattr(follower_module, "WINDOW_BYTES", 100_000)
    outbox = Outbox()
    outbox.messages = [bytes(40_000 if number % 3 else 10) for number in range(150)]
    relay = Relay(client, stream, outbox.read)
    async with running(relay.run):
        await read_until(Follower(client, stream, 149), 150)
        slow, read, most = Follower(client, stream, 0), list[tuple[int, bytes]](), 0
        async with asyncio.timeout(TIMEOUT_S):
            while len(read) < 150:
                read += [(m.sequence, m.data) for m in await slow.take(1)]
                await client.flush()  # all that was asked for is here
                most = max(most, sum(len(message.data) for message in slow._waiting))
        assert read == expected(outbox)
        assert 40_000 < most <= 300_000, "twice what is asked for at once, and what was waiting"


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


async def test_an_idle_relay_fills_a_lost_stream_from_its_beginning(
    client: Client, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "WAIT_S", 0.1)
    outbox = Outbox()
    outbox.add(10)
    async with running(Relay(client, stream, outbox.read).run):
        await read_until(Follower(client, stream, 0), 10)
        await client.jetstream().delete_stream(stream)
        assert await read_until(Follower(client, stream, 0), 10) == expected(outbox)


async def test_a_stream_that_lost_its_end_gets_it_again(client: Client, stream: str) -> None:
    outbox = Outbox()
    outbox.add(10)
    follower = Follower(client, stream, 0)
    async with running(Relay(client, stream, outbox.read).run):
        await read_until(follower, 10)
    await client.jetstream().delete_stream(stream)
    await ensure_stream(client, stream, 1)
    for number, message in enumerate(outbox.messages[:4]):
        await publish_at(client, stream, number, message)
    outbox.add(2)
    async with running(Relay(client, stream, outbox.read).run):
        assert await read_until(follower, 12) == expected(outbox, 10)
        assert await read_until(Follower(client, stream, 0), 12) == expected(outbox)


async def test_a_stream_that_knows_more_than_its_log_halts_the_relay(client: Client, stream: str) -> None:
    outbox = Outbox()
    outbox.add(10)
    async with running(Relay(client, stream, outbox.read).run):
        await read_until(Follower(client, stream, 0), 10)
    restored = Outbox()
    restored.add(6)
    with pytest.raises(Halted) as halted:
        await Relay(client, stream, restored.read).run()
    assert halted.value.reason == "STREAM_AHEAD"


async def test_a_stream_made_anew_after_trimming_keeps_its_numbers(client: Client, stream: str) -> None:
    outbox = Outbox()
    outbox.add(20)
    outbox.oldest = 15
    async with running(Relay(client, stream, outbox.read).run):
        assert await read_until(Follower(client, stream, 15), 20) == expected(outbox, 15)


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


async def test_messages_gone_from_a_stream_are_never_skipped_but_filled_in_again(client: Client, stream: str) -> None:
    """Whatever is gone, at the front or in the middle, by age or by hand."""
    outbox = Outbox()
    outbox.add(20)
    async with running(Relay(client, stream, outbox.read).run):
        await read_until(Follower(client, stream, 0), 20)
        await client.jetstream().delete_msg(stream, 7)
        assert await read_until(Follower(client, stream, 5), 20) == expected(outbox, 5)
        await client.jetstream().purge_stream(stream, seq=12)
        assert await read_until(Follower(client, stream, 0), 20) == expected(outbox)


async def test_a_follower_that_was_behind_when_the_stream_was_remade_gets_all_of_it_without_further_news(
    client: Client, stream: str
) -> None:
    outbox = Outbox()
    outbox.add(20)
    async with running(Relay(client, stream, outbox.read).run):
        await read_until(Follower(client, stream, 0), 20)
        await client.jetstream().delete_stream(stream)
        await ensure_stream(client, stream, 21)
        assert await read_until(Follower(client, stream, 12), 20) == expected(outbox, 12)


async def test_what_was_under_way_when_the_connection_was_cut_is_delivered_again(servers: Stack, stream: str) -> None:
    outbox = Outbox()
    direct = await bus.connect(servers.broker_url, "direct")
    async with Cable(servers.broker_url) as cable, running(Relay(direct, stream, outbox.read).run):
        outbox.add(5)
        client = await bus.connect(cable.url, "through the cable")
        follower = Follower(client, stream, 0)
        assert await read_until(follower, 5) == expected(outbox)
        await cable.cut_while(lambda: outbox.add(5), direct, stream, outbox)
        outbox.add(5)
        assert await read_until(follower, 15) == expected(outbox, 5)
        await client.close()
    await direct.close()


async def test_what_is_taken_at_once_is_bounded_in_bytes(client: Client, stream: str) -> None:
    outbox = Outbox()
    outbox.messages = [bytes(600 * 1024)] * 6
    async with running(Relay(client, stream, outbox.read).run):
        await read_until(Follower(client, stream, 0), 6)
        follower = Follower(client, stream, 0)
        sizes: list[int] = []
        while sum(sizes) < 6:
            sizes.append(len(await follower.take(limit_bytes=1024 * 1024)))
        assert sizes == [1] * 6


class Cable:
    """A TCP proxy to the broker that can swallow what is under way and then break."""

    def __init__(self, broker: str) -> None:
        self._account, _, address = broker.rpartition("@")
        host, port = address.split(":")
        self._target = (host, int(port))
        self._swallow = False
        self._open: list[asyncio.StreamWriter] = []
        self._pumping: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Cable":
        self._server = await asyncio.start_server(self._on_connection, "127.0.0.1", 0)
        self.url = f"{self._account}@127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self._break()
        await asyncio.gather(*self._pumping, return_exceptions=True)

    async def cut_while(self, work: Callable[[], None], client: Client, stream: str, outbox: Outbox) -> None:
        """What is published meanwhile is delivered into the void."""
        self._swallow = True
        work()
        async with asyncio.timeout(TIMEOUT_S):
            await read_until(Follower(client, stream, 0), len(outbox.messages))
        self._break()
        self._swallow = False

    def _break(self) -> None:
        for writer in self._open:
            writer.close()
        self._open.clear()

    async def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(*self._target)
        self._open += [writer, upstream_writer]
        self._pumping += [
            asyncio.create_task(self._pump(reader, upstream_writer, False)),
            asyncio.create_task(self._pump(upstream_reader, writer, True)),
        ]

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, may_swallow: bool) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65_536):
                if not (may_swallow and self._swallow):
                    target.write(data)
                    await target.drain()
        target.close()
        with suppress(ConnectionError):
            await target.wait_closed()
