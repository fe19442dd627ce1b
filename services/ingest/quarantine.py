"""The quarantine: events that break a rule of their source's plan, sealed, until a plan takes them or their time is over.

Beside the sealed event stand ids, rules of the plan and keyed hashes of its identifiers, by which an erasure finds it.
"""

import asyncio
from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec

from services.ingest.domain.plan import Finding
from shared.events.promotion import identifiers_of
from shared.events.wire import RawEvent, event_id_of
from shared.identifiers import hash_of
from shared.instants import SECOND, Clock
from shared.telemetry import logger
from shared.vault import Vault

KEPT_US: Final = 90 * 24 * 3600 * SECOND  # long enough to correct a plan; then nobody waits for the event any more
PAGE_EVENTS: Final = 500
EXPIRE_S: Final = 3_600.0

log = logger("quarantine")

_decode = msgspec.msgpack.Decoder(RawEvent).decode


class Quarantined(msgspec.Struct, frozen=True):
    """An event that is put there, with what it breaks."""

    event: RawEvent
    encoded: bytes
    plan_version: int
    findings: tuple[Finding, ...]

    def __repr__(self) -> str:
        return "<Quarantined sealed>"


class QuarantinedRow(msgspec.Struct, frozen=True):
    """Without the event itself. `received_at` in microseconds."""

    event_id: bytes
    plan_version: int
    rules: list[str]
    received_at: int


def id_of(event: RawEvent) -> bytes:
    """As identity knows it."""
    return event_id_of(event.source, event.message_id)


class Quarantine:
    def __init__(self, pool: Any, vault: Vault, clock: Clock) -> None:
        self._pool = pool
        self._vault = vault
        self._clock = clock

    async def put(self, events: Sequence[Quarantined]) -> None:
        """Durable when this returns, all of them or none; what is there already stays as it is."""
        epoch, key = await self._vault.quarantine_key(self._clock())
        ids = [id_of(held.event) for held in events]
        sealed = [key.seal(held.encoded, epoch + event_id) for event_id, held in zip(ids, events, strict=True)]
        await self._pool.execute(
            """INSERT INTO quarantine (event_id, source, plan_version, rules, received_at, identifiers, epoch, sealed)
               SELECT event_id, source, plan_version, string_to_array(rules, ' '), received_at,
                      ARRAY(SELECT decode(h, 'hex') FROM unnest(string_to_array(identifiers, ' ')) AS h), $7, sealed
               FROM unnest($1::bytea[], $2::text[], $3::int4[], $4::text[], $5::int8[], $6::text[], $8::bytea[])
                    AS new (event_id, source, plan_version, rules, received_at, identifiers, sealed)
               ON CONFLICT (event_id) DO NOTHING""",
            ids,
            [held.event.source for held in events],
            [held.plan_version for held in events],
            [_rules(held.findings) for held in events],
            [held.event.received_at for held in events],
            [" ".join(found.hex() for found in self._hashes(held.event)) for held in events],
            epoch,
            sealed,
        )

    async def page(self, source: str, after: tuple[int, bytes] | None, limit: int) -> list[QuarantinedRow]:
        """In the order in which they came."""
        rows = await self._pool.fetch(
            """SELECT event_id, plan_version, rules, received_at FROM quarantine
               WHERE source = $1 AND (received_at, event_id) > ($2, $3) ORDER BY received_at, event_id LIMIT $4""",
            source,
            *(after or (-1, b"")),
            limit,
        )
        return [QuarantinedRow(*row) for row in rows]

    async def rules_of(self, event_id: bytes) -> list[str] | None:
        """Which rules an event waits for; None when it isn't here."""
        rules: list[str] | None = await self._pool.fetchval("SELECT rules FROM quarantine WHERE event_id = $1", event_id)
        return rules

    async def open(self, rows: Sequence[QuarantinedRow]) -> dict[bytes, RawEvent]:
        """By event id; absent are those that are gone, or whose key is."""
        found = await self._pool.fetch(
            "SELECT event_id, epoch, sealed FROM quarantine WHERE event_id = ANY($1::bytea[])", [row.event_id for row in rows]
        )
        keys = await self._vault.keys({row["epoch"] for row in found})
        return {
            row["event_id"]: _decode(key.open(row["sealed"], row["epoch"] + row["event_id"]))
            for row in found
            if (key := keys.get(row["epoch"])) is not None
        }

    async def rejudged(self, event_ids: Collection[bytes], plan_version: int, findings: Sequence[tuple[Finding, ...]]) -> None:
        """They stay, for what a newer plan says."""
        await self._pool.execute(
            """UPDATE quarantine SET plan_version = $2, rules = string_to_array(new.rules, ' ')
               FROM unnest($1::bytea[], $3::text[]) AS new (event_id, rules) WHERE quarantine.event_id = new.event_id""",
            list(event_ids),
            plan_version,
            [_rules(found) for found in findings],
        )

    async def remove(self, event_ids: Collection[bytes]) -> None:
        await self._pool.execute("DELETE FROM quarantine WHERE event_id = ANY($1::bytea[])", list(event_ids))

    async def count(self, source: str) -> int:
        return int(await self._pool.fetchval("SELECT count(*) FROM quarantine WHERE source = $1", source))

    async def erase(self, identifier_hashes: Collection[bytes]) -> int:
        """Gives up every event that names one of these people; how many there were."""
        done = await self._pool.fetch(
            "DELETE FROM quarantine WHERE identifiers && $1::bytea[] RETURNING 1", list(identifier_hashes)
        )
        return len(done)

    async def keep_expiring(self) -> None:
        """Never returns; raises when the database is down."""
        while True:
            if expired := await self.expire():
                log.info("gave up quarantined events that nobody corrected a plan for", events=expired)
            await asyncio.sleep(EXPIRE_S)

    async def expire(self) -> int:
        """Gives up what has waited too long; how many there were."""
        done = await self._pool.fetch("DELETE FROM quarantine WHERE received_at < $1 RETURNING 1", self._clock() - KEPT_US)
        return len(done)

    def _hashes(self, event: RawEvent) -> list[bytes]:
        return [hash_of(identifier, self._vault.lookup_key) for identifier in identifiers_of(event)]


def _rules(findings: Sequence[Finding]) -> str:
    return " ".join(sorted({found.rule for found in findings}))
