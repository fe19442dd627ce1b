"""Tables of the graph: `identifiers`, `sightings` (what was seen together), `merges`; loaded and saved by region."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.identity import former
from services.identity.decision import Kind
from services.identity.graph.conclude import Merged, Split
from services.identity.graph.facts import Evidence, Node, Pair, pair
from services.identity.graph.region import Region, Seen, Settled

SIGHTING_ID_BYTES = 16


@dataclass(slots=True)
class Loaded:
    """A region, and of what is in it the rows that aren't facts or conclusions."""

    region: Region = field(default_factory=Region)
    versions: dict[bytes, int] = field(default_factory=dict)  # of customers' streams
    canonical_of: dict[bytes, bytes] = field(default_factory=dict)
    link_ids: dict[Node, bytes] = field(default_factory=dict)
    said_in: dict[Node, bytes] = field(default_factory=dict)
    unsettled: list[bytes] = field(default_factory=list)  # what erasures left, and what is reconsidered besides
    sources: dict[bytes, str] = field(default_factory=dict)  # of the events at hand, by id
    proposals: dict[bytes, tuple[bytes, bytes]] = field(default_factory=dict)  # the open ones, by id: their customers
    forced: dict[Pair, Evidence] = field(default_factory=dict)  # when and by which decision
    forbidden: dict[Pair, Evidence] = field(default_factory=dict)

    def decide(self, kind: Kind, decided: Pair, evidence: Evidence) -> None:
        facts = self.region.facts
        if kind == "merge":
            facts.forced.add(decided)
            self.forced[decided] = evidence
        else:
            facts.forbidden.add(decided)
            self.forbidden[decided] = evidence

    def undecide(self, kind: Kind, decided: Pair) -> None:
        facts = self.region.facts
        (facts.forced if kind == "merge" else facts.forbidden).discard(decided)
        (self.forced if kind == "merge" else self.forbidden).pop(decided, None)


def sighting_id(hashes: Iterable[bytes]) -> bytes:
    return hashlib.sha256(b"".join(sorted(hashes))).digest()[:SIGHTING_ID_BYTES]


async def known(pool: Any, seen: Sequence[Seen]) -> dict[Seen, bytes]:
    """Of what is known with no later evidence: the customer that it resolves to."""
    owners = {
        row["value_hash"]: row["customer"]
        for row in await pool.fetch(
            "SELECT value_hash, customer FROM unnest($1::bytea[]) AS seen (value_hash) JOIN identifiers USING (value_hash) WHERE own",
            list({one.resolving.value_hash for one in seen}),
        )
    }
    ids = {one: sighting_id(node.value_hash for node in one.nodes) for one in seen if len(one.nodes) > 1}
    rows = await pool.fetch(
        """SELECT sighting_id, occurred_at, event_id FROM unnest($1::bytea[]) AS seen (sighting_id)
           JOIN sightings USING (sighting_id)""",
        list(set(ids.values())),
    )
    evidence = {row["sighting_id"]: Evidence(row["occurred_at"], row["event_id"]) for row in rows}
    return {
        one: owners[one.resolving.value_hash]
        for one in seen
        if one.resolving.value_hash in owners and (one not in ids or (ids[one] in evidence and evidence[ids[one]] <= one.evidence))
    }


async def load(
    pool: Any,
    touched: Collection[bytes],
    next_founding_number: int,
    reconsidered: Collection[bytes] = (),
    again: Collection[Seen] = (),
) -> Loaded:
    """All that facts about these identifiers, and what erasures left unsettled, can change; all are value hashes.

    Of what is reconsidered, and of what is unsettled, every fact is loaded, also when it is shared. What is seen `again` may be
    a fact of shared identifiers alone, which is in no component: it is loaded for its evidence, which may be the earlier.
    """
    loaded = Loaded()
    unsettled = {row["value_hash"] for row in await pool.fetch("SELECT value_hash FROM unsettled")} | set(reconsidered)
    loaded.unsettled = sorted(unsettled)
    rows = await _identifiers(pool, unsettled | set(touched))
    around = await _sightings_of(pool, [row["value_hash"] for row in rows if row["shared"] and row["value_hash"] in unsettled])
    rows += await _identifiers(pool, {h for row in around for h in row["nodes"]} - {row["value_hash"] for row in rows})
    components = list({row["component"] for row in rows if row["component"]})
    rows += await pool.fetch("SELECT * FROM identifiers WHERE component = ANY($1::bytea[])", components) if components else []
    seen = list(around)
    if ids := {sighting_id(node.value_hash for node in one.nodes) for one in again if len(one.nodes) > 1}:
        seen += await pool.fetch("SELECT * FROM sightings WHERE sighting_id = ANY($1::bytea[])", list(ids))
    seen += await pool.fetch("SELECT * FROM sightings WHERE component = ANY($1::bytea[])", components) if components else []
    inside = {row["value_hash"] for row in rows}
    periphery = await _identifiers(pool, {h for row in seen for h in row["nodes"]} - inside)
    nodes = {row["value_hash"]: Node(row["namespace"], row["value_hash"]) for row in (*rows, *periphery)}
    _take_identifiers(loaded, rows, nodes)
    loaded.region.shared |= {nodes[row["value_hash"]] for row in periphery if row["shared"]}
    loaded.region.reconsidered = {node for node in loaded.region.shared if node.value_hash in unsettled}
    for row in seen:
        together = frozenset(nodes[value_hash] for value_hash in row["nodes"])
        loaded.region.facts.together[together] = Evidence(row["occurred_at"], row["event_id"])
        if row["component"]:
            loaded.region.component_of_sighting[together] = row["component"]
    loaded.region.known.next_founding_number = next_founding_number
    await _load_decisions(pool, loaded, {row["value_hash"]: nodes[row["value_hash"]] for row in rows})
    await _load_customers(pool, loaded)
    return loaded


