"""A connection that waits for the broker at start and comes back by itself when the broker does."""

import asyncio
import random
import ssl
import time
from collections.abc import Coroutine
from typing import Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit

import nats
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

from shared import telemetry
from shared.waiting import end

RETRY_S = 0.5
# A broker that hangs, or was cut off, closes no connection: it is given up after the third ping that it doesn't answer.
PING_S = 2
UNANSWERED_PINGS = 2
# A node that was cut off from the other nodes answers pings, and nothing that takes a majority: it is left after this. An election takes as long.
CUT_OFF_S = 10.0
ASK_S = 2.0
ASKED_OF: Final = "CALLERS"  # a stream that each account may ask for; that there is none is an answer as well
STREAM_AGE_S = 7 * 24 * 3600  # streams are transport: days are enough to outlive any outage
DUPLICATE_WINDOW_S = 120  # a publish repeated after a lost acknowledgement is dropped by its message id
REQUEST_TIMEOUT_S = 5.0
TOLD_CHARACTERS = 200  # of what the broker says is wrong: it names subjects and servers, never what is in a message

# The broker is down, or was for a moment: try again. What is wrong for good (a message too large) is not among them.
BROKER_DOWN = (
    nats.errors.ConnectionClosedError,
    nats.errors.ConnectionDrainingError,
    nats.errors.ConnectionReconnectingError,
    nats.errors.DrainTimeoutError,
    nats.errors.FlushTimeoutError,
    nats.errors.NoRespondersError,
    nats.errors.NoServersError,
    nats.errors.OutboundBufferLimitError,
    nats.errors.StaleConnectionError,
    nats.errors.TimeoutError,
    nats.errors.UnexpectedEOF,
    nats.js.errors.NoStreamResponseError,
    nats.js.errors.ServiceUnavailableError,
    ConnectionError,
    OSError,
    asyncio.TimeoutError,
)

# What the broker says when an account isn't there, or has another password by now.
REFUSALS = ("authorization violation", "authentication revoked", "authentication expired")

log = telemetry.logger("bus")


class AccountRefused(Exception):
    """The broker doesn't let in who we were started as. Whoever starts us again gives us what our secrets say by then."""

    def __init__(self) -> None:
        super().__init__(
            "the broker refuses the account of C360_NATS_URL: its password there is another one, or it is none any more"
        )


class Broker(Client):
    """A connection that knows how many replicas the streams have that are made over it, and leaves a node that was cut off."""

    stream_replicas = 1
    _watching: asyncio.Task[None] | None = None

    def __init__(self) -> None:
        super().__init__()
        self._refused = asyncio.Event()

    def hear(self, error: BaseException) -> None:
        if is_refusal(error):
            self._refused.set()

    async def until_refused(self) -> None:
        """Raises AccountRefused once the broker has: the connection is closed for good then, or would be tried again for ever."""
        await self._refused.wait()
        raise AccountRefused

    def watch(self) -> None:
        self._watching = asyncio.create_task(self._leave_when_cut_off())

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
        await super().close()

    async def _leave_when_cut_off(self) -> None:
        answered = time.monotonic()
        while True:
            await asyncio.sleep(ASK_S)
            if not self.is_connected or await self._cluster_answers():
                answered = time.monotonic()
            elif time.monotonic() - answered > CUT_OFF_S:
                log.warning("the broker answers and its cluster doesn't: going to another node")
                await self.force_reconnect()
                answered = time.monotonic()

    async def _cluster_answers(self) -> bool:
        """A node that was cut off answers by itself, and names no leader."""
        try:
            cluster = (await self.jetstream(timeout=ASK_S).stream_info(ASKED_OF)).cluster
        except BROKER_DOWN:
            return False
        except nats.js.errors.APIError:  # whatever it says, it was asked
            return True
        return cluster is None or bool(cluster.leader)


def is_refusal(error: BaseException | None) -> bool:
    return isinstance(error, nats.errors.AuthorizationError) or any(words in str(error).lower() for words in REFUSALS)


