"""Which identifiers belong to one person, and belonged as consent knew it at an instant: what it keeps of the customer log."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final, NamedTuple

from services.consent.domain import links
from shared import faults
from shared.consent_rule import Bond
from shared.events import customer as customer_events
from shared.events.catalogue import Entry, EventType
from shared.instants import END_OF_TIME, Clock

# Of now only what holds is looked at; `$2` is the instant, END_OF_TIME for now.
LINKS_NOW: Final = "links"
LINKS_THEN: Final = """(SELECT value_hash, customer, likely FROM links WHERE since <= $2
    UNION ALL SELECT value_hash, customer, likely FROM past_links WHERE since <= $2 AND until > $2)"""


class Person(NamedTuple):
    """Somebody who is asked about: the core that they are of, and how all identifiers that may be theirs are, by hash."""

    core: bytes
    bonds: dict[bytes, Bond]


class Persons:
    """Tables `customers`, `links`, `past_links`, `parted` and `edges`, and in `customer_head` the last message of CUSTOMER they include."""

    def __init__(self, pool: Any, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock
        self._turn = asyncio.Lock()
        self._settled = 0

    async def consumed(self) -> int:
        """A stream sequence; 0 is nothing."""
        return int(await self._pool.fetchval("SELECT consumed FROM customer_head"))

    async def apply(
        self, entries: Sequence[Entry], consumed: int, now_consumed: int, also: Callable[[Any], Awaitable[None]], ingested: int = -1
    ) -> bool:
        """One transaction, with what is `also` part of it; False, and no effect, when the tables include something else than up to
        `consumed`. `ingested`: how far identity had read INGEST by then, if that is told."""
        async with self._turn, self._pool.acquire() as connection, connection.transaction():
            faults.reach(faults.BEFORE_POSITION)
            at = await connection.fetchval(
                """UPDATE customer_head SET consumed = $2, applied_at = greatest(applied_at + 1, $3), ingest = greatest(ingest, $4)
                   WHERE consumed = $1 RETURNING applied_at""",
                consumed,
                now_consumed,
                max(self._clock(), self._settled + 1),
                ingested,
            )
            if at is not None:
                await _apply_entries(connection, entries, at)
                await also(connection)
            faults.reach(faults.BEFORE_COMMIT)
            return at is not None

    async def settle(self, known_at: int) -> None:
        """What is known by an instant that isn't in the future stays the same from now on."""
        async with self._turn:
            self._settled = max(self._settled, known_at)

    async def customers_of(self, value_hashes: Collection[bytes], known_at: int = END_OF_TIME) -> dict[bytes, bytes]:
        """{identifier hash: customer}, of those that have one."""
        hashes = list(value_hashes)
        if known_at == END_OF_TIME:
            rows = await self._pool.fetch("SELECT value_hash, customer FROM links WHERE value_hash = ANY($1::bytea[])", hashes)
        else:
            rows = await self._pool.fetch(
                f"SELECT value_hash, customer FROM {LINKS_THEN} AS held WHERE value_hash = ANY($1::bytea[])",  # noqa: S608
                hashes,
                known_at,
            )
        return {row["value_hash"]: row["customer"] for row in rows}

    async def erased_at(self, value_hash: bytes) -> int:
        """When whoever had this identifier was last erased; -1: never."""
        found = await self._pool.fetchval("SELECT erased_at FROM erased_identifiers WHERE value_hash = $1", value_hash)
        return -1 if found is None else int(found)

    async def linked(self, namespaces: Collection[str], after: bytes, limit: int) -> list[tuple[str, bytes]]:
        """(namespace, hash) of identifiers that somebody has, by hash, from behind one on. No namespaces: of any."""
        rows = await self._pool.fetch(
            """SELECT namespace, value_hash FROM links WHERE value_hash > $1 AND (namespace = ANY($2::text[]) OR $3)
               ORDER BY value_hash LIMIT $4""",
            after,
            list(namespaces),
            not namespaces,
            limit,
        )
        return [(row["namespace"], row["value_hash"]) for row in rows]

    async def namespaces_of(self, value_hashes: Collection[bytes]) -> dict[bytes, str]:
        """Of those that somebody has."""
        rows = await self._pool.fetch(
            "SELECT value_hash, namespace FROM links WHERE value_hash = ANY($1::bytea[])", list(value_hashes)
        )
        return {row["value_hash"]: row["namespace"] for row in rows}

    async def suppressed(self, value_hashes: Collection[bytes]) -> set[bytes]:
        """Those that nobody has since whoever had them was erased."""
        rows = await self._pool.fetch(
            """SELECT value_hash FROM erased_identifiers WHERE value_hash = ANY($1::bytea[])
               AND NOT EXISTS (SELECT FROM links WHERE links.value_hash = erased_identifiers.value_hash)""",
            list(value_hashes),
        )
        return {row["value_hash"] for row in rows}

    async def left_of(self, streams: Sequence[bytes], value_hashes: Sequence[bytes]) -> tuple[int, int]:
        """Links that are left of erased customers, and decisions that are kept about their identifiers."""
        links = await self._pool.fetchval(
            """SELECT (SELECT count(*) FROM links WHERE customer = ANY($1::bytea[]))
                    + (SELECT count(*) FROM past_links WHERE customer = ANY($1::bytea[]))
                    + (SELECT count(*) FROM parted WHERE customer = ANY($1::bytea[]))""",
            list(streams),
        )
        decisions = await self._pool.fetchval(
            "SELECT count(*) FROM decisions WHERE value_hash = ANY($1::bytea[])", list(value_hashes)
        )
        return int(links), int(decisions)


