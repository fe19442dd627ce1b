"""Destroys the keys of ingest epochs after their time, and what is parked under them, and the keys of the quarantine's days.

Identity knows what it has consumed of INGEST. What a day's key of the quarantine seals has an end by itself: ingest deletes it."""

import asyncio
from collections.abc import Sequence

from nats.aio.client import Client

from services.identity.broker import first_unconsumed_epoch
from services.identity.ledger import Ledger
from shared.bus.connection import STREAM_AGE_S
from shared.bus.destructions import announce
from shared.instants import SECOND, Clock
from shared.telemetry import KEYS_DESTROYED, logger
from shared.vault import Vault
from shared.vault.vault import EPOCH_US, QUARANTINE_KEPT_US, QUARANTINE_US, epoch_owner, quarantine_owner

# INGEST keeps a message for STREAM_AGE_S, and a batch may be sealed at the very end of its epoch: two epochs more.
EPOCH_KEY_AGE_US = STREAM_AGE_S * SECOND + 2 * EPOCH_US
LATE_US = 2 * EPOCH_US  # a message under an epoch's key arrives at most so long after the epoch began
# From the end of its day on: what is put there at the very end waits that long, and ingest looks for what is over every hour.
QUARANTINE_KEY_AGE_US = QUARANTINE_KEPT_US + 2 * 3600 * SECOND
LOOK_S = 600.0

log = logger("epochs")


class Epochs:
    def __init__(self, client: Client, ledger: Ledger, vault: Vault, clock: Clock) -> None:
        self._client = client
        self._ledger = ledger
        self._vault = vault
        self._clock = clock

    async def run(self) -> None:
        """Never returns; raises when a server is down."""
        while True:
            await self.destroy_before(self._clock() - EPOCH_KEY_AGE_US)
            await self.remove_parked()
            await self.destroy_quarantine_days()
            await asyncio.sleep(LOOK_S)

    async def destroy_consumed(self) -> int:
        """The keys of all epochs of which no message is left; for when INGEST was just purged."""
        return await self.destroy_before(self._clock() - LATE_US)

    async def destroy_before(self, instant: int) -> int:
        """The keys of the epochs that ended before, as far as identity has consumed them. How many there were."""
        async with self._ledger.turn():  # nothing is being consumed meanwhile
            consumed = self._ledger.consumed
            end = epoch_owner(max(instant, 0))
            unconsumed = await first_unconsumed_epoch(self._client, consumed)
            owners = await self._vault.epochs_before(end if unconsumed is None else min(end, unconsumed))
            if owners:
                await self._vault.destroy(owners, self._clock())
        await self._tell(owners, "epoch")
        return len(owners)

    async def destroy_quarantine_days(self) -> int:
        """The keys of the days of which nothing waits any more; how many there were.

        The time of whatever ingest, when it is down, has not deleted yet is over as well.
        """
        end = quarantine_owner(max(self._clock() - QUARANTINE_KEY_AGE_US, 0))
        if owners := await self._vault.quarantine_days_before(end):
            await self._vault.destroy(owners, self._clock())
        await self._tell(owners, "quarantine")
        return len(owners)

    async def _tell(self, owners: Sequence[bytes], kind: str) -> None:
        if owners:
            await announce(self._client, owners)
            KEYS_DESTROYED.labels(kind).inc(len(owners))
            log.info("destroyed keys after their time", kind=kind, keys=len(owners))

    async def remove_parked(self) -> int:
        """The parked messages that no key will ever open again, and those as old as such. How many there were.

        Others stay, also when they open and are of nobody knows whom: they hold events of many people, all of them answered
        with a 200, and a later release may read them.
        """
        async with self._ledger.turn():
            parked = self._ledger.parked
            gone = await self._vault.destroyed(await parked.epochs())
            removed = await parked.remove_stale(gone, self._clock() - EPOCH_KEY_AGE_US)
        if removed:
            log.warning("removed parked messages that nothing opens any more", messages=removed)
        return removed

    def quarantine_until(self) -> int:
        """When the keys of the quarantine's days up to now will be gone at the latest, with an identity that runs."""
        return self._clock() + QUARANTINE_KEY_AGE_US + QUARANTINE_US + int(LOOK_S * SECOND)

    def until(self) -> int:
        """When the key of the epoch that is now, and what is parked under it now, will be gone at the latest."""
        return self._clock() + EPOCH_KEY_AGE_US + EPOCH_US + int(LOOK_S * SECOND)
