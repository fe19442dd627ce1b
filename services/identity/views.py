"""Identity's read models: the graph by identifier and by customer, and proposals."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from services.identity import erasures
from services.identity.domain import KNOWN_PERSON, Cluster, Conclusion, Founded, Graph, Linked, Merged, Proposed, Sighting
from shared.errors import NotFound, WrongState
from shared.identifiers import DEVICES
from shared.ids import to_text


async def load_graph(pool: Any, sightings: Sequence[Sighting], next_founding_number: int) -> tuple[Graph, dict[bytes, int]]:
    """The part of the graph that a unit of sightings touches, and the version of each customer's stream that may change.

    A sighting can change only clusters that it sees together, or with something unknown: only those are loaded in full.
    """
    graph = Graph(next_founding_number=next_founding_number)
    canonical_of: dict[bytes, bytes] = {}  # by identifier hash
    clusters: dict[bytes, Cluster] = {}  # by canonical customer
    hashes = {value_hash for sighting in sightings for value_hash, _ in sighting.identifiers}
    graph.suppressions = await erasures.suppressions(pool, hashes)
    for row in await _linked(pool, hashes):
        canonical_of[row["value_hash"]] = row["canonical"]
        graph.links[row["value_hash"]] = row["customer"]
        graph.founding_numbers[row["customer"]] = row["founding_number"]
        graph.clusters[row["customer"]] = clusters.setdefault(row["canonical"], Cluster(row["canonical"], set()))
        clusters[row["canonical"]].members.add(row["customer"])
    rows = await _members(pool, _may_change(sightings, canonical_of))
    for row in rows:
        cluster = clusters[row["canonical"]]
        cluster.members.add(row["customer"])
        cluster.known_people.update(row["known_people"] or ())
        cluster.size += row["size"]
        cluster.named |= row["named"]
        graph.clusters[row["customer"]] = cluster
        graph.founding_numbers[row["customer"]] = row["founding_number"]
    graph.proposals = await _proposals_among(pool, [row["customer"] for row in rows])
    return graph, {row["customer"]: row["version"] for row in rows}


def _may_change(sightings: Iterable[Sighting], canonical_of: Mapping[bytes, bytes]) -> set[bytes]:
    """Canonical customers of the clusters that are seen together with another one, or with something unknown."""
    touched: set[bytes] = set()
    for sighting in sightings:
        seen = {canonical_of.get(value_hash) for value_hash, _ in sighting.identifiers}
        if len(seen) > 1:
            touched |= {canonical for canonical in seen if canonical is not None}
    return touched


async def _linked(pool: Any, hashes: Collection[bytes]) -> Any:
    return await pool.fetch(
        """SELECT value_hash, customer, canonical, founding_number FROM unnest($1::bytea[]) AS seen (value_hash)
           JOIN identifiers USING (value_hash) JOIN customers USING (customer)""",
        list(hashes),
    )


async def _members(pool: Any, canonicals: Collection[bytes]) -> Any:
    return await pool.fetch(
        """SELECT c.customer, c.founding_number, c.canonical, c.version, count(value_hash) AS size,
                  array_agg(value_hash) FILTER (WHERE namespace = $2) AS known_people,
                  coalesce(bool_or(namespace <> ALL ($3)), false) AS named
           FROM unnest($1::bytea[]) AS touched (canonical)
           JOIN customers AS c ON c.canonical = touched.canonical LEFT JOIN identifiers AS i ON i.customer = c.customer
           GROUP BY c.customer""",
        list(canonicals),
        KNOWN_PERSON,
        list(DEVICES),
    )


async def _proposals_among(pool: Any, customers: Collection[bytes]) -> set[tuple[bytes, bytes]]:
    rows = await pool.fetch(
        "SELECT customer, other FROM unnest($1::bytea[]) AS touched (customer) JOIN proposals USING (customer)", list(customers)
    )
    return {(row["customer"], row["other"]) for row in rows}


async def apply(
    connection: Any,
    conclusions: Sequence[tuple[bytes, Conclusion]],
    graph: Graph,
    versions: dict[bytes, int],
    at: tuple[int, int],
) -> None:
    """Writes (cause, conclusion)s of one unit; `at` is (first position, recorded at)."""
    if not conclusions:
        return
    touched = {customer for _, conclusion in conclusions for customer in _customers(conclusion, graph)}
    await _apply_customers(connection, touched, graph, versions)
    linked = [x for _, x in conclusions if isinstance(x, Linked)]
    await connection.execute(
        "INSERT INTO identifiers (value_hash, namespace, customer) SELECT * FROM unnest($1::bytea[], $2::text[], $3::bytea[])",
        [x.value_hash for x in linked],
        [x.identifier.namespace for x in linked],
        [x.customer for x in linked],
    )
    for cause, x in conclusions:
        if isinstance(x, Proposed):
            await connection.execute(
                """INSERT INTO proposals (proposal_id, customer, other, reason, cause, proposed_at, pos)
                   VALUES ($1, $2, $3, $4, $5, $6, $7)""",
                x.proposal_id,
                x.customer,
                x.other,
                x.reason,
                cause,
                at[1],
                at[0],
            )


def _customers(conclusion: Conclusion, graph: Graph) -> set[bytes]:
    """The customers whose row a conclusion changes: a merge gives a whole cluster its canonical customer."""
    match conclusion:
        case Merged(_, customer, _):
            return graph.clusters[customer].members
        case Founded() | Linked():
            return {conclusion.customer}
        case Proposed():
            return {conclusion.customer, conclusion.other}


async def _apply_customers(connection: Any, customers: Iterable[bytes], graph: Graph, versions: dict[bytes, int]) -> None:
    rows = sorted(customers)
    await connection.execute(
        """INSERT INTO customers (customer, founding_number, canonical, version)
           SELECT * FROM unnest($1::bytea[], $2::int8[], $3::bytea[], $4::int8[])
           ON CONFLICT (customer) DO UPDATE SET canonical = excluded.canonical, version = excluded.version""",
        rows,
        [graph.founding_numbers[customer] for customer in rows],
        [graph.clusters[customer].canonical for customer in rows],
        [versions[customer] for customer in rows],
    )


async def next_founding_number(pool: Any) -> int:
    newest = await pool.fetchval("SELECT max(founding_number) FROM customers")
    return 0 if newest is None else int(newest) + 1


class Resolved(msgspec.Struct, frozen=True):
    customer: bytes
    canonical: bytes


async def resolve(pool: Any, value_hash: bytes) -> Resolved | None:
    row = await pool.fetchrow(
        "SELECT customer, canonical FROM identifiers JOIN customers USING (customer) WHERE value_hash = $1", value_hash
    )
    return Resolved(row["customer"], row["canonical"]) if row else None


async def members(pool: Any, customer: bytes) -> list[bytes]:
    """All customers of the cluster that `customer` is in, oldest first; none when there is no such customer."""
    rows = await pool.fetch(
        """SELECT customer FROM customers WHERE canonical = (SELECT canonical FROM customers WHERE customer = $1)
           ORDER BY founding_number""",
        customer,
    )
    return [row["customer"] for row in rows]


async def present_members(pool: Any, customer: bytes) -> list[bytes]:
    """As `members`. Raises NotFound (CUSTOMER_UNKNOWN), WrongState (CUSTOMER_ERASED)."""
    found = await members(pool, customer)
    if not found:
        raise NotFound("no customer ever had this id", reason="CUSTOMER_UNKNOWN", customer_id=to_text(customer))
    if (erasure_id := await erasures.erased_by(pool, customer)) is not None:
        raise WrongState("this customer was erased", reason="CUSTOMER_ERASED", erasure_id=to_text(erasure_id))
    return found


class ProposalRow(msgspec.Struct, frozen=True):
    proposal_id: bytes
    customer: bytes
    other: bytes
    reason: str
    cause: bytes
    proposed_at: int
    pos: int


async def proposals(pool: Any, after: tuple[int, bytes], limit: int) -> list[ProposalRow]:
    """Oldest first, after (position, proposal id)."""
    rows = await pool.fetch(
        "SELECT * FROM proposals WHERE (pos, proposal_id) > ($1, $2) ORDER BY pos, proposal_id LIMIT $3",
        after[0],
        after[1],
        limit,
    )
    return [ProposalRow(**dict(row)) for row in rows]
