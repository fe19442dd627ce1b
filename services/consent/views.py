"""Consent's read models: purposes, decisions, and which identifiers belong to one person."""

from collections.abc import Iterable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from services.consent.domain import NOW, Instant
from shared import faults
from shared.errors import NotFound, TooLarge, WrongState
from shared.events import customer as customer_events
from shared.events.catalogue import Entry, EventType, encode
from shared.events.consent import DecisionRecorded, PurposeDefined, outlives_erasure
from shared.ids import to_text
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

    async def about(self, purpose: str, value_hashes: Iterable[bytes], instant: Instant = NOW) -> list[DecisionRecorded]:
        """Those that count as of an instant: a grant that was erased is evidence and nothing else, whatever the instant."""
        rows = await self._pool.fetch(
            """SELECT decision, coalesce(erased_at, -1) AS erased_at FROM decisions LEFT JOIN erased_identifiers USING (value_hash)
               WHERE value_hash = ANY($1::bytea[]) AND purpose = $2 AND recorded_at <= $3""",
            list(value_hashes),
            purpose,
            instant.known_at,
        )
        decided = [(decode_decision(row["decision"]), row["erased_at"]) for row in rows]
        return [
            decision
            for decision, erased_at in decided
            if decision.decided_at <= instant.valid_at and outlives_erasure(decision, erased_at)
        ]


def _placed_decision(row: Any) -> Placed[DecisionRecorded]:
    return Placed(decode_decision(row["decision"]), row["pos"], row["recorded_at"])


