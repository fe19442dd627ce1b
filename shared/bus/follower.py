"""Reads a stream in order from a given sequence, for ever, through broker restarts and lost streams.

The position lives with the reader's own effects, not in the broker: the consumer here is short-lived, acknowledges nothing
and is made anew from the last sequence taken whenever it falls silent or a delivery is missing.
"""

import asyncio
import contextlib
import json
from collections import deque
from functools import partial
from typing import Any

import msgspec
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from shared import telemetry, tracing
from shared.bus.connection import BROKER_DOWN, REQUEST_TIMEOUT_S, refill_subject
from shared.instants import SECOND, now_us
from shared.waiting import wait_for_news

WINDOW_MESSAGES = 64  # asked for ahead, at once
WINDOW_BYTES = 16 * 1024 * 1024  # of these, at once; more than the broker's 8 MB a message, or that one would never come
TAKE_BYTES = 2 * 1024 * 1024  # what is taken becomes one transaction and one message onwards
PULL_EXPIRES_S = 20.0
HEARTBEAT_S = 1.0
SILENCE_S = 3.0  # no message and no heartbeat for so long: the consumer is gone
INACTIVE_S = 60.0
RETRY_S = 0.3

log = telemetry.logger("follower")


class Message(msgspec.Struct, frozen=True):
    """`stored_at`: when the broker took it, by its clock, in microseconds. `traces`: of the requests that it goes back to."""

    sequence: int
    data: bytes
    stored_at: int = 0
    traces: tracing.Traces = ()