def _take_identifiers(loaded: Loaded, rows: Iterable[Any], nodes: Mapping[bytes, Node]) -> None:
    region = loaded.region
    for row in rows:
        node = nodes[row["value_hash"]]
        if row["customer"]:
            region.known.links[node] = row["customer"]
            loaded.link_ids[node] = row["link_id"]
        if row["own"]:
            region.known.own[node] = row["customer"]
        if row["shared"]:
            region.shared.add(node)
        if row["component"]:
            region.component_of[node] = row["component"]
        if row["said_in"]:
            loaded.said_in[node] = row["said_in"]


async def _load_decisions(pool: Any, loaded: Loaded, inside: Mapping[bytes, Node]) -> None:
    """Those with both ends inside: a forbidden pair says nothing about one of them alone, and a forced one is one component."""
    rows = await pool.fetch(
        """SELECT kind, one, other, decided_at, decision_id FROM decisions
           WHERE withdrawn_at IS NULL AND one = ANY($1::bytea[]) AND other = ANY($1::bytea[])""",
        list(inside),
    )
    for row in rows:
        decided = pair(inside[row["one"]], inside[row["other"]])
        loaded.decide(row["kind"], decided, Evidence(row["decided_at"], row["decision_id"]))


async def _load_customers(pool: Any, loaded: Loaded) -> None:
    known = loaded.region.known
    customers = list(set(known.links.values()))
    if not customers:
        return
    rows = await pool.fetch(
        "SELECT customer, founding_number, canonical, version FROM customers WHERE customer = ANY($1::bytea[])", customers
    )
    for row in rows:
        known.founding_numbers[row["customer"]] = row["founding_number"]
        loaded.versions[row["customer"]] = row["version"]
        loaded.canonical_of[row["customer"]] = row["canonical"]
    for row in await pool.fetch(
        """SELECT proposal_id, customer, other FROM proposals
           WHERE customer = ANY($1::bytea[]) AND other = ANY($1::bytea[]) AND state = 'open'""",
        customers,
    ):
        loaded.proposals[row["proposal_id"]] = row["customer"], row["other"]
    for row in await pool.fetch("SELECT merge_id, customer, other FROM merges WHERE customer = ANY($1::bytea[])", customers):
        known.edges[row["merge_id"]] = row["customer"], row["other"]


async def _identifiers(pool: Any, hashes: Collection[bytes]) -> list[Any]:
    if not hashes:
        return []
    rows: list[Any] = await pool.fetch(
        "SELECT * FROM unnest($1::bytea[]) AS wanted (value_hash) JOIN identifiers USING (value_hash)", list(hashes)
    )
    return rows


async def _sightings_of(pool: Any, hashes: Collection[bytes]) -> list[Any]:
    if not hashes:
        return []
    rows: list[Any] = await pool.fetch("SELECT * FROM sightings WHERE nodes && $1::bytea[]", list(hashes))
    return rows


async def save(connection: Any, loaded: Loaded, settled: Settled, recorded_at: int) -> None:
    """In the transaction that makes the conclusions known, at `recorded_at`."""
    await _save_sightings(connection, loaded, settled.sightings, recorded_at)
    await _save_identifiers(connection, loaded, settled.nodes)
    await former.keep_links(connection, settled.conclusions)
    await _save_merges(connection, settled)
    await _save_customers(connection, loaded)
    if loaded.unsettled:
        await connection.execute("DELETE FROM unsettled WHERE value_hash = ANY($1::bytea[])", loaded.unsettled)