class Persons:
    """Tables `customers`, `links` and `edges`, and in `customer_head` the last message of CUSTOMER they include."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def consumed(self) -> int:
        """A stream sequence; 0 is nothing."""
        return int(await self._pool.fetchval("SELECT consumed FROM customer_head"))

    async def apply(self, entries: Sequence[Entry], consumed: int, now_consumed: int) -> bool:
        """One transaction; False, and no effect, when the tables include something else than up to `consumed`."""
        async with self._pool.acquire() as connection, connection.transaction():
            faults.reach(faults.BEFORE_POSITION)
            moved = await connection.fetchval(
                "UPDATE customer_head SET consumed = $2 WHERE consumed = $1 RETURNING true", consumed, now_consumed
            )
            if moved:
                await _apply_entries(connection, entries)
            faults.reach(faults.BEFORE_COMMIT)
            return bool(moved)

    async def customer_of(self, value_hash: bytes) -> bytes | None:
        found: bytes | None = await self._pool.fetchval("SELECT customer FROM links WHERE value_hash = $1", value_hash)
        return found

    async def require(self, customer: bytes) -> None:
        """Raises NotFound (CUSTOMER_UNKNOWN), WrongState (CUSTOMER_ERASED)."""
        row = await self._pool.fetchrow("SELECT erased_at FROM customers WHERE customer = $1", customer)
        if row is None:
            raise NotFound("no customer ever had this id", reason="CUSTOMER_UNKNOWN", customer_id=to_text(customer))
        if row["erased_at"] is not None:
            raise WrongState("this customer was erased", reason="CUSTOMER_ERASED", customer_id=to_text(customer))

    async def left_of(self, streams: Sequence[bytes], value_hashes: Sequence[bytes]) -> tuple[int, int]:
        """Links that are left of erased customers, and decisions that are kept about their identifiers."""
        links = await self._pool.fetchval("SELECT count(*) FROM links WHERE customer = ANY($1::bytea[])", list(streams))
        decisions = await self._pool.fetchval(
            "SELECT count(*) FROM decisions WHERE value_hash = ANY($1::bytea[])", list(value_hashes)
        )
        return int(links), int(decisions)

    async def identifiers_of(self, customer: bytes) -> list[bytes]:
        """Hashes of the identifiers of all customers that edges join to this one."""
        rows = await self._pool.fetch(
            """WITH RECURSIVE joined (customer) AS (
                   SELECT $1::bytea UNION SELECT other FROM edges JOIN joined USING (customer) WHERE NOT cut
               )
               SELECT value_hash FROM links JOIN joined USING (customer)""",
            customer,
        )
        return [row["value_hash"] for row in rows]


async def _apply_entries(connection: Any, entries: Sequence[Entry]) -> None:
    """Any of them may come again, in this batch or later, without a second effect."""
    founded = [entry.stream for entry in entries if entry.type_id == customer_events.FOUNDED.id]
    linked, unlinked = _links(entries)
    edges = _both_ways(entries, customer_events.MERGED)
    cut = _both_ways(entries, customer_events.SPLIT)
    if founded:
        await connection.execute("INSERT INTO customers SELECT unnest($1::bytea[]) ON CONFLICT DO NOTHING", founded)
    if unlinked:
        await connection.execute(
            """DELETE FROM links USING unnest($1::bytea[], $2::bytea[]) AS gone (h, c) WHERE value_hash = h AND customer = c""",
            list(unlinked),
            list(unlinked.values()),
        )
    if linked:
        await connection.execute(
            """INSERT INTO links (value_hash, customer) SELECT * FROM unnest($1::bytea[], $2::bytea[])
               ON CONFLICT (value_hash) DO UPDATE SET customer = excluded.customer""",
            list(linked),
            list(linked.values()),
        )
    if edges:
        await connection.execute(
            """INSERT INTO edges (merge_id, customer, other) SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[])
               ON CONFLICT DO NOTHING""",
            [merge_id for merge_id, _, _ in edges],
            [customer for _, customer, _ in edges],
            [other for _, _, other in edges],
        )
    if cut:
        await connection.execute(
            """INSERT INTO edges (merge_id, customer, other, cut) SELECT m, c, o, true FROM unnest($1::bytea[], $2::bytea[], $3::bytea[])
               AS gone (m, c, o) ON CONFLICT (customer, merge_id) DO UPDATE SET cut = true""",
            [merge_id for merge_id, _, _ in cut],
            [customer for _, customer, _ in cut],
            [other for _, _, other in cut],
        )
    for entry in entries:
        if entry.type_id == customer_events.ERASED.id:
            await _erase(connection, entry)


def _links(entries: Sequence[Entry]) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
    """{identifier hash: customer} of what is linked in the end, and of what is linked to that customer no more."""
    linked: dict[bytes, bytes] = {}
    unlinked: dict[bytes, bytes] = {}
    for entry in entries:
        if entry.type_id == customer_events.LINKED.id:
            linked[entry.public().value_hash] = entry.stream
        elif entry.type_id == customer_events.UNLINKED.id:
            value_hash = entry.public().value_hash
            unlinked[value_hash] = entry.stream
            if linked.get(value_hash) == entry.stream:
                del linked[value_hash]
    return linked, unlinked


def _both_ways(entries: Sequence[Entry], kind: EventType) -> list[tuple[bytes, bytes, bytes]]:
    """(merge id, customer, other), each edge from both of its ends, once."""
    public = [(entry.stream, entry.public()) for entry in entries if entry.type_id == kind.id]
    return sorted({(edge.merge_id, *ends) for one, edge in public for ends in ((one, edge.other), (edge.other, one))})


async def _erase(connection: Any, entry: Entry) -> None:
    """Decisions stay as evidence; that they were about one person is forgotten."""
    await connection.execute("DELETE FROM links WHERE customer = $1", entry.stream)
    await connection.execute("UPDATE customers SET erased_at = $2 WHERE customer = $1", entry.stream, entry.occurred_at)
    await connection.execute(
        """INSERT INTO erased_identifiers (value_hash, erased_at) SELECT h, $2 FROM unnest($1::bytea[]) AS h
           ON CONFLICT (value_hash) DO UPDATE SET erased_at = greatest(erased_identifiers.erased_at, excluded.erased_at)""",
        list(entry.public().identifier_hashes),
        entry.occurred_at,
    )
