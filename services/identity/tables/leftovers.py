"""Who holds nothing but identifiers that were only ever seen with those of somebody who is erased.

A limit, or a rule, kept them from her: an address founded a customer that no event ever was about. It is hers all the same.
"""

from collections.abc import Collection
from typing import Any, Final

from services.identity.tables.rulebook import PARTITION
from shared.events import customer as events

# Erased with one person: a desk that signs in for everybody may have been seen with many. More stay, and are named.
MAX_LEFTOVERS: Final = 1_000
# What a customer is told without anybody having said or decided anything of it.
CONCLUDED: Final = (
    events.FOUNDED,
    events.LINKED,
    events.UNLINKED,
    events.MERGED,
    events.SPLIT,
    events.MERGE_PROPOSED,
    events.PROPOSAL_CLOSED,
)


async def leftovers(pool: Any, members: Collection[bytes], hashes: Collection[bytes]) -> list[bytes]:
    """Customers of whole clusters, at most MAX_LEFTOVERS; `hashes` are the identifiers of `members`, who are erased.

    Somebody's own is a cluster that a decision is about, or of which an event resolved by one identifier, or saw it without hers.
    """
    if not hashes:
        return []
    rows = await pool.fetch(
        """WITH met AS (
               SELECT DISTINCT canonical FROM sightings CROSS JOIN LATERAL unnest(nodes) AS seen (value_hash)
               JOIN identifiers USING (value_hash) JOIN customers USING (customer)
               WHERE nodes && $2::bytea[] AND customer <> ALL ($1::bytea[])),
           beside AS (SELECT customer, canonical, founding_number FROM customers JOIN met USING (canonical)),
           told AS (
               SELECT canonical FROM beside WHERE EXISTS (
                   SELECT FROM events WHERE partition = $3 AND stream = customer AND type_id <> ALL ($4::text[]))),
           alone AS (
               SELECT canonical FROM beside JOIN identifiers USING (customer)
               LEFT JOIN sightings ON nodes @> ARRAY[value_hash]
               WHERE canonical NOT IN (TABLE told) AND (resolving OR nodes IS NULL OR NOT nodes && $2::bytea[] OR EXISTS (
                   SELECT FROM waiting_sightings AS w WHERE w.value_hashes @> ARRAY[value_hash] AND NOT w.value_hashes && $2::bytea[])))
           SELECT customer, canonical FROM beside WHERE canonical NOT IN (TABLE told) AND canonical NOT IN (TABLE alone)
           ORDER BY canonical, founding_number LIMIT $5""",
        list(members),
        list(hashes),
        PARTITION,
        [kind.id for kind in CONCLUDED],
        MAX_LEFTOVERS + 1,
    )
    cut = rows[MAX_LEFTOVERS]["canonical"] if len(rows) > MAX_LEFTOVERS else None  # no cluster is erased in half
    return [row["customer"] for row in rows if row["canonical"] != cut]