async def _save_sightings(connection: Any, loaded: Loaded, changed: Iterable[frozenset[Node]], recorded_at: int) -> None:
    region, rows, seen = loaded.region, [], []
    for together in changed:
        evidence, found = region.facts.together[together], sighting_id(node.value_hash for node in together)
        source = loaded.sources.get(evidence.event_id, "")
        if source:
            seen.append((found, evidence.event_id))
        hashes = sorted(node.value_hash for node in together)
        rows.append((found, hashes, *evidence, source, recorded_at, region.component_of_sighting.get(together)))
    if seen:
        await former.keep_evidence(connection, seen)
    if not rows:
        return
    # Evidence that isn't of the events at hand is what is stored already: then only the component is another one.
    await connection.executemany(
        """INSERT INTO sightings AS known (sighting_id, nodes, occurred_at, event_id, source, recorded_at, component)
           VALUES ($1, $2, $3, $4, $5, $6, $7)
           ON CONFLICT (sighting_id) DO UPDATE
           SET occurred_at = excluded.occurred_at, event_id = excluded.event_id, component = excluded.component,
               source = CASE WHEN excluded.event_id = known.event_id THEN known.source ELSE excluded.source END,
               recorded_at = CASE WHEN excluded.event_id = known.event_id THEN known.recorded_at ELSE excluded.recorded_at END""",
        rows,
    )


async def _save_identifiers(connection: Any, loaded: Loaded, changed: Collection[Node]) -> None:
    region, nodes = loaded.region, sorted(changed)
    if not nodes:
        return
    await connection.execute(
        """INSERT INTO identifiers (value_hash, namespace, customer, link_id, own, shared, component, said_in)
           SELECT * FROM unnest($1::bytea[], $2::text[], $3::bytea[], $4::bytea[], $5::bool[], $6::bool[], $7::bytea[], $8::bytea[])
           ON CONFLICT (value_hash) DO UPDATE
           SET customer = excluded.customer, link_id = excluded.link_id, own = excluded.own, shared = excluded.shared,
               component = excluded.component, said_in = excluded.said_in""",
        [node.value_hash for node in nodes],
        [node.namespace for node in nodes],
        [region.known.links.get(node) for node in nodes],
        [loaded.link_ids.get(node) for node in nodes],
        [node in region.known.own for node in nodes],
        [node in region.shared for node in nodes],
        [region.component_of.get(node) for node in nodes],
        [loaded.said_in.get(node) for node in nodes],
    )


async def _save_merges(connection: Any, settled: Settled) -> None:
    made = [conclusion for conclusion in settled.conclusions if isinstance(conclusion, Merged)]
    undone = [conclusion.merge_id for conclusion in settled.conclusions if isinstance(conclusion, Split)]
    if undone:
        await connection.execute("DELETE FROM merges WHERE merge_id = ANY($1::bytea[])", undone)
    if made:
        await connection.execute(
            "INSERT INTO merges (merge_id, customer, other) SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[])",
            [merged.merge_id for merged in made],
            [merged.customer for merged in made],
            [merged.other for merged in made],
        )


async def _save_customers(connection: Any, loaded: Loaded) -> None:
    known = loaded.region.known
    canonical_of = known.canonical()
    rows = sorted(
        customer
        for customer in known.founding_numbers
        if loaded.canonical_of.get(customer) != canonical_of[customer] or customer in loaded.versions
    )
    await connection.execute(
        """INSERT INTO customers (customer, founding_number, canonical, version)
           SELECT * FROM unnest($1::bytea[], $2::int8[], $3::bytea[], $4::int8[])
           ON CONFLICT (customer) DO UPDATE SET canonical = excluded.canonical, version = excluded.version
           WHERE customers.canonical <> excluded.canonical OR customers.version <> excluded.version""",
        rows,
        [known.founding_numbers[customer] for customer in rows],
        [canonical_of[customer] for customer in rows],
        [loaded.versions.get(customer, 0) for customer in rows],
    )


async def forget(connection: Any, customers: Sequence[bytes], hashes: Sequence[bytes]) -> None:
    """What is erased was never seen; what it was seen with has to be settled anew."""
    await connection.execute("DELETE FROM identifiers WHERE customer = ANY($1::bytea[])", list(customers))
    await connection.execute("UPDATE identifiers SET said_in = NULL WHERE said_in = ANY($1::bytea[])", list(customers))
    await connection.execute("DELETE FROM merges WHERE customer = ANY($1::bytea[]) OR other = ANY($1::bytea[])", list(customers))
    await former.forget(connection, customers, hashes)
    await connection.execute(
        """WITH gone AS (DELETE FROM sightings WHERE nodes && $1::bytea[] RETURNING nodes),
                undecided AS (
                    DELETE FROM decisions WHERE one = ANY($1::bytea[]) OR other = ANY($1::bytea[])
                        OR customer = ANY($2::bytea[]) OR other_customer = ANY($2::bytea[])
                    RETURNING ARRAY[one, other] AS nodes
                )
           INSERT INTO unsettled
           (SELECT unnest(nodes) FROM gone UNION SELECT unnest(nodes) FROM undecided) EXCEPT SELECT unnest($1::bytea[])
           ON CONFLICT DO NOTHING""",
        list(hashes),
        list(customers),
    )
