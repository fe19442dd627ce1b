"""The quarantine: events that break a rule of their source's plan, sealed, until a plan takes them or their time is over.

Beside the sealed event stand ids, rules of the plan and keyed hashes of its identifiers, by which an erasure finds it. What
names somebody who was erased, and would be refused by identity, is never held.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import msgspec

from services.ingest.domain.plan import Finding, Outcome
from shared.errors import LimitExceeded
from shared.events.erasure import Policy
from shared.events.promotion import identifiers_of
from shared.events.wire import RawEvent, event_id_of
from shared.identifiers import hash_of
from shared.instants import Clock
from shared.telemetry import logger
from shared.vault import Vault
from shared.vault.vault import QUARANTINE_KEPT_US

PAGE_EVENTS: Final = 500
EXPIRE_S: Final = 3_600.0

# As identity would refuse it, but by any of its identifiers: a device that she shared counts here, since what breaks the
# plan is nobody's yet.
SUPPRESSED: Final = """EXISTS (SELECT 1 FROM suppressions
    WHERE value_hash = ANY({0}.identifiers) AND (policy = 'refuse' OR {0}.occurred_at <= erased_at))"""
SUPPRESS: Final = """INSERT INTO suppressions (value_hash, policy, erased_at) SELECT h, $2, $3 FROM unnest($1::bytea[]) AS h
    ON CONFLICT (value_hash) DO UPDATE
    SET policy = CASE suppressions.policy WHEN 'refuse' THEN 'refuse' ELSE excluded.policy END,
        erased_at = greatest(suppressions.erased_at, excluded.erased_at)"""

# Counted in the statement that changes the quarantine, for a trigger stands in the way of distributing the tables. In the order of the
# sources, so that two statements wait for each other and never both. `changed` has (source, size); `sign` is 1 or -1.
COUNT: Final = """INSERT INTO quarantine_sizes (source, events, bytes)
    SELECT source, {sign} * count(*), {sign} * sum(size) FROM {changed} GROUP BY source ORDER BY source
    ON CONFLICT (source) DO UPDATE
    SET events = quarantine_sizes.events + excluded.events, bytes = quarantine_sizes.bytes + excluded.bytes"""
REMOVE: Final = f"""WITH removed AS (DELETE FROM quarantine WHERE {{0}} RETURNING event_id, source, length(sealed) AS size),
    counted AS ({COUNT.format(sign=-1, changed="removed")})
    SELECT event_id FROM removed"""  # noqa: S608

log = logger("quarantine")


class Limits(msgspec.Struct, frozen=True):
    """Of what waits: no source may fill the database, and all together may not either."""

    source_events: int = 1_000_000
    source_bytes: int = 4 * 1024**3
    events: int = 4_000_000
    bytes: int = 16 * 1024**3


LIMITS: Final = Limits()


_decode = msgspec.msgpack.Decoder(RawEvent).decode


class Quarantined(msgspec.Struct, frozen=True):
    """An event that is put there, with what it breaks."""

    event: RawEvent
    encoded: bytes
    plan_version: int
    findings: tuple[Finding, ...]
    standard: RawEvent | None = None  # as the plan would have it

    def __repr__(self) -> str:
        return "<Quarantined sealed>"


class Held(msgspec.Struct, frozen=True):
    """Ids of events: what is new in the quarantine, and what names somebody who was erased and is not kept."""

    added: set[bytes]
    refused: set[bytes]


class QuarantinedRow(msgspec.Struct, frozen=True):
    """Without the event itself. `received_at` in microseconds."""

    event_id: bytes
    plan_version: int
    rules: list[str]
    received_at: int


class Quarantine:
    def __init__(self, pool: Any, vault: Vault, clock: Clock, limits: Limits = LIMITS) -> None:
        self._pool = pool
        self._vault = vault
        self._clock = clock
        self._limits = limits

    async def put(self, events: Sequence[Quarantined]) -> Held:
        """Durable when this returns, all that may be kept or none; what is there already stays as it is.

        Raises LimitExceeded (QUARANTINE_FULL).
        """
        await self._require_room(events)
        epoch, key = await self._vault.quarantine_key(self._clock())
        ids = [event_id_of(held.event.source, held.event.message_id) for held in events]
        sealed = [key.seal(held.encoded, epoch + event_id) for event_id, held in zip(ids, events, strict=True)]
        rows = await self._pool.fetch(
            f"""WITH sent AS (
                   SELECT event_id, source, plan_version, string_to_array(rules, ' ') AS rules, occurred_at, received_at,
                          ARRAY(SELECT decode(h, 'hex') FROM unnest(string_to_array(hashes, ' ')) AS h) AS identifiers, sealed
                   FROM unnest($1::bytea[], $2::text[], $3::int4[], $4::text[], $5::int8[], $6::text[], $8::bytea[], $9::int8[])
                        AS new (event_id, source, plan_version, rules, received_at, hashes, sealed, occurred_at)),
               judged AS (SELECT *, {SUPPRESSED.format("sent")} AS refused FROM sent),
               added AS (
                   INSERT INTO quarantine (event_id, source, plan_version, rules, occurred_at, received_at, identifiers, epoch, sealed)
                   SELECT event_id, source, plan_version, rules, occurred_at, received_at, identifiers, $7, sealed
                   FROM judged WHERE NOT refused ON CONFLICT (event_id) DO NOTHING
                   RETURNING event_id, source, length(sealed) AS size),
               counted AS ({COUNT.format(sign=1, changed="added")})
               SELECT event_id, false AS refused FROM added UNION ALL SELECT event_id, true FROM judged WHERE refused""",  # noqa: S608
            ids,
            [held.event.source for held in events],
            [held.plan_version for held in events],
            [_rules(held.findings) for held in events],
            [held.event.received_at for held in events],
            [" ".join(found.hex() for found in self._hashes(held.event, held.standard)) for held in events],
            epoch,
            sealed,
            [min(held.event.occurred_at, held.event.received_at) for held in events],
        )
        return Held(*({row["event_id"] for row in rows if row["refused"] is refused} for refused in (False, True)))

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

    async def rejudged(self, outcomes: Mapping[bytes, Outcome], plan_version: int) -> None:
        """They stay, for what a newer plan says. It may find people in them that the older one didn't."""
        await self._pool.execute(
            """UPDATE quarantine SET plan_version = $2, rules = string_to_array(new.rules, ' '), identifiers = ARRAY(
                   SELECT unnest(identifiers) UNION SELECT decode(h, 'hex') FROM unnest(string_to_array(new.hashes, ' ')) AS h)
               FROM unnest($1::bytea[], $3::text[], $4::text[]) AS new (event_id, rules, hashes) WHERE quarantine.event_id = new.event_id""",
            list(outcomes),
            plan_version,
            [_rules(outcome.findings) for outcome in outcomes.values()],
            [" ".join(found.hex() for found in self._hashes(held.event, held.standard)) for held in outcomes.values()],
        )
        await self._pool.execute(
            REMOVE.format(f"event_id = ANY($1::bytea[]) AND {SUPPRESSED.format('quarantine')}"),
            list(outcomes),
        )

    async def waiting_among(self, event_ids: Collection[bytes]) -> set[bytes]:
        rows = await self._pool.fetch("SELECT event_id FROM quarantine WHERE event_id = ANY($1::bytea[])", list(event_ids))
        return {row["event_id"] for row in rows}

    async def remove(self, event_ids: Collection[bytes]) -> set[bytes]:
        """Those that were there."""
        rows = await self._pool.fetch(REMOVE.format("event_id = ANY($1::bytea[])"), list(event_ids))
        return {row["event_id"] for row in rows}

    async def count(self, source: str) -> int:
        return int(await self._pool.fetchval("SELECT count(*) FROM quarantine WHERE source = $1", source))

    async def count_naming(self, identifier_hashes: Collection[bytes]) -> int:
        """How many events name one of these people."""
        return int(
            await self._pool.fetchval("SELECT count(*) FROM quarantine WHERE identifiers && $1::bytea[]", list(identifier_hashes))
        )

    async def erase(self, identifier_hashes: Collection[bytes], policy: Policy, erased_at: int) -> int:
        """Gives up every event that names one of these people, and holds none of theirs from here on; how many there were.

        The lock waits for what is being put there, which may not have seen the suppression, and lets the next wait for it.
        """
        hashes = list(identifier_hashes)
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute("LOCK TABLE quarantine IN SHARE ROW EXCLUSIVE MODE")
            await connection.execute(SUPPRESS, hashes, policy, erased_at)
            done = await connection.fetch(REMOVE.format("identifiers && $1::bytea[]"), hashes)
        return len(done)

    async def keep_expiring(self) -> None:
        """Never returns; raises when the database is down."""
        while True:
            if expired := await self.expire():
                log.info("gave up quarantined events that nobody corrected a plan for", events=expired)
            await asyncio.sleep(EXPIRE_S)

    async def expire(self) -> int:
        """Gives up what has waited too long; how many there were."""
        done = await self._pool.fetch(REMOVE.format("received_at < $1"), self._clock() - QUARANTINE_KEPT_US)
        return len(done)

    async def _require_room(self, events: Sequence[Quarantined]) -> None:
        """Many requests at a time pass the limits by what they hold; that is little beside the limits."""
        source = events[0].event.source
        row = await self._pool.fetchrow(
            """SELECT coalesce(sum(events) FILTER (WHERE source = $1), 0), coalesce(sum(bytes) FILTER (WHERE source = $1), 0),
                      coalesce(sum(events), 0), coalesce(sum(bytes), 0) FROM quarantine_sizes""",
            source,
        )
        more, bytes_more = len(events), sum(len(held.encoded) for held in events)
        after = [have + new for have, new in zip(row, (more, bytes_more, more, bytes_more), strict=True)]
        limits = self._limits
        if any(
            size > most
            for size, most in zip(after, (limits.source_events, limits.source_bytes, limits.events, limits.bytes), strict=True)
        ):
            raise LimitExceeded(
                "the quarantine is full; correct the plan, or what is sent, and replay it", reason="QUARANTINE_FULL", source=source
            )

    def _hashes(self, event: RawEvent, standard: RawEvent | None) -> list[bytes]:
        """Of everybody whom it names, as it came and as it would be."""
        found = {*identifiers_of(event), *(identifiers_of(standard) if standard is not None else ())}
        return [hash_of(identifier, self._vault.lookup_key) for identifier in sorted(found)]


def _rules(findings: Sequence[Finding]) -> str:
    return " ".join(sorted({found.rule for found in findings}))
