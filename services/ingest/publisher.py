"""Seals events into a message and publishes it until the broker has it on disk, or time is up."""

import asyncio
from typing import Any, Final

import nats.js.errors
from nats.aio.client import Client
from nats.js.api import Header

from shared import faults, telemetry, tracing
from shared.bus import BROKER_DOWN
from shared.bus.connection import ensure_stream
from shared.errors import Unavailable
from shared.events.wire import INGEST_STREAM, Batch, encode
from shared.ids import NewId, to_text
from shared.instants import SECOND, Clock
from shared.store.pool import DOWN as STORE_DOWN
from shared.vault import Vault

ACK_TIMEOUT_S: Final = 2.0
# A broker that restarts is back within this; a caller with the usual deadline still gets our answer instead of its own.
GIVE_UP_S: Final = 4.5
PROBE_S: Final = 1.0  # after it was given up once: callers hear early that it is still down
RETRY_S: Final = 0.1
KEY_AHEAD_US: Final = 600 * SECOND
KEY_CHECK_S: Final = 60.0

RETRYABLE = (*BROKER_DOWN, *STORE_DOWN, nats.js.errors.APIError)

log = telemetry.logger("publisher")


class Publisher:
    """Only one `publish` at a time, so that messages keep their order."""

    def __init__(self, client: Client, vault: Vault, clock: Clock, new_id: NewId) -> None:
        self._client = client
        self._vault = vault
        self._clock = clock
        self._new_id = new_id
        self._gave_up = False
        self._context = client.jetstream(timeout=2 * ACK_TIMEOUT_S)  # `_retry` ends an attempt before

    async def open(self) -> None:
        """Waits for the broker; makes the stream when it is absent."""
        while True:
            try:
                await self._ensure_stream()
                return
            except RETRYABLE as error:
                log.warning("cannot open the stream yet", error=type(error).__name__)
                await asyncio.sleep(RETRY_S)

    async def publish(self, events: list[bytes]) -> int:
        """The sequence of the message. Raises Unavailable (BROKER_DOWN): the events may arrive none the less."""
        deadline = asyncio.get_running_loop().time() + (PROBE_S if self._gave_up else GIVE_UP_S)
        self._gave_up = True
        data = await self._retry(deadline, self._seal, events)
        # The broker drops a second copy by this id, so a lost acknowledgement doubles nothing.
        headers = {Header.MSG_ID.value: to_text(self._new_id())} | tracing.to_headers(tracing.carried())
        number = int(await self._retry(deadline, self._publish_once, data, headers))
        self._gave_up = False
        return number

    async def keep_keys_ahead(self) -> None:
        """Makes the next epoch's key before it is needed, so that a database outage does not close the door.

        Never returns; raises when the database is down.
        """
        while True:
            await self._vault.epoch_key(self._clock() + KEY_AHEAD_US)
            await asyncio.sleep(KEY_CHECK_S)

    async def _retry(self, deadline: float, step: Any, *arguments: Any) -> Any:
        """Looks at the time itself: the client may swallow the cancellation by which a timeout ends its work."""
        while (left := deadline - asyncio.get_running_loop().time()) > 0:
            try:
                return await asyncio.wait_for(step(*arguments), min(left, ACK_TIMEOUT_S))
            except nats.js.errors.NoStreamResponseError:
                await self._remake_stream()
            except RETRYABLE as error:
                log.warning("publishing again", error=type(error).__name__)
            await asyncio.sleep(RETRY_S)
        log.error("gave up publishing")
        raise Unavailable("the broker did not take the events in time; send them again", reason="BROKER_DOWN")

    async def _seal(self, events: list[bytes]) -> bytes:
        epoch, key = await self._vault.epoch_key(self._clock())
        return encode(Batch(epoch, len(events), key.seal(_list_of(events), epoch)))

    async def _publish_once(self, data: bytes, headers: dict[str, str]) -> int:
        if not self._client.is_connected:  # else each attempt would leave a copy in the client's buffer
            raise ConnectionError("reconnecting")
        faults.reach(faults.BEFORE_PUBLISH)
        acknowledged = await self._context.publish(INGEST_STREAM, data, headers=headers)
        faults.reach(faults.AFTER_PUBLISH)
        return acknowledged.seq

    async def _remake_stream(self) -> None:
        try:
            await self._ensure_stream()
        except RETRYABLE as error:
            log.warning("cannot make the stream yet", error=type(error).__name__)

    async def _ensure_stream(self) -> None:
        """Sequences are instants at creation, so that none ever repeats, even when a stream was lost."""
        await ensure_stream(self._client, INGEST_STREAM, first_sequence=self._clock())


def _list_of(events: list[bytes]) -> bytes:
    """A msgpack array of events that are encoded already."""
    return b"\xdd" + len(events).to_bytes(4) + b"".join(events)
