"""What was seen before as it is seen again: it changes nothing."""

from collections.abc import Sequence
from typing import Any

from services.identity.graph.facts import Evidence
from services.identity.graph.region import Seen
from services.identity.tables.regions import sighting_id


async def known(pool: Any, seen: Sequence[Seen]) -> dict[Seen, bytes]:
    """Of what is known with no later evidence: the customer that it resolves to."""
    owners = {
        row["value_hash"]: row["customer"]
        for row in await pool.fetch(
            "SELECT value_hash, customer FROM unnest($1::bytea[]) AS seen (value_hash) JOIN identifiers USING (value_hash) WHERE resolving",
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
