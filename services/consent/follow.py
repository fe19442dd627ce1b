"""Follows CUSTOMER: keeps which identifiers belong to one person. Reads only what every follower may read."""

import contextlib
from collections.abc import Sequence

import nats.js.errors
from nats.aio.client import Client

from services.consent.views import Persons
from shared.bus import Follower, Message
from shared.bus.connection import REQUEST_TIMEOUT_S
from shared.errors import NotFreshEnough
from shared.events.wire import CUSTOMER_STREAM, INGEST_STREAM, Unit, decode_unit
from shared.positions import LONGEST_WAIT_S, Progress
from shared.telemetry import EVENTS_APPLIED, UNIT_EVENTS, UNIT_SECONDS, logger

log = logger("consent")


class UnitsMissing(Exception):
    """Some units were never read and are gone from the stream: a merge may be among them, so no check can be trusted."""


async def follow_customers(client: Client, persons: Persons, progress: Progress) -> None:
    """Raises when a server is down, and returns when another process follows too: to be started over from what is committed."""
    consumed = await persons.consumed()
    progress.advance("customer", consumed - 1)
    # The last unit is read again, because it also tells how far identity had read its own sources.
    follower = Follower(client, CUSTOMER_STREAM, max(consumed - 1, 0))
    try:
        while True:
            messages = await follower.take()
            with UNIT_SECONDS.labels("consent").time():
                units = _units(messages, consumed)
                if not await _apply(persons, units, consumed):
                    log.warning("another process has applied these units")
                    return
            consumed = max(consumed, units[-1].number + 1)
            _advance(progress, units[-1])
    finally:
        await follower.close()


async def wait_caught_up(client: Client, progress: Progress) -> None:
    """Waits until what stands in the stream now is applied."""
    try:
        info = await client.jetstream(timeout=REQUEST_TIMEOUT_S).stream_info(CUSTOMER_STREAM)
    except nats.js.errors.NotFoundError:
        return  # identity has never run: nobody is known yet
    newest = info.state.last_seq - 1
    while progress.applied("customer") < newest:
        with contextlib.suppress(NotFreshEnough):
            await progress.wait("customer", newest, LONGEST_WAIT_S)


def _units(messages: Sequence[Message], consumed: int) -> list[Unit]:
    if messages[0].sequence > consumed + 1:
        raise UnitsMissing(f"units {consumed} to {messages[0].sequence - 2} are gone from {CUSTOMER_STREAM}")
    return [decode_unit(message.data) for message in messages]


async def _apply(persons: Persons, units: Sequence[Unit], consumed: int) -> bool:
    fresh = [unit for unit in units if unit.number >= consumed]
    if not fresh:
        return True
    entries = [entry for unit in fresh for entry in unit.entries]
    applied = await persons.apply(entries, consumed, fresh[-1].number + 1)
    EVENTS_APPLIED.labels("consent").inc(len(entries))
    UNIT_EVENTS.labels("consent").observe(len(entries))
    return applied


def _advance(progress: Progress, newest: Unit) -> None:
    progress.advance("customer", newest.number)
    progress.advance("ingest", newest.consumed.get(INGEST_STREAM, -1))