async def _apply_entries(connection: Any, entries: Sequence[Entry], at: int) -> None:
    """Any of them may come again, in this batch or later, without a second effect."""
    founded = [entry.stream for entry in entries if entry.type_id == customer_events.FOUNDED.id]
    edges = _both_ways(entries, customer_events.MERGED)
    cut = _both_ways(entries, customer_events.SPLIT)
    if founded:
        await connection.execute("INSERT INTO customers SELECT unnest($1::bytea[]) ON CONFLICT DO NOTHING", founded)
    if hashes := links.named(entries):
        await _follow_links(connection, hashes, entries, at)
    if parted := _parted(entries):
        await connection.execute(
            "INSERT INTO parted SELECT c, h, $3 FROM unnest($1::bytea[], $2::bytea[]) AS gone (c, h) ON CONFLICT DO NOTHING",
            [customer for customer, _ in parted],
            [value_hash for _, value_hash in parted],
            at,
        )
    if edges:
        await connection.execute(
            """INSERT INTO edges (merge_id, customer, other, likely, since)
               SELECT *, $5 FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::bool[]) ON CONFLICT DO NOTHING""",
            [merge_id for merge_id, _, _, _ in edges],
            [customer for _, customer, _, _ in edges],
            [other for _, _, other, _ in edges],
            [likely for _, _, _, likely in edges],
            at,
        )
    if cut:
        await connection.execute(
            """INSERT INTO edges (merge_id, customer, other, likely, since, until)
               SELECT m, c, o, true, $4, $4 FROM unnest($1::bytea[], $2::bytea[], $3::bytea[]) AS gone (m, c, o)
               ON CONFLICT (customer, merge_id) DO UPDATE SET until = coalesce(edges.until, excluded.until)""",
            [merge_id for merge_id, _, _, _ in cut],
            [customer for _, customer, _, _ in cut],
            [other for _, _, other, _ in cut],
            at,
        )
    for entry in entries:
        if entry.type_id == customer_events.ERASED.id:
            await _erase(connection, entry)


async def _follow_links(connection: Any, hashes: set[bytes], entries: Sequence[Entry], at: int) -> None:
    rows = await connection.fetch("DELETE FROM links WHERE value_hash = ANY($1::bytea[]) RETURNING *", list(hashes))
    held = {row["value_hash"]: links.Link(row["customer"], row["likely"], row["since"], row["namespace"]) for row in rows}
    past = links.follow(held, entries, at)
    now = [(value_hash, *link) for value_hash, link in held.items()]
    await connection.copy_records_to_table("links", records=now, columns=("value_hash", *links.Link._fields))
    await connection.copy_records_to_table("past_links", records=past, columns=links.PastLink._fields)


def _parted(entries: Sequence[Entry]) -> list[tuple[bytes, bytes]]:
    """(customer, hash of an identifier that turned out to be shared while it was the customer's), each once."""
    found: set[tuple[bytes, bytes]] = set()
    for entry in entries:
        if entry.type_id == customer_events.SPLIT.id:
            found |= {(entry.stream, value_hash) for value_hash in entry.public().shared_hashes}
        elif entry.type_id == customer_events.UNLINKED.id and entry.public().shared:
            found.add((entry.stream, entry.public().value_hash))
    return sorted(found)


def _both_ways(entries: Sequence[Entry], kind: EventType) -> list[tuple[bytes, bytes, bytes, bool]]:
    """(merge id, customer, other, whether it is only likely), each edge from both of its ends, once."""
    public = [(entry.stream, entry.public()) for entry in entries if entry.type_id == kind.id]
    both = {
        (one.merge_id, *ends): getattr(one, "likely", True) for end, one in public for ends in ((end, one.other), (one.other, end))
    }
    return [(*edge, likely) for edge, likely in sorted(both.items())]


async def _erase(connection: Any, entry: Entry) -> None:
    """Decisions stay as evidence; that they were about one person is forgotten."""
    await connection.execute("DELETE FROM links WHERE customer = $1", entry.stream)
    await connection.execute("DELETE FROM past_links WHERE customer = $1", entry.stream)
    await connection.execute("DELETE FROM parted WHERE customer = $1", entry.stream)
    await connection.execute("UPDATE customers SET erased_at = $2 WHERE customer = $1", entry.stream, entry.occurred_at)
    await connection.execute(
        """INSERT INTO erased_identifiers (value_hash, erased_at) SELECT h, $2 FROM unnest($1::bytea[]) AS h
           ON CONFLICT (value_hash) DO UPDATE SET erased_at = greatest(erased_identifiers.erased_at, excluded.erased_at)""",
        list(entry.public().identifier_hashes),
        entry.occurred_at,
    )
