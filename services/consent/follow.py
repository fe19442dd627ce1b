"""Follows CUSTOMER: keeps which identifiers belong to one person, and hears what events say of a person's choice. Else it reads only
what every follower may read.

Nothing is parked here: a merge that can't be read may join a person to a withdrawal, so no check could be trusted after it.
"""

import contextlib
from collections.abc import Sequence

import msgspec
import nats.js.errors
from nats.aio.client import Client

from services.consent.hearing import Hearing
from services.consent.persons import Persons
from shared.bus import Follower, Message
from shared.bus.connection import REQUEST_TIMEOUT_S
from shared.errors import NotFreshEnough
from shared.events.catalogue import GRAPH, Entry
from shared.events.wire import CUSTOMER_STREAM, INGEST_STREAM, Unit, decode_unit
from shared.poison import Halted
from shared.positions import LONGEST_WAIT_S, Progress
from shared.telemetry import EVENTS_APPLIED, UNIT_EVENTS, UNIT_SECONDS, logger

log = logger("consent")


async def follow_customers(client: Client, persons: Persons, hearing: Hearing, progress: Progress) -> None:
    """Raises when a server is down, and Halted; returns when another process follows too: to be started over from what is committed."""
    consumed = await persons.consumed()
    progress.advance("customer", consumed - 1)
    # The last unit is read again, because it also tells how far identity had read its own sources.
    follower = Follower(client, CUSTOMER_STREAM, max(consumed - 1, 0))
    try:
        while True:
            messages = await follower.take()
            with UNIT_SECONDS.labels("consent").time():
                units = _units(messages, consumed)
                if not await _apply(persons, hearing, units, consumed):
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


def _graph_facts(units: Sequence[Unit]) -> list[Entry]:
    """What changes who belongs together, in the order it came. Activities, and what a newer release added beside it, don't."""
    try:
        facts = [entry for unit in units for entry in unit.entries if entry.bears_on == GRAPH]
        for entry in facts:
            entry.public()
        return facts
    except msgspec.DecodeError as error:
        raise Halted(f"an event of {CUSTOMER_STREAM} can't be decoded ({type(error).__name__})", "UNDECODABLE") from None


def _units(messages: Sequence[Message], consumed: int) -> list[Unit]:
    if messages[0].sequence > consumed + 1:
        raise Halted(f"units {consumed} to {messages[0].sequence - 2} are gone from {CUSTOMER_STREAM}", "UNITS_MISSING")
    try:
        return [decode_unit(message.data) for message in messages]
    except msgspec.DecodeError as error:
        raise Halted(f"a message of {CUSTOMER_STREAM} can't be decoded ({type(error).__name__})", "UNDECODABLE") from None


async def _apply(persons: Persons, hearing: Hearing, units: Sequence[Unit], consumed: int) -> bool:
    fresh = [unit for unit in units if unit.number >= consumed]
    if not fresh:
        return True
    heard = await hearing.hear([sealed for unit in fresh for sealed in unit.statements])  # recorded twice, it has no second effect
    applied = await persons.apply(_graph_facts(fresh), consumed, fresh[-1].number + 1, heard.save, _ingested(fresh[-1]))
    events = sum(len(unit.entries) for unit in fresh)
    EVENTS_APPLIED.labels("consent").inc(events)
    UNIT_EVENTS.labels("consent").observe(events)
    return applied


def _advance(progress: Progress, newest: Unit) -> None:
    progress.advance("customer", newest.number)
    progress.advance("ingest", _ingested(newest))


def _ingested(unit: Unit) -> int:
    """-1: it doesn't tell."""
    return unit.consumed.get(INGEST_STREAM, -1)
