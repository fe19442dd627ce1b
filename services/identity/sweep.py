"""Has every store give up what it holds of an erased customer, then looks again at what can still be read."""

import asyncio
from collections.abc import Sequence
from typing import Any

from nats.aio.client import Client

from services.identity.broker import purge_consumed
from services.identity.domain.erasure import Erasure
from services.identity.epochs import Epochs
from services.identity.ledger import IDENTITY_PARTITION, Ledger
from services.identity.tables import erasures, record_tables
from shared.bus.purging import PARTICIPANTS, Question, ask
from shared.events import customer as customer_events
from shared.events.erasure import Purge, Remains, StoresPurged
from shared.ids import to_text
from shared.log import Record
from shared.log.records import readable_fields
from shared.telemetry import logger
from shared.vault import Vault
from shared.vault.vault import EPOCHS_END, QUARANTINE_END

log = logger("erasing")


class StillReadable(Exception):
    """The replay check could read something that should be gone. An alarm; the erasure stays unfinished."""


class Sweep:
    def __init__(self, pool: Any, client: Client, ledger: Ledger, vault: Vault, epochs: Epochs) -> None:
        self._pool = pool
        self._client = client
        self._ledger = ledger
        self._vault = vault
        self._epochs = epochs

    async def purge(self, erasure: Erasure) -> StoresPurged:
        """Raises StillReadable, ReportUnreadable, and one of BROKER_DOWN when a service doesn't answer; then it is to be done again."""
        records = await self._ledger.reader.streams([(IDENTITY_PARTITION, stream) for stream in erasure.streams])
        closing = [record.entry.public() for record in records if record.entry.type_id == customer_events.ERASED.id]
        hashes = [value_hash for event in closing for value_hash in event.identifier_hashes]
        if erasure.identifier and erasure.identifier not in hashes:
            hashes.append(erasure.identifier)
        question = Question(
            erasure.erasure_id, list(erasure.streams), hashes, erasure.unit, erasure.policy, erased_at=erasure.begun_at
        )
        own = [
            await self._check_own_log(erasure, records),
            Purge(store="identity.identifiers", rows=erasure.identifiers if erasure.streams else 0),
            await self._check_records(erasure),
        ]
        reports = await asyncio.gather(*(ask(self._client, participant, question) for participant in PARTICIPANTS))
        async with self._ledger.turn():
            consumed = self._ledger.consumed
        messages = await purge_consumed(self._client, consumed)
        epoch_keys = await self._epochs.destroy_consumed()
        parked = await self._epochs.remove_parked()
        purges = [
            *own,
            *(purge for report in reports for purge in report.purges),
            Purge(store="broker.INGEST", rows=messages),
            Purge(store="vault.ingest_epoch_keys", rows=epoch_keys),
            Purge(store="identity.parked", rows=parked),
        ]
        self._require_unreadable(erasure, purges)
        kept = await self._kept(erasure, purges)
        for report in reports:
            kept.update(report.kept)
        return StoresPurged(
            purges=tuple(purges),
            kept={what: n for what, n in kept.items() if n},
            epoch_keys_until=self._epochs.until(),
            quarantine_keys_until=self._epochs.quarantine_until(),
        )

    async def waits_in_quarantine(self, value_hash: bytes) -> bool:
        """Whether events that broke a plan name somebody by it. Raises one of BROKER_DOWN when ingest doesn't answer."""
        report = await ask(self._client, "ingest", Question(b"", [], [value_hash], unit=-1, look=True))
        return any(purge.rows for purge in report.purges)

    async def _kept(self, erasure: Erasure, purges: Sequence[Purge]) -> dict[Remains, int]:
        return {
            "log_headers": sum(purge.checked for purge in purges if purge.store.endswith(".events")),
            "suppressions": erasure.identifiers,
            "vault_leftovers": erasure.keys,
            "broker_ciphertext": len(erasure.streams),
            "ingest_epoch_keys": len(await self._vault.epochs_before(EPOCHS_END)),
            "quarantine_leftovers": len(await self._vault.quarantine_days_before(QUARANTINE_END)),
            "parked_messages": await self._ledger.parked.count(),
        }

    async def _check_own_log(self, erasure: Erasure, records: Sequence[Record]) -> Purge:
        """Reads the streams as a replay would, with whatever keys the vault still gives."""
        keys = await self._vault.keys_as_stored(erasure.streams)
        readable = readable_fields(records, keys) + await erasures.remaining_identifiers(self._pool, erasure.streams)
        return Purge(store="identity.events", rows=0, checked=len(records), readable=readable)

    async def _check_records(self, erasure: Erasure) -> Purge:
        """What was compared, with the blocks and matches that it was in."""
        left = await record_tables.remaining(self._pool, erasure.streams)
        return Purge(store="identity.records", rows=erasure.records, readable=left)

    def _require_unreadable(self, erasure: Erasure, purges: Sequence[Purge]) -> None:
        for purge in purges:
            if purge.readable:
                log.error(
                    "an erased customer is still readable",
                    erasure=to_text(erasure.erasure_id),
                    store=purge.store,
                    fields=purge.readable,
                )
                raise StillReadable(purge.store)
