"""Consent's read models of its own events: definitions and decisions. What signals it keeps: `signals.py`; rights requests: `rights.py`."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from services.consent.domain.definitions import KINDS, Definition, Kind
from services.consent.domain.ledger import NOW, Instant
from services.consent.rights import Rights, is_step
from services.consent.signals import Signals
from shared.consent_overlays import valid_from
from shared.consent_rule import outlives_erasure
from shared.errors import TooLarge
from shared.events.callers import CallerDefined, OverrideDefined
from shared.events.catalogue import encode
from shared.events.consent import (
    ControllerDefined,
    DecisionRecorded,
    NoticeDefined,
    PurposeDefined,
)
from shared.events.signals import MappingDefined, SignalReceived
from shared.instants import END_OF_TIME
from shared.log import Record

MOST_DECISIONS_LISTED = 10_000  # of one identifier; keeps an answer below the largest message
MOST_VERSIONS = 2**31 - 1  # what an int4 takes

E = TypeVar("E", Definition, DecisionRecorded, PurposeDefined)
decode_decision = msgspec.msgpack.Decoder(DecisionRecorded).decode
decode_purpose = msgspec.msgpack.Decoder(PurposeDefined).decode
DECODERS: dict[str, Callable[[bytes], Definition]] = {
    "purpose": decode_purpose,
    "controller": msgspec.msgpack.Decoder(ControllerDefined).decode,
    "notice": msgspec.msgpack.Decoder(NoticeDefined).decode,
    "mapping": msgspec.msgpack.Decoder(MappingDefined).decode,
    "caller": msgspec.msgpack.Decoder(CallerDefined).decode,
    "override": msgspec.msgpack.Decoder(OverrideDefined).decode,
}


class Placed(msgspec.Struct, Generic[E], frozen=True):
    """An event of the consent log in its place."""

    event: E
    pos: int
    recorded_at: int


async def apply(connection: Any, records: Sequence[Record]) -> None:
    """Runs in the transaction that writes these events."""
    await Rights.apply(connection, [record for record in records if is_step(record.entry)])
    events = [(record.entry.public(), record) for record in records if not is_step(record.entry)]
    await Decisions.apply(connection, [(event, record) for event, record in events if isinstance(event, DecisionRecorded)])
    await Signals.apply(connection, [(event, record) for event, record in events if isinstance(event, SignalReceived)])
    for event, record in events:
        if not isinstance(event, DecisionRecorded | SignalReceived):
            await Definitions.apply(connection, event, record)


class Definitions:
    """Table `definitions`: every version of each. Later versions are never in force from an earlier instant on."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    @staticmethod
    async def apply(connection: Any, event: Definition, record: Record) -> None:
        await connection.execute(
            """INSERT INTO definitions (kind, name, version, pos, request_id, in_force_at, recorded_at, definition)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8)""",
            KINDS[type(event)],
            event.name,
            event.version,
            record.pos,
            event.request_id,
            event.in_force_at,
            record.recorded_at,
            encode(event),
        )

    async def newest(self, kind: Kind, after: str, limit: int) -> list[Placed[Definition]]:
        """The newest version of each, by name, from behind a name on."""
        rows = await self._pool.fetch(
            """SELECT DISTINCT ON (name) * FROM definitions WHERE kind = $1 AND name > $2
               ORDER BY name, version DESC LIMIT $3""",
            kind,
            after,
            limit,
        )
        return [_placed_definition(row) for row in rows]

    async def newest_since(self, kind: Kind, recorded_at: int, limit: int) -> list[Placed[Definition]]:
        """The newest version of each of which one was recorded since."""
        rows = await self._pool.fetch(
            """SELECT DISTINCT ON (name) * FROM definitions WHERE kind = $1 AND recorded_at >= $2
               ORDER BY name, version DESC LIMIT $3""",
            kind,
            recorded_at,
            limit,
        )
        return [_placed_definition(row) for row in rows]

    async def versions(self, kind: Kind, name: str, before: int, limit: int) -> list[Placed[Definition]]:
        """Newest first, those ahead of a version."""
        rows = await self._pool.fetch(
            "SELECT * FROM definitions WHERE kind = $1 AND name = $2 AND version < $3 ORDER BY version DESC LIMIT $4",
            kind,
            name,
            before,
            limit,
        )
        return [_placed_definition(row) for row in rows]

    async def newest_of(self, kind: Kind, name: str) -> Placed[Definition] | None:
        return await self.in_force(kind, name, NOW)

    async def in_force(self, kind: Kind, name: str, instant: Instant) -> Placed[Definition] | None:
        """Of the versions known by then the one that was in force."""
        row = await self._pool.fetchrow(
            """SELECT * FROM definitions WHERE kind = $1 AND name = $2 AND in_force_at <= $3 AND recorded_at <= $4
               ORDER BY version DESC LIMIT 1""",
            kind,
            name,
            instant.valid_at,
            instant.known_at,
        )
        return _placed_definition(row) if row else None

    async def version(self, kind: Kind, name: str, version: int) -> Placed[Definition] | None:
        row = await self._pool.fetchrow(
            "SELECT * FROM definitions WHERE kind = $1 AND name = $2 AND version = $3", kind, name, version
        )
        return _placed_definition(row) if row else None

    async def all_versions(self, kind: Kind, names: Sequence[str]) -> list[Placed[Definition]]:
        rows = await self._pool.fetch("SELECT * FROM definitions WHERE kind = $1 AND name = ANY($2::text[])", kind, list(names))
        return [_placed_definition(row) for row in rows]

    async def of_request(self, request_id: str) -> Placed[Definition] | None:
        row = await self._pool.fetchrow("SELECT * FROM definitions WHERE request_id = $1", request_id)
        return _placed_definition(row) if row else None


