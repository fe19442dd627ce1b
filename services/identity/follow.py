"""Follows INGEST: opens what waits, finds out whom each event belongs to, and hands all of it over as one unit."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from services.identity.app import CUSTOMER_KEY_LOST, Unifier
from shared import tracing
from shared.bus import Follower, Message
from shared.events.wire import INGEST_STREAM, Batch, RawEvent, decode_batch, decode_raw_events
from shared.parked import Parked
from shared.poison import Poison, Run
from shared.telemetry import EVENTS_PARKED, logger
from shared.vault import DataKey, EnvelopeBroken, Vault

MESSAGES_A_UNIT = 16  # and at most TAKE_BYTES of them: bounds a unit's memory and its transaction

log = logger("identity")


async def follow_ingest(client: Any, unifier: Unifier, vault: Vault, run: Run) -> None:
    """Never returns; raises when a server is down, to be started over from what is committed, and Halted (POISON_RUN)."""
    consumed = await unifier.load()
    follower = Follower(client, INGEST_STREAM, consumed, contiguous=False)  # it has no log to be filled from
    try:
        while True:
            messages = await follower.take(MESSAGES_A_UNIT)
            with tracing.stage("identity unit", tracing.together(message.traces for message in messages), messages=len(messages)):
                events, parked = await _open_all(messages, vault, run)
                await unifier.unify(events, messages[-1].sequence, parked)
            EVENTS_PARKED.labels("identity").inc(len(parked))
    finally:
        await follower.close()


async def replay(parked: Parked, unifier: Unifier, vault: Vault) -> list[tuple[str, int, int]]:
    """Tries a parked message again. Raises Poison, NotParked."""
    batch = _decode(parked.data)
    keys = await vault.keys([batch.epoch] if batch else [])
    try:
        number = await unifier.replay(_open(batch, keys), parked)
    except EnvelopeBroken:
        raise Poison(CUSTOMER_KEY_LOST) from None
    return [("customer", 0, number)]


async def _open_all(messages: Sequence[Message], vault: Vault, run: Run) -> tuple[list[RawEvent], list[Parked]]:
    """The events in order, and what can't be opened."""
    events: list[RawEvent] = []
    parked: list[Parked] = []
    batches = [_decode(message.data) for message in messages]
    keys = await vault.keys({batch.epoch for batch in batches if batch})
    for message, batch in zip(messages, batches, strict=True):
        try:
            events += _open(batch, keys)
            run.good()
        except Poison as poison:
            log.error("parked a message that can't be opened", sequence=message.sequence, reason=poison.reason)
            epoch = batch.epoch if batch else b""
            parked.append(
                Parked(
                    stream=INGEST_STREAM,
                    sequence=message.sequence,
                    reason=poison.reason,
                    data=message.data,
                    epoch=epoch,
                    run=run.poison(),
                )
            )
    return events, parked


def _decode(data: bytes) -> Batch | None:
    try:
        return decode_batch(data)
    except msgspec.DecodeError:
        return None


def _open(batch: Batch | None, keys: Mapping[bytes, DataKey]) -> list[RawEvent]:
    """Raises Poison."""
    if batch is None:
        raise Poison("NOT_A_BATCH")
    if batch.epoch not in keys:
        raise Poison("EPOCH_KEY_GONE")
    try:
        return decode_raw_events(keys[batch.epoch].open(batch.sealed, batch.epoch))
    except EnvelopeBroken:
        raise Poison("ENVELOPE_BROKEN") from None
    except msgspec.DecodeError:
        raise Poison("UNDECODABLE") from None
