"""What was seen before as it is seen again: it changes nothing."""

from collections.abc import Sequence
from typing import Any

from services.identity.graph.facts import Evidence
from services.identity.graph.region import Seen
from services.identity.tables.regions import sighting_id


async def known(pool: Any, seen: Sequence[Seen]) -> dict[bytes, bytes]:
    """Of the events that saw what is known with no later evidence: the customer that they resolve to, by event id."""
    owners = {
        row["value_hash"]: row["customer"]
        for row in await pool.fetch(
            "SELECT value_hash, customer FROM unnest($1::bytea[]) AS seen (value_hash) JOIN identifiers USING (value_hash) WHERE resolving",
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
    evidence = {nodes: stored[found] for nodes, found in ids.items() if found in stored}
    return {
        one.evidence.event_id: owners[one.resolving.value_hash]
        for one in seen
        if one.resolving.value_hash in owners
        and (len(one.nodes) == 1 or (one.nodes in evidence and evidence[one.nodes] <= one.evidence))
    }