def _placed_definition(row: Any) -> Placed[Definition]:
    return Placed(DECODERS[row["kind"]](row["definition"]), row["pos"], row["recorded_at"])


class Decisions:
    """Table `decisions`: all of them, by identifier."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    @staticmethod
    async def apply(connection: Any, decided: Sequence[tuple[DecisionRecorded, Record]]) -> None:
        if decided:
            await connection.execute(
                """INSERT INTO decisions (pos, decision_id, value_hash, purpose, request_id, recorded_at, decision, guardian, follows)
                   SELECT * FROM unnest($1::int8[], $2::bytea[], $3::bytea[], $4::text[], $5::text[], $6::int8[], $7::bytea[],
                                        $8::bytea[], $9::bytea[])""",
                [record.pos for _, record in decided],
                [event.decision_id for event, _ in decided],
                [event.identifier_hash for event, _ in decided],
                [event.purpose for event, _ in decided],
                [event.request_id for event, _ in decided],
                [record.recorded_at for _, record in decided],
                [encode(event) for event, _ in decided],
                [event.authorised.guardian_hash if event.authorised else None for event, _ in decided],
                [event.age.follows or None if event.age else None for event, _ in decided],
            )

    async def of_signal(self, value_hash: bytes, signal_id: bytes, pos: int, most: int) -> list[Placed[DecisionRecorded]]:
        """Those that follow from a signal: they stand right behind it, `most` at most."""
        rows = await self._pool.fetch(
            "SELECT * FROM decisions WHERE value_hash = $1 AND pos > $2 AND pos <= $3 ORDER BY pos", value_hash, pos, pos + most
        )
        return [placed for placed in map(_placed_decision, rows) if placed.event.signal_id == signal_id]

    async def of_requests(self, request_ids: Collection[str]) -> dict[str, Placed[DecisionRecorded]]:
        rows = await self._pool.fetch("SELECT * FROM decisions WHERE request_id = ANY($1::text[])", list(request_ids))
        return {row["request_id"]: _placed_decision(row) for row in rows}

    async def decided_about(self, purpose: str, after: bytes, limit: int) -> list[tuple[str, bytes]]:
        """(namespace, hash) of identifiers that a decision about the purpose is bound to, by hash, from behind one on."""
        rows = await self._pool.fetch(
            """SELECT DISTINCT ON (value_hash) * FROM decisions WHERE purpose = $1 AND value_hash > $2
               ORDER BY value_hash, pos LIMIT $3""",
            purpose,
            after,
            limit,
        )
        return [(_placed_decision(row).event.namespace, row["value_hash"]) for row in rows]

    async def authorised_by(self, guardians: Collection[bytes]) -> list[DecisionRecorded]:
        """What anybody authorised for a child by any of these identifiers."""
        rows = await self._pool.fetch("SELECT decision FROM decisions WHERE guardian = ANY($1::bytea[])", list(guardians))
        return [decode_decision(row["decision"]) for row in rows]

    async def following(self, decision_id: bytes) -> list[DecisionRecorded]:
        """What it says of those for whom whoever it is about authorised anything."""
        rows = await self._pool.fetch("SELECT decision FROM decisions WHERE follows = $1", decision_id)
        return [decode_decision(row["decision"]) for row in rows]

    async def of_id(self, decision_id: bytes) -> Placed[DecisionRecorded] | None:
        row = await self._pool.fetchrow("SELECT * FROM decisions WHERE decision_id = $1", decision_id)
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

    async def about(
        self, purpose: str, value_hashes: Collection[bytes], instant: Instant = NOW
    ) -> dict[bytes, list[Placed[DecisionRecorded]]]:
        """By identifier those that count as of an instant: a grant that was erased is evidence and nothing else, whatever the instant."""
        return counted(await self.considered([purpose], value_hashes, instant))

    async def considered(
        self, purposes: Collection[str], value_hashes: Collection[bytes], instant: Instant
    ) -> list[tuple[Placed[DecisionRecorded], bool]]:
        """All as of an instant, and whether each is a grant that was erased. In no order."""
        rows = await self._pool.fetch(
            """SELECT pos, recorded_at, decision, coalesce(erased_at, -1) AS erased_at
               FROM decisions LEFT JOIN erased_identifiers USING (value_hash)
               WHERE value_hash = ANY($1::bytea[]) AND purpose = ANY($2::text[]) AND recorded_at <= $3""",
            list(value_hashes),
            list(purposes),
            instant.known_at,
        )
        return as_of(((_placed_decision(row), row["erased_at"]) for row in rows), instant)


Considered = tuple[Placed[DecisionRecorded], bool]


def as_of(found: Iterable[tuple[Placed[DecisionRecorded], int]], instant: Instant) -> list[Considered]:
    """Those that had been made by then, and whether each is a grant that was erased. What is found comes with when its identifier was erased."""
    return [
        (placed, not outlives_erasure(placed.event, erased_at))
        for placed, erased_at in found
        if valid_from(placed.event) <= instant.valid_at
    ]


def counted(considered: Iterable[Considered]) -> dict[bytes, list[Placed[DecisionRecorded]]]:
    """By identifier."""
    found: dict[bytes, list[Placed[DecisionRecorded]]] = {}
    for placed, erased in considered:
        if not erased:
            found.setdefault(placed.event.identifier_hash, []).append(placed)
    return found


def _placed_decision(row: Any) -> Placed[DecisionRecorded]:
    return Placed(decode_decision(row["decision"]), row["pos"], row["recorded_at"])
