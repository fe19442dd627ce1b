"""Table `waiting_sightings`: what events saw together that is settled behind them. It is no fact of the graph until it is.

Values are sealed each by itself, under the key of the customer with whom the event stands: an erasure takes out what is of the erased, and
what only they were seen with. What others were seen with stays a fact; its value is said where it stands with those.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from services.identity.graph.facts import Evidence, Node
from services.identity.graph.region import Seen
from services.identity.graph.rules import Rules
from services.identity.tables.regions import sighting_id
from shared.vault import DataKey, EnvelopeBroken


class Waiting(NamedTuple):
    """`sealed` are the values of the identifiers, in their order; `customer` is whose key they are sealed under."""

    sighting_id: bytes
    value_hashes: list[bytes]
    namespaces: list[str]
    sealed: list[bytes]
    customer: bytes
    occurred_at: int
    event_id: bytes
    source: str
    since: int

    def seen(self, rules: Rules) -> Seen:
        nodes = [Node(name, value_hash) for name, value_hash in zip(self.namespaces, self.value_hashes, strict=True)]
        nodes.sort(key=lambda node: (node.value_hash in rules.blocked, rules.rank(node.namespace), node))
        return Seen(tuple(nodes), Evidence(self.occurred_at, self.event_id), placed=True)

    def values(self, keys: Mapping[bytes, DataKey]) -> dict[bytes, str]:
        """By hash, as far as there is a key that opens them."""
        key, found = keys.get(self.customer), dict[bytes, str]()
        for value_hash, sealed in zip(self.value_hashes, self.sealed, strict=True) if key else ():
            if not sealed:  # it is said already, where it was linked
                continue
            try:
                found[value_hash] = key.open(sealed, value_hash).decode()  # type: ignore[union-attr]
            except EnvelopeBroken:
                continue
        return found

    def without(self, erased: Collection[bytes]) -> "Waiting":
        left = [n for n, value_hash in enumerate(self.value_hashes) if value_hash not in erased]
        hashes = [self.value_hashes[n] for n in left]
        return self._replace(
            sighting_id=sighting_id(hashes),
            value_hashes=hashes,
            namespaces=[self.namespaces[n] for n in left],
            sealed=[self.sealed[n] for n in left],
        )


def waiting(seen: Seen, values: Mapping[bytes, str], customer: bytes, key: DataKey, source: str, now: int) -> Waiting:
    hashes = [node.value_hash for node in seen.nodes]
    return Waiting(
        sighting_id(hashes),
        hashes,
        [node.namespace for node in seen.nodes],
        [key.seal(values[value_hash].encode(), value_hash) for value_hash in hashes],
        customer,
        *seen.evidence,
        source,
        now,
    )


async def put(connection: Any, rows: Sequence[Waiting]) -> None:
    """Of what waits already, the earliest event stays."""
    if rows:
        await connection.executemany(
            """INSERT INTO waiting_sightings AS known
                   (sighting_id, value_hashes, namespaces, sealed, customer, occurred_at, event_id, source, since)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
               ON CONFLICT (sighting_id) DO UPDATE
               SET value_hashes = excluded.value_hashes, namespaces = excluded.namespaces, sealed = excluded.sealed,
                   customer = excluded.customer, occurred_at = excluded.occurred_at, event_id = excluded.event_id,
                   source = excluded.source
               WHERE (excluded.occurred_at, excluded.event_id) < (known.occurred_at, known.event_id)""",
            rows,
        )


async def page(pool: Any, limit: int) -> list[Waiting]:
    """Those that wait longest."""
    rows = await pool.fetch("SELECT * FROM waiting_sightings ORDER BY since, sighting_id LIMIT $1", limit)
    return [_waiting(row) for row in rows]


async def with_others(pool: Any, hashes: Collection[bytes]) -> list[Waiting]:
    """For each of these identifiers a sighting of it that stands with somebody who isn't erased."""
    rows = await pool.fetch(
        """SELECT DISTINCT ON (seen.value_hash) waiting_sightings.* FROM waiting_sightings
           CROSS JOIN LATERAL unnest(value_hashes) AS seen (value_hash) JOIN customers USING (customer)
           WHERE value_hashes && $1::bytea[] AND seen.value_hash = ANY($1::bytea[]) AND erased_by IS NULL""",
        list(hashes),
    )
    return [_waiting(row) for row in rows]


async def only_with(pool: Any, customers: Collection[bytes], hashes: Collection[bytes]) -> dict[bytes, list[bytes]]:
    """What nobody was seen with but these customers, whose identifiers are `hashes`, and waits to be theirs; by customer."""
    rows = await pool.fetch(
        """SELECT DISTINCT ON (seen.value_hash) seen.value_hash, mine.customer FROM waiting_sightings AS mine
           CROSS JOIN LATERAL unnest(value_hashes) AS seen (value_hash)
           WHERE value_hashes && $2::bytea[] AND customer = ANY($1::bytea[])
             AND NOT EXISTS (SELECT FROM identifiers WHERE identifiers.value_hash = seen.value_hash)
             AND NOT EXISTS (SELECT FROM waiting_sightings AS other
                             WHERE other.value_hashes @> ARRAY[seen.value_hash] AND other.customer <> ALL ($1::bytea[]))
           ORDER BY seen.value_hash, mine.customer""",
        list(customers),
        list(hashes),
    )
    found: dict[bytes, list[bytes]] = {}
    for row in rows:
        found.setdefault(row["customer"], []).append(row["value_hash"])
    return found


async def count(pool: Any) -> int:
    return int(await pool.fetchval("SELECT count(*) FROM waiting_sightings"))


async def count_all(pool: Any) -> int:
    """With the identifiers that matches and erasures left."""
    return int(await pool.fetchval("SELECT (SELECT count(*) FROM waiting_sightings) + (SELECT count(*) FROM unsettled)"))


async def settled(connection: Any, rows: Sequence[Waiting]) -> None:
    """They wait no longer, unless an earlier event came meanwhile."""
    await connection.execute(
        """DELETE FROM waiting_sightings AS known USING unnest($1::bytea[], $2::bytea[]) AS done (sighting_id, event_id)
           WHERE known.sighting_id = done.sighting_id AND known.event_id = done.event_id""",
        [row.sighting_id for row in rows],
        [row.event_id for row in rows],
    )


async def forget(connection: Any, erased: Collection[bytes]) -> None:
    """Takes these identifiers out; what is seen alone is no fact."""
    rows = await connection.fetch("DELETE FROM waiting_sightings WHERE value_hashes && $1::bytea[] RETURNING *", list(erased))
    gone = set(erased)
    left = [_waiting(row).without(gone) for row in rows]
    await put(connection, [row for row in left if len(row.value_hashes) > 1])


def _waiting(row: Any) -> Waiting:
    return Waiting(*(row[name] for name in Waiting._fields))
