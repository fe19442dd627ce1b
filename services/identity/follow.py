"""Follows INGEST: opens what waits, finds out whom each event belongs to, and hands all of it over as one unit."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from services.identity.app import Unifier
from shared.bus import Follower, Message
from shared.events.wire import INGEST_STREAM, Batch, RawEvent, decode_batch, decode_raw_events
from shared.telemetry import EVENTS_PARKED, logger
from shared.vault import EnvelopeBroken, Vault

MESSAGES_A_UNIT = 16  # and at most TAKE_BYTES of them: bounds a unit's memory and its transaction

log = logger("identity")


class PoisonMessage(Exception):
    """A message that can't be opened however often it is read; its text is the reason."""


async def follow_ingest(client: Any, unifier: Unifier, vault: Vault) -> None:
    """Never returns; raises when a server is down, to be started over from what is committed."""
    await unifier.load()
    follower = Follower(client, INGEST_STREAM, unifier.consumed, contiguous=False)  # it has no log to be filled from
    try:
        while True:
            messages = await follower.take(MESSAGES_A_UNIT)
            events, parked = await _open(messages, vault)
            await unifier.unify(events, messages[-1].sequence, parked)
    finally:
        await follower.close()


async def _open(messages: Sequence[Message], vault: Vault) -> tuple[list[RawEvent], list[tuple[int, str, bytes]]]:
    """The events in order, and what can't be opened as (sequence, reason, data)."""
    events: list[RawEvent] = []
    parked: list[tuple[int, str, bytes]] = []
    batches = [(message, _decode(message)) for message in messages]
    keys = await vault.keys(_epochs(batch for _, batch in batches))
    for message, batch in batches:
        try:
            if batch is None or batch.epoch not in keys:
                raise PoisonMessage("NOT_A_BATCH" if batch is None else "EPOCH_KEY_GONE")
            events += decode_raw_events(keys[batch.epoch].open(batch.sealed, batch.epoch))
        except (PoisonMessage, EnvelopeBroken, msgspec.DecodeError) as error:
            reason = str(error) if isinstance(error, PoisonMessage) else type(error).__name__
            log.error("parked a message that can't be opened", sequence=message.sequence, reason=reason)
            EVENTS_PARKED.labels("identity").inc()
            parked.append((message.sequence, reason, message.data))
    return events, parked


def _decode(message: Message) -> Batch | None:
    try:
        return decode_batch(message.data)
    except msgspec.DecodeError:
        return None


def _epochs(batches: Iterable[Batch | None]) -> set[bytes]:
    return {batch.epoch for batch in batches if batch is not None}
