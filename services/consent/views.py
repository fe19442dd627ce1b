"""Consent's read models of its own events: purposes and decisions."""

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from services.consent.domain.ledger import NOW, Instant
from shared.errors import TooLarge
from shared.events.catalogue import encode
from shared.events.consent import DecisionRecorded, PurposeDefined, outlives_erasure, outlives_parting
from shared.instants import END_OF_TIME
from shared.log import Record

MOST_DECISIONS_LISTED = 10_000  # of one identifier; keeps an answer below the largest message

E = TypeVar("E", PurposeDefined, DecisionRecorded)
decode_purpose = msgspec.msgpack.Decoder(PurposeDefined).decode
decode_decision = msgspec.msgpack.Decoder(DecisionRecorded).decode


class Placed(msgspec.Struct, Generic[E], frozen=True):
    """An event of the consent log in its place."""

    event: E
    pos: int
    recorded_at: int


async def apply(connection: Any, records: Sequence[Record]) -> None:
    """Runs in the transaction that writes these events."""
    for record in records:
        event = record.entry.public()
        if isinstance(event, PurposeDefined):
            await Purposes.apply(connection, event, record)
        else:
            await Decisions.apply(connection, event, record)


class Purposes:
    """Table `purposes`: every version of each."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    @staticmethod
    async def apply(connection: Any, event: PurposeDefined, record: Record) -> None:
        await connection.execute(
            "INSERT INTO purposes (name, version, pos, request_id, defined_at, purpose) VALUES ($1, $2, $3, $4, $5, $6)",
            event.name,
            event.version,
            record.pos,
            event.request_id,
            record.recorded_at,
            encode(event),
        )

    async def newest(self) -> list[Placed[PurposeDefined]]:
        """The newest version of each, by name."""
        rows = await self._pool.fetch("SELECT DISTINCT ON (name) * FROM purposes ORDER BY name, version DESC")
        return sorted((_placed_purpose(row) for row in rows), key=lambda placed: placed.event.name)

    async def named(self, name: str, known_at: int = END_OF_TIME) -> Placed[PurposeDefined] | None:
        """Its newest version that was defined by then."""
        row = await self._pool.fetchrow(
            "SELECT * FROM purposes WHERE name = $1 AND defined_at <= $2 ORDER BY version DESC LIMIT 1", name, known_at
        )
        return _placed_purpose(row) if row else None

    async def of_request(self, request_id: str) -> Placed[PurposeDefined] | None:
        row = await self._pool.fetchrow("SELECT * FROM purposes WHERE request_id = $1", request_id)
        return _placed_purpose(row) if row else None


def _placed_purpose(row: Any) -> Placed[PurposeDefined]:
    return Placed(decode_purpose(row["purpose"]), row["pos"], row["defined_at"])


class Decisions:
    """Table `decisions`: all of them, by identifier."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    @staticmethod
    async def apply(connection: Any, event: DecisionRecorded, record: Record) -> None:
        await connection.execute(
            "INSERT INTO decisions (pos, value_hash, purpose, request_id, recorded_at, decision) VALUES ($1, $2, $3, $4, $5, $6)",
            record.pos,
            event.identifier_hash,
            event.purpose,
            event.request_id,
            record.recorded_at,
            encode(event),
        )

    async def of_request(self, request_id: str) -> Placed[DecisionRecorded] | None:
        row = await self._pool.fetchrow("SELECT * FROM decisions WHERE request_id = $1", request_id)
        return _placed_decision(row) if row else None

    async def of_identifier(self, value_hash: bytes, known_at: int = END_OF_TIME) -> list[Placed[DecisionRecorded]]:
        """Those that were recorded by then. Oldest first by when they were recorded. Raises TooLarge (TOO_MANY_DECISIONS)."""
        rows = await self._pool.fetch(
            "SELECT * FROM decisions WHERE value_hash = $1 AND recorded_at <= $2 ORDER BY pos LIMIT $3",
            value_hash,
            known_at,
            MOST_DECISIONS_LISTED + 1,
        )
        if len(rows) > MOST_DECISIONS_LISTED:
            raise TooLarge(f"more than {MOST_DECISIONS_LISTED} decisions", reason="TOO_MANY_DECISIONS")
        return [_placed_decision(row) for row in rows]

    async def about(self, purpose: str, bound: Mapping[bytes, bool], instant: Instant = NOW) -> list[DecisionRecorded]:
        """Those that count as of an instant: a grant that was erased is evidence and nothing else, whatever the instant.

        `bound` is as `Persons.identifiers_of` gives it.
        """
        rows = await self._pool.fetch(
            """SELECT value_hash, decision, coalesce(erased_at, -1) AS erased_at FROM decisions LEFT JOIN erased_identifiers USING (value_hash)
               WHERE value_hash = ANY($1::bytea[]) AND purpose = $2 AND recorded_at <= $3""",
            list(bound),
            purpose,
            instant.known_at,
        )
        decided = [(decode_decision(row["decision"]), row["erased_at"], bound[row["value_hash"]]) for row in rows]
        return [
            decision
            for decision, erased_at, theirs in decided
            if decision.decided_at <= instant.valid_at
            and outlives_erasure(decision, erased_at)
            and (theirs or outlives_parting(decision))
        ]


def _placed_decision(row: Any) -> Placed[DecisionRecorded]:
    return Placed(decode_decision(row["decision"]), row["pos"], row["recorded_at"])
