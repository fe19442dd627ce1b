"""Which shared identifiers would link again under other rules; told by counts, so that no kiosk's events are loaded for it."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any, Final, NamedTuple

from services.identity.graph.region import Region
from services.identity.graph.rules import Rules
from shared.errors import TooLarge

# Of one identifier that links again: everything that it was seen with is settled at once, in memory and in one transaction.
MAX_SIGHTINGS: Final = 50_000


async def returning(pool: Any, hashes: Collection[bytes], rules: Rules) -> set[bytes]:
    """Of these, which are stored as shared and wouldn't be under the rules."""
    rows = await pool.fetch(
        """SELECT value_hash, namespace FROM unnest($1::bytea[]) AS wanted (value_hash) JOIN identifiers USING (value_hash)
           WHERE shared""",
        list(hashes),
    )
    namespaces = {row["value_hash"]: row["namespace"] for row in rows if row["value_hash"] not in rules.blocked}
    owners = await _owners(pool, namespaces, rules) if namespaces else {}
    found = set()
    for value_hash, namespace in namespaces.items():
        stronger = [(name, n) for name, n in owners.get(value_hash, ()) if rules.rank(name) < rules.rank(namespace)]
        if not rules.is_shared(namespace, stronger):
            found.add(value_hash)
    return found


async def _owners(pool: Any, hashes: Iterable[bytes], rules: Rules) -> dict[bytes, list[tuple[str, int]]]:
    """{identifier: [(namespace, how many values of it were seen with it where it takes part)]}; blocked ones don't count."""
    rows = await pool.fetch(
        """SELECT wanted.h, i.namespace, count(DISTINCT i.value_hash) AS values
           FROM unnest($1::bytea[]) AS wanted (h)
           CROSS JOIN LATERAL (
               SELECT nodes FROM sightings WHERE nodes @> ARRAY[wanted.h] ORDER BY occurred_at, event_id LIMIT $3
           ) AS s
           CROSS JOIN LATERAL unnest(s.nodes) AS seen (h)
           JOIN identifiers i ON i.value_hash = seen.h
           WHERE seen.h <> wanted.h AND seen.h <> ALL ($2::bytea[]) GROUP BY 1, 2""",
        list(hashes),
        list(rules.blocked),
        rules.max_sightings,
    )
    found: dict[bytes, list[tuple[str, int]]] = defaultdict(list)
    for row in rows:
        found[row["h"]].append((row["namespace"], row["values"]))
    return found


class Edge(NamedTuple):
    """What stands outside of components and may lead to a region; value hashes."""

    shared: set[bytes]  # seen with what is in it, or matching that
    borders: set[bytes]  # matching it


async def edge(pool: Any, region: Region) -> Edge:
    """What links again leads to all that it matches, so those have to lead to it: found from one end alone, the other would never be counted."""
    found = Edge({node.value_hash for node in region.shared}, set())
    recorded = region.facts.recorded_by.keys() - (region.shared - region.reconsidered)
    if not recorded:
        return found
    rows = await pool.fetch(
        """SELECT value_hash, shared FROM identifiers
           WHERE (shared OR contested AND component IS NULL) AND value_hash IN (
               SELECT other_hash FROM matches WHERE one_hash = ANY($1::bytea[])
               UNION SELECT one_hash FROM matches WHERE other_hash = ANY($1::bytea[]))""",
        [node.value_hash for node in recorded],
    )
    for row in rows:
        (found.shared if row["shared"] else found.borders).add(row["value_hash"])
    return found


async def check_sizes(pool: Any, hashes: Collection[bytes]) -> None:
    """Before rules are in force by which these link again. Raises TooLarge (REGION_TOO_LARGE)."""
    if not hashes:
        return
    large = await pool.fetchrow(
        """SELECT wanted.h, namespace, count(*) AS sightings FROM unnest($1::bytea[]) AS wanted (h)
           JOIN identifiers ON value_hash = wanted.h JOIN sightings s ON s.nodes @> ARRAY[wanted.h]
           GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 1""",
        list(hashes),
    )
    if large is not None and large["sightings"] > MAX_SIGHTINGS:
        raise TooLarge(
            f"under these rules a value of {large['namespace']} would link again that was seen in {large['sightings']} ways; more "
            f"than {MAX_SIGHTINGS} can't be settled at once: block the value, or set shared_after",
            reason="REGION_TOO_LARGE",
            namespace=large["namespace"],
            value_hash=large["h"].hex(),
        )