async def connect(url: str, name: str, stream_replicas: int = 1, authority: str = "") -> "Broker":
    """Returns when connected, to one of the brokers whose URLs stand in `url` with commas between them; reconnects for ever afterwards.
    Who has an account listens for answers where it alone may.

    `authority` is who issues the brokers' certificates, in PEM; a URL with tls:// and none trusts whom the system trusts.
    Raises AccountRefused; of later refusals `Broker.until_refused` tells.
    """

    async def on_disconnect() -> None:
        telemetry.BUS_RECONNECTS.inc()
        log.warning("broker connection lost")

    async def on_reconnect() -> None:
        log.info("broker connection back")

    async def on_closed() -> None:
        client.hear(client.last_error or ConnectionError())

    async def on_error(error: Exception) -> None:
        client.hear(error)
        log.warning("broker error", error=type(error).__name__, because=str(error)[:TOLD_CHARACTERS])

    servers, account = _account_of(url)
    random.shuffle(servers)  # once: who goes to another node must not come back to the one that it leaves
    if authority:
        account["tls"] = ssl.create_default_context(cadata=authority)
    client = Broker()
    waited = False
    while True:
        try:
            connecting = client.connect(
                servers,
                name=name,
                **account,
                max_reconnect_attempts=-1,
                reconnect_time_wait=1,
                allow_reconnect=True,
                dont_randomize=True,
                connect_timeout=2,
                ping_interval=PING_S,
                max_outstanding_pings=UNANSWERED_PINGS,
                disconnected_cb=on_disconnect,
                reconnected_cb=on_reconnect,
                error_cb=on_error,
                closed_cb=on_closed,
                pending_size=64 * 1024 * 1024,
            )
            await _unless_refused(client, connecting)
            client.stream_replicas = stream_replicas
            if len(servers) > 1:
                client.watch()
            return client
        except (TimeoutError, nats.errors.Error, OSError) as error:
            if not waited:
                log.warning("waiting for the broker", error=type(error).__name__, because=str(error)[:TOLD_CHARACTERS])
                waited = True
            client = Broker()
            await asyncio.sleep(RETRY_S)


async def _unless_refused(client: Broker, connecting: Coroutine[Any, Any, None]) -> None:
    """The client would try it again for ever."""
    tasks = {asyncio.create_task(connecting), asyncio.create_task(client.until_refused())}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await end(tasks)


def _account_of(urls: str) -> tuple[list[str], dict[str, Any]]:
    """The servers without a password in them, and who we are there: those that they name take the same."""
    several = [urlsplit(url) for url in urls.split(",")]
    bare = [urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) for parts in several]
    if not several[0].username:
        return bare, {}
    user, password = unquote(several[0].username), unquote(several[0].password or "")
    return bare, {"user": user, "password": password, "inbox_prefix": f"_INBOX.{user}"}


def refill_subject(stream: str) -> str:
    """Where a follower says which sequence it misses; the owner of the stream listens."""
    return f"c360.refill.{stream}"


async def ensure_stream(
    client: Client,
    name: str,
    first_sequence: int,
    *,
    subject: str | None = None,
    max_age_s: float | None = STREAM_AGE_S,
    max_per_subject: int = -1,
) -> Any:
    """The stream's state; makes it when it is absent, so that its first message gets `first_sequence`.

    `subject` is what it takes in, its own name when not given. Without `max_age_s` it keeps messages for ever.
    """
    context = client.jetstream(timeout=REQUEST_TIMEOUT_S)
    try:
        return (await context.stream_info(name)).state
    except nats.js.errors.NotFoundError:
        log.warning("making a stream", stream=name, first_sequence=first_sequence)
    config = StreamConfig(
        name=name,
        subjects=[subject or name],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.OLD,
        max_age=max_age_s or 0,
        max_msgs_per_subject=max_per_subject,
        duplicate_window=DUPLICATE_WINDOW_S,
        first_seq=first_sequence,
        num_replicas=client.stream_replicas if isinstance(client, Broker) else 1,
    )
    return (await context.add_stream(config)).state


async def last_sequence_of(client: Client, name: str) -> int | None:
    """None when there is no such stream."""
    try:
        return int((await client.jetstream(timeout=REQUEST_TIMEOUT_S).stream_info(name)).state.last_seq)
    except nats.js.errors.NotFoundError:
        return None
