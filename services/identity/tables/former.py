"""What was so before: tables `superseded_evidence` and `former_links`, by which past instants are found again."""

from collections.abc import Iterable, Sequence
from typing import Any

from services.identity.graph.conclude import Conclusion, Unlinked


async def keep_evidence(connection: Any, seen: Sequence[tuple[bytes, bytes]]) -> None:
    """Before it is replaced: the evidence of sightings that an earlier event was found for; (sighting id, event id)s."""
    await connection.execute(
        """INSERT INTO superseded_evidence (sighting_id, occurred_at, event_id, source, recorded_at)
           SELECT sighting_id, occurred_at, sightings.event_id, source, recorded_at
           FROM unnest($1::bytea[], $2::bytea[]) AS new (sighting_id, event_id) JOIN sightings USING (sighting_id)
           WHERE sightings.event_id <> new.event_id""",
        [sighting for sighting, _ in seen],
        [event_id for _, event_id in seen],
    )


async def keep_links(connection: Any, conclusions: Iterable[Conclusion]) -> None:
    """Whose streams tell of links that are taken back."""
    undone = [conclusion for conclusion in conclusions if isinstance(conclusion, Unlinked)]
    if undone:
        await connection.execute(
            """INSERT INTO former_links (value_hash, customer) SELECT * FROM unnest($1::bytea[], $2::bytea[])
               ON CONFLICT DO NOTHING""",
            [unlinked.node.value_hash for unlinked in undone],
            [unlinked.customer for unlinked in undone],
        )


async def forget(connection: Any, customers: Sequence[bytes], hashes: Sequence[bytes]) -> None:
    """Of what is erased. Superseded evidence goes with its sightings (`shrinking`)."""
    await connection.execute(
        "DELETE FROM former_links WHERE value_hash = ANY($1::bytea[]) OR customer = ANY($2::bytea[])", list(hashes), list(customers)
    )
