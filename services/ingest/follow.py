"""Follows CUSTOMER, to know what became of the events that were taken. Reads ids alone; opens nothing that is personal.

Nobody's truth depends on it, so nothing here stops the door: a unit that can't be read is skipped with an error in the log.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import nats.js.errors

from services.ingest.backlog import Backlog
from services.ingest.receipts import NOBODY, Applied, Head, Receipts
from shared.bus import Follower, Message
from shared.bus.connection import REQUEST_TIMEOUT_S
from shared.events.customer import ACTIVITY_IDS
from shared.events.wire import CUSTOMER_STREAM, INGEST_STREAM, Batch, decode_batch, event_id_of
from shared.telemetry import logger
from shared.vault import EnvelopeBroken, Vault

UNITS_A_TRANSACTION: Final = 16
GATHERING_S: Final = (
    0.25  # behind a transaction, unless as much waits as the next may take: whose receipts come later is in the backlog
)
TAIL_MESSAGES: Final = 16
LOOK_AGAIN_S: Final = 5.0

log = logger("follow")


class _Line(msgspec.Struct, array_like=True):
    """The first fields of an Entry; the rest is not even decoded."""

    stream: bytes
    event_id: bytes
    type_id: str


class _Unit(msgspec.Struct, array_like=True):
    number: int
    consumed: dict[str, int]
    entries: list[_Line]
    refused: list[bytes] = []

    def applied(self) -> list[Applied]:
        """What became of events, as far as this unit tells."""
        found = [Applied(line.event_id, line.stream, self.number) for line in self.entries if line.type_id in ACTIVITY_IDS]
        return found + [Applied(event_id, NOBODY, self.number) for event_id in self.refused]


class _Named(msgspec.Struct):
    source: str
    message_id: str


_decode_unit = msgspec.msgpack.Decoder(_Unit).decode
_decode_named = msgspec.msgpack.Decoder(list[_Named]).decode


async def follow_customers(client: Any, receipts: Receipts, backlog: Backlog) -> None:
    """Never returns; raises when a server is down, to be started over from what is committed."""
    head = await receipts.head()
    backlog.was_consumed(head.ingest)
    # Not contiguous: a unit that is gone from the broker is no reason to wait for ever.
    follower = Follower(client, CUSTOMER_STREAM, head.customer, contiguous=False)
    try:
        while True:
            messages = await follower.take(UNITS_A_TRANSACTION)
            head = await _apply(messages, receipts, head)
            backlog.was_consumed(head.ingest)
            if follower.behind() < UNITS_A_TRANSACTION:
                await asyncio.sleep(GATHERING_S)
    finally:
        await follower.close()


async def _apply(messages: Sequence[Message], receipts: Receipts, before: Head) -> Head:
    units = _units(messages)
    consumed = max([before.ingest, *(unit.consumed.get(INGEST_STREAM, 0) for unit in units)])
    return await receipts.apply([unit.applied() for unit in units], before, messages[-1].sequence, consumed)


def _units(messages: Sequence[Message]) -> list[_Unit]:
    units = []
    for message in messages:
        try:
            units.append(_decode_unit(message.data))
        except msgspec.DecodeError as error:
            log.error("no receipts for a unit that can't be decoded", sequence=message.sequence, error=type(error).__name__)
    return units


async def fill_backlog(client: Any, vault: Vault, backlog: Backlog, receipts: Receipts) -> None:
    """Claims what stands in INGEST and identity had not consumed, as far as the backlog has room for it.

    The sources and message ids are sealed with the events, so they are opened for a moment. Raises when a server is down.
    """
    after, newest = (await receipts.head()).ingest, await _newest_sequence(client)
    follower = Follower(client, INGEST_STREAM, after, contiguous=False, watched=False)
    try:
        while after < newest and not backlog.is_full:
            try:
                async with asyncio.timeout(LOOK_AGAIN_S):
                    messages = await follower.take(TAIL_MESSAGES)
            except TimeoutError:  # an erasure may have purged what was the newest
                newest = await _newest_sequence(client)
                continue
            after = messages[-1].sequence
            for message in messages:
                claim, _ = backlog.claim(await _event_ids(message, vault))
                backlog.became_durable(claim, message.sequence, message.stored_at)
    finally:
        await follower.close()
    log.info("the backlog is known", events=len(backlog))


async def _newest_sequence(client: Any) -> int:
    """0 when nothing stands there."""
    try:
        state = (await client.jetstream(timeout=REQUEST_TIMEOUT_S).stream_info(INGEST_STREAM)).state
    except nats.js.errors.NotFoundError:
        return 0
    return int(state.last_seq) if state.messages else 0


async def _event_ids(message: Message, vault: Vault) -> list[bytes]:
    """Empty for a message that identity will park."""
    try:
        batch: Batch = decode_batch(message.data)
        key = (await vault.keys([batch.epoch])).get(batch.epoch)
        named = _decode_named(key.open(batch.sealed, batch.epoch)) if key else []
    except (msgspec.DecodeError, EnvelopeBroken):
        return []
    return [event_id_of(one.source, one.message_id) for one in named]
