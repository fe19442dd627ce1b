"""Follows CUSTOMER into the customer log, and CONSENT into what is enforced at every read."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from services.profile.cache import LoadingCache
from services.profile.domain.decided import KnownDecision
from services.profile.following import CONSENT, CONSENT_TOLD
from services.profile.hub import Hub
from services.profile.record import Recorder
from services.profile.tables.consents import Consents
from services.profile.tables.identifiers import Identifiers
from shared import tracing
from shared.bus import Follower, Message
from shared.bus.enforcement import Lease
from shared.events.catalogue import CATALOGUE, PERMISSION, Entry, UnknownEvent
from shared.events.consent import DecisionRecorded, PurposeDefined
from shared.events.wire import CONSENT_STREAM, CUSTOMER_STREAM, decode_unit
from shared.poison import Halted
from shared.positions import Progress
from shared.telemetry import logger
from shared.vault import EnvelopeBroken

UNITS_A_TRANSACTION = 16
UNITS_BYTES = 4 * 1024 * 1024  # one message of identity at the least

log = logger("profile")


async def follow_customers(client: Any, recorder: Recorder) -> None:
    """Never returns; raises when a server is down, to be started over from what is committed, and Halted."""
    follower = Follower(client, CUSTOMER_STREAM, await recorder.load())
    try:
        while True:
            messages = await follower.take(UNITS_A_TRANSACTION, UNITS_BYTES)
            with tracing.stage("profile unit", tracing.together(message.traces for message in messages), messages=len(messages)):
                await recorder.record([(message.sequence, message.data) for message in messages])
    except EnvelopeBroken:
        raise Halted("a state can't be opened with the key of its stream", "STATE_BROKEN") from None
    finally:
        await follower.close()


class ConsentFollower:
    """Keeps purposes and decisions current: first the tables, then what is in memory, then consent is told."""

    def __init__(
        self,
        consents: Consents,
        purposes: dict[str, PurposeDefined],
        decisions: LoadingCache[bytes, list[KnownDecision]],
        progress: Progress,
        lease: Lease,
        hub: Hub,
        identifiers: Identifiers,
    ) -> None:
        self._consents = consents
        self._identifiers = identifiers
        self._purposes = purposes
        self._decisions = decisions
        self._progress = progress
        self._lease = lease
        self._hub = hub
        self.informed = asyncio.Event()  # some purpose is known, so reads can be answered

    async def follow(self, client: Any) -> None:
        consumed = await self._consents.consumed()
        self.learn(await self._consents.purposes())
        self._decisions.clear()
        self._progress.advance(CONSENT, consumed - 1)
        self._progress.advance(CONSENT_TOLD, consumed - 1)
        self._lease.renew()
        self._hub.everything_changed()  # of what was committed before this was lost, nobody may have been told
        follower = Follower(client, CONSENT_STREAM, consumed)
        try:
            while True:
                messages = await follower.take()
                await self._apply([event for message in messages for event in _events(message)], messages[-1].sequence)
        finally:
            await follower.close()

    async def _apply(self, known: Sequence[Any], sequence: int) -> None:
        purposes = [event for event in known if isinstance(event, PurposeDefined)]
        decisions = [event for event in known if isinstance(event, KnownDecision)]
        await self._consents.apply(purposes, decisions, sequence)
        self.learn({purpose.name: purpose for purpose in purposes})
        self._decisions.drop({decision.identifier_hash for decision in decisions})
        self._progress.advance(CONSENT, sequence - 1)
        self._lease.renew()
        about = set[bytes]() if purposes else await self._watched(decisions)
        self._progress.advance(CONSENT_TOLD, sequence - 1)
        if purposes:
            self._hub.everything_changed()
        elif decisions:
            self._hub.changed(about)

    async def _watched(self, decisions: Sequence[DecisionRecorded]) -> set[bytes]:
        """Customers that these are about; it is too late for nobody when that is not found out at once."""
        hashes = {decision.identifier_hash for decision in decisions}
        return set((await self._identifiers.customers_of(hashes)).values()) if decisions and self._hub.is_watched else set()

    def learn(self, purposes: dict[str, PurposeDefined]) -> None:
        """Those of a name that is known are newer."""
        self._purposes.update(purposes)
        if self._purposes:
            self.informed.set()


def _events(message: Message) -> list[Any]:
    """Raises Halted: a decision that can't be read may be a withdrawal, so nothing after it can be served by consent either."""
    try:
        unit = decode_unit(message.data)
        return [_known(event, unit.recorded_at) for entry in unit.entries if (event := _public(entry)) is not None]
    except msgspec.DecodeError as error:
        reason = f"{CONSENT_STREAM} {message.sequence} can't be decoded ({type(error).__name__})"
        raise Halted(reason, "UNDECODABLE") from None


def _known(event: Any, recorded_at: int) -> Any:
    return KnownDecision(**msgspec.structs.asdict(event), recorded_at=recorded_at) if isinstance(event, DecisionRecorded) else event


def _public(entry: Entry) -> Any:
    """What a newer release added and what doesn't bear on a permission, such as a notice, is skipped."""
    try:
        return entry.public()
    except UnknownEvent as unknown:
        if entry.type_id in CATALOGUE or entry.bears_on == PERMISSION:
            raise
        log.warning("skipped an event of an unknown type", type=str(unknown))
        return None