class Follower:
    """`after` is the last sequence already taken; `take` waits for at least one message and returns what waits.

    A stream that its owner relays from a log is `contiguous`: messages that are gone from it are never skipped but asked for
    again, and nothing is returned until the owner has filled them in. One that is `watched` shows its lag in the metrics.
    """

    def __init__(self, client: Client, stream: str, after: int, *, contiguous: bool = True, watched: bool = True) -> None:
        self._client = client
        self._context = client.jetstream(timeout=REQUEST_TIMEOUT_S)
        self._stream = stream
        self._contiguous = contiguous
        self._last = after
        self._waiting: deque[Message] = deque()
        self._arrived = asyncio.Event()
        self._subscription: Subscription | None = None
        self._pull_subject = ""
        self._credit = 0
        self._delivered = 0  # by this consumer; its deliveries are numbered from 1
        self._heard = 0.0
        self._pending = 0
        self._generation = 0
        self._reconnects = 0
        self._trouble = ""
        self._taken_at: int | None = None  # when the broker took the oldest of what is being applied
        if watched:
            telemetry.LAG_MESSAGES.labels(stream).set_function(self.behind)
            telemetry.LAG_SECONDS.labels(stream).set_function(self.behind_s)

    async def take(self, limit: int = WINDOW_MESSAGES, limit_bytes: int = TAKE_BYTES) -> list[Message]:
        """At least one message, and more as long as they stay within both limits. What was taken before is applied."""
        self._taken_at = None
        while not self._waiting:
            self._arrived.clear()
            await self._keep_pulling()
            await wait_for_news(self._arrived, HEARTBEAT_S)
        taken = [self._waiting.popleft()]
        size = len(taken[0].data)
        while self._waiting and len(taken) < limit and (size := size + len(self._waiting[0].data)) <= limit_bytes:
            taken.append(self._waiting.popleft())
        self._last = taken[-1].sequence
        self._taken_at = taken[0].stored_at
        telemetry.CONSUMED_POSITION.labels(self._stream).set(self._last)
        return taken

    def behind(self) -> int:
        """Messages that are not taken yet, as far as is known."""
        return self._pending + len(self._waiting)

    def behind_s(self) -> float:
        """How long the oldest message that isn't applied has been standing in the stream. Asked from another thread."""
        try:
            oldest = self._waiting[0].stored_at if self._taken_at is None else self._taken_at
        except IndexError:
            return 0.0
        return max(0, now_us() - oldest) / SECOND

    async def close(self) -> None:
        """The broker forgets the consumer by itself; there is nothing to lose."""
        if self._subscription is not None:
            subscription, self._subscription = self._subscription, None
            with contextlib.suppress(nats.errors.Error, OSError):
                await subscription.unsubscribe()

    async def _keep_pulling(self) -> None:
        silent = asyncio.get_running_loop().time() - self._heard > SILENCE_S
        reconnected = self._client.stats["reconnects"] != self._reconnects
        try:
            if self._subscription is None or silent or reconnected:
                await self._start_over()
            elif self._credit <= WINDOW_MESSAGES // 2:
                await self._pull()
        except (*BROKER_DOWN, nats.js.errors.APIError) as error:
            self._report(type(error).__name__)
            await self.close()
            await asyncio.sleep(RETRY_S)

    @property
    def _newest(self) -> int:
        return self._waiting[-1].sequence if self._waiting else self._last

    async def _start_over(self) -> None:
        await self.close()
        self._reconnects = self._client.stats["reconnects"]
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=self._newest + 1,
            ack_policy=AckPolicy.NONE,
            inactive_threshold=INACTIVE_S,
            mem_storage=True,
        )
        info = await self._context.add_consumer(self._stream, config)
        self._pull_subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{info.name}"
        self._generation += 1
        self._subscription = await self._client.subscribe(
            self._client.new_inbox(),
            cb=partial(self._on_message, self._generation),
            pending_msgs_limit=-1,
            pending_bytes_limit=-1,
        )
        self._credit = self._delivered = 0
        if self._contiguous and info.delivered is not None and info.delivered.stream_seq > self._newest:
            await self._ask_for_missing()  # the stream begins later than we stand
        else:
            await self._pull()

    async def _pull(self) -> None:
        if self._subscription is None:
            return
        batch = WINDOW_MESSAGES - self._credit
        request = {
            "batch": batch,
            "max_bytes": WINDOW_BYTES,
            "expires": int(PULL_EXPIRES_S * 1e9),
            "idle_heartbeat": int(HEARTBEAT_S * 1e9),
        }
        await self._client.publish(self._pull_subject, json.dumps(request).encode(), self._subscription.subject)
        self._credit += batch
        self._heard = asyncio.get_running_loop().time()

    async def _on_message(self, generation: int, message: Msg) -> None:
        if generation != self._generation:
            return  # from a consumer that was given up
        self._heard = asyncio.get_running_loop().time()
        if not message.reply:
            self._on_status(message.headers or {})
            return
        metadata: Any = message.metadata
        self._delivered += 1
        if metadata.sequence.consumer != self._delivered:
            self._give_up_consumer()  # a delivery was lost with a connection
            return
        self._credit -= 1
        self._pending = metadata.num_pending
        stored_at = int(metadata.timestamp.timestamp() * SECOND)
        traces = tracing.of_headers(message.headers)
        if not await self._accept(Message(metadata.sequence.stream, message.data, stored_at, traces)):
            return
        if self._credit <= WINDOW_MESSAGES // 2 and self._has_room():
            await self._pull()

    def _has_room(self) -> bool:
        return len(self._waiting) < WINDOW_MESSAGES and sum(len(message.data) for message in self._waiting) < WINDOW_BYTES

    async def _accept(self, message: Message) -> bool:
        if self._contiguous and message.sequence > self._newest + 1:
            await self._ask_for_missing()
            return False
        if message.sequence > self._newest:
            self._waiting.append(message)
            self._recovered()
        self._arrived.set()
        return True

    async def _ask_for_missing(self) -> None:
        self._report("MessagesMissing", missing=self._newest + 1)
        await self._client.publish(refill_subject(self._stream), str(self._newest + 1).encode())
        self._give_up_consumer()

    def _on_status(self, headers: dict[str, str]) -> None:
        """100 is a heartbeat; a pull that ended (404, 408, 409) returns its unused credit; what else comes is a dead consumer."""
        status = headers.get("Status")
        if status == "100":
            return
        self._credit = max(0, self._credit - int(headers.get("Nats-Pending-Messages", self._credit)))
        if status not in ("404", "408", "409") or "deleted" in headers.get("Description", "").lower():
            self._give_up_consumer()
        self._arrived.set()

    def _give_up_consumer(self) -> None:
        """The next look makes another from the last message that was kept; not at once, so that trouble doesn't spin."""
        self._generation += 1
        self._heard = float("-inf")

    def _report(self, trouble: str, **facts: int) -> None:
        if trouble != self._trouble:
            log.warning("cannot read the stream yet", stream=self._stream, trouble=trouble, **facts)
        self._trouble = trouble

    def _recovered(self) -> None:
        if self._trouble:
            log.info("reading the stream again", stream=self._stream, after=self._last)
        self._trouble = ""
