"""What was seen before as it is seen again: it changes nothing."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from services.identity.graph.facts import Evidence
from services.identity.graph.region import Seen
from services.identity.tables.regions import sighting_id


class Known(NamedTuple):
    """`customers` to which events resolve that saw what is known with no later evidence, or one identifier alone, by event id; `alone`: by
    hash, the earliest events that are in no sighting and resolved by it."""

    customers: dict[bytes, bytes]
    alone: dict[bytes, int]


async def known(pool: Any, seen: Sequence[Seen]) -> Known:
    found = {
        row["value_hash"]: row
        for row in await pool.fetch(
            "SELECT value_hash, customer, alone_at FROM unnest($1::bytea[]) AS seen (value_hash) JOIN identifiers USING (value_hash) WHERE resolving",
            list({one.resolving.value_hash for one in seen}),
        )
    }
    together = {one.nodes for one in seen if len(one.nodes) > 1}
    ids = {nodes: sighting_id(node.value_hash for node in nodes) for nodes in together}
    rows = await pool.fetch(
        """SELECT sighting_id, occurred_at, event_id FROM unnest($1::bytea[]) AS seen (sighting_id)
           JOIN sightings USING (sighting_id)""",
        list(set(ids.values())),
    )
    stored = {row["sighting_id"]: Evidence(row["occurred_at"], row["event_id"]) for row in rows}
    evidence = {nodes: stored[its_id] for nodes, its_id in ids.items() if its_id in stored}
    customers = {
        one.evidence.event_id: found[one.resolving.value_hash]["customer"]
        for one in seen
        if one.resolving.value_hash in found
        and (len(one.nodes) == 1 or (one.nodes in evidence and evidence[one.nodes] <= one.evidence))
    }
    return Known(customers, {value_hash: row["alone_at"] for value_hash, row in found.items() if row["alone_at"] is not None})
