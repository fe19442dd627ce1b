"""Follows CUSTOMER into the customer log, and CONSENT into what is enforced at every read."""

import asyncio
from collections.abc import Sequence
from typing import Any

from services.profile.cache import LoadingCache
from services.profile.hub import Hub
from services.profile.record import Recorder
from services.profile.views import Consents
from shared.bus import Follower
from shared.bus.enforcement import Lease
from shared.events.catalogue import Entry, UnknownEvent
from shared.events.consent import DecisionRecorded, PurposeDefined
from shared.events.wire import CONSENT_STREAM, CUSTOMER_STREAM, decode_unit
from shared.positions import Progress
from shared.telemetry import logger

UNITS_A_TRANSACTION = 16
UNITS_BYTES = 4 * 1024 * 1024  # one message of identity at the least

log = logger("profile")


async def follow_customers(client: Any, recorder: Recorder) -> None:
    """Never returns; raises when a server is down, to be started over from what is committed."""
    follower = Follower(client, CUSTOMER_STREAM, await recorder.load())
    try:
        while True:
            messages = await follower.take(UNITS_A_TRANSACTION, UNITS_BYTES)
            await recorder.record([(message.sequence, decode_unit(message.data)) for message in messages])
    finally:
        await follower.close()


class ConsentFollower:
    """Keeps purposes and decisions current: first the tables, then what is in memory, then consent is told."""

    def __init__(
        self,
        consents: Consents,
        purposes: dict[str, PurposeDefined],
        decisions: LoadingCache[bytes, list[DecisionRecorded]],
        progress: Progress,
        lease: Lease,
        hub: Hub,
    ) -> None:
        self._consents = consents
        self._purposes = purposes
        self._decisions = decisions
        self._progress = progress
        self._lease = lease
        self._hub = hub
        self.informed = asyncio.Event()  # some purpose is known, so reads can be answered

    async def follow(self, client: Any) -> None:
        consumed = await self._consents.consumed()
        self._learn(await self._consents.purposes())
        self._decisions.clear()
        self._progress.advance("consent", consumed - 1)
        self._lease.renew()
        follower = Follower(client, CONSENT_STREAM, consumed)
        try:
            while True:
                messages = await follower.take()
                entries = [entry for message in messages for entry in decode_unit(message.data).entries]
                await self._apply(entries, messages[-1].sequence)
        finally:
            await follower.close()

    async def _apply(self, entries: Sequence[Entry], sequence: int) -> None:
        known = [event for entry in entries if (event := _public(entry)) is not None]
        purposes = [event for event in known if isinstance(event, PurposeDefined)]
        decisions = [event for event in known if isinstance(event, DecisionRecorded)]
        await self._consents.apply(purposes, decisions, sequence)
        self._learn({purpose.name: purpose for purpose in purposes})
        self._decisions.drop({decision.identifier_hash for decision in decisions})
        self._progress.advance("consent", sequence - 1)
        self._lease.renew()
        self._hub.everything_changed()

    def _learn(self, purposes: dict[str, PurposeDefined]) -> None:
        self._purposes.update(purposes)
        if self._purposes:
            self.informed.set()


def _public(entry: Entry) -> Any:
    """What a newer release of consent added is enforced by a newer release of profile; it can't narrow what we know."""
    try:
        return entry.public()
    except UnknownEvent as error:
        log.warning("skipped an event of an unknown type", type=str(error))
        return None
