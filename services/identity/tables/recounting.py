"""Looks again at the sightings that say whether a value is shared, and what it links; no others of it are loaded."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from services.identity.graph.crowding import told_by
from services.identity.graph.facts import Evidence, Facts, Node
from services.identity.graph.region import Seen
from services.identity.graph.rules import Rules


class Recounted(NamedTuple):
    """`rows` are the stored sightings that it takes part in, none when it is shared as before; as to `told_by`, `crowding`."""

    shared: bool
    told_by: Evidence | None
    rows: list[Any]


def told_of(row: Any) -> Evidence | None:
    """Of a row of `identifiers`."""
    return None if row["told_at"] is None else Evidence(row["told_at"], row["told_event"])


def earliest(seen: Iterable[Seen]) -> dict[bytes, Evidence]:
    """By value hash: the earliest of these events that saw it."""
    found: dict[bytes, Evidence] = {}
    for one in seen:
        for node in one.nodes:
            found[node.value_hash] = min(one.evidence, found.get(node.value_hash, one.evidence))
    return found


async def first_sightings(pool: Any, hashes: Collection[bytes], rules: Rules) -> list[Any]:
    """Rows of `sightings`, each with the value whose it is as `wanted`; the earliest of each value."""
    if not hashes:
        return []
    rows: list[Any] = await pool.fetch(
        """SELECT wanted.h AS wanted, seen.* FROM unnest($1::bytea[]) AS wanted (h) CROSS JOIN LATERAL (
               SELECT * FROM sightings WHERE nodes @> ARRAY[wanted.h] ORDER BY occurred_at, event_id LIMIT $2
           ) AS seen""",
        list(hashes),
        rules.max_sightings,
    )
    return rows


def recount(
    wanted: Mapping[bytes, bool], rows: Sequence[Any], nodes: Mapping[bytes, Node], again: Sequence[Seen], rules: Rules
) -> dict[bytes, Recounted]:
    """`wanted` says of each whether it is shared as it is stored; `rows` are their `first_sightings`, `nodes` all that are in them.

    `again` are sightings that come now.
    """
    mine: dict[bytes, list[Any]] = {value_hash: [] for value_hash in wanted if value_hash in nodes}
    for row in rows:
        mine[row["wanted"]].append(row)
    found = {}
    for value_hash, stored in mine.items():
        facts = Facts({frozenset(nodes[h] for h in row["nodes"]): Evidence(row["occurred_at"], row["event_id"]) for row in stored})
        for one in again:
            if nodes[value_hash] in one.nodes:
                facts.see(one.nodes, one.evidence)
        shared, last = told_by(nodes[value_hash], facts, rules)
        found[value_hash] = Recounted(shared, last, [] if shared and wanted[value_hash] else stored)
    return found
