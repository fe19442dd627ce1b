"""Writes what identity's log tells over what its tables hold otherwise; what follows from facts is settled anew, by the service."""

from collections.abc import Mapping
from typing import Any, Final

from services.identity.graph.certain import Trees
from services.identity.tables.expected import TABLES

# Whose rows nobody may delete, this process neither: a row too many is told, and stays.
KEPT_FOR_EVER: Final = frozenset({"customers", "erasures", "suppressions", "holds", "spent_requests"})
# What a row that was lost needs besides: how it was asked for isn't in the log, and whoever repeats the request is told that it was decided.
MADE: Final = {
    # What founded a customer was seen when that was, as far as the log tells.
    "identifiers": (
        "resolving, shared, contested, alone_at, alone_since",
        """own, false, false, (SELECT occurred_at FROM told_founded AS t WHERE own AND t.customer = m.customer),
           (SELECT recorded_at FROM told_founded AS t WHERE own AND t.customer = m.customer)""",
    ),
    "decisions": (
        "request_id, asked, customer, other_customer",
        """'lost ' || encode(decision_id, 'hex'), decision_id,
           (SELECT customer FROM told_decisions AS t WHERE t.decision_id = m.decision_id ORDER BY pos LIMIT 1),
           (SELECT other_customer FROM told_decisions AS t WHERE t.decision_id = m.decision_id ORDER BY pos LIMIT 1)""",
    ),
    "spent_requests": ("request_id", "'lost ' || encode(decision_id, 'hex')"),
    "proposals": (
        "proposed_at, pos, closed_at",
        """(SELECT min(proposed_at) FROM told_proposals AS t WHERE t.proposal_id = m.proposal_id),
           (SELECT min(pos) FROM told_proposals AS t WHERE t.proposal_id = m.proposal_id),
           (SELECT min(closed_at) FROM told_closings AS t WHERE t.proposal_id = m.proposal_id)""",
    ),
}
# What other tables tell of identifiers whose rows were lost: who has records of them, and what they hang together with.
RECORDED: Final = """
    UPDATE identifiers AS i SET recorded_by = found.sources
    FROM (SELECT value_hash, array_agg(source ORDER BY source) AS sources
          FROM records JOIN missing_identifiers USING (value_hash) GROUP BY value_hash) AS found
    WHERE i.value_hash = found.value_hash"""
# In several components only what is outside of all of them was seen, or what takes no part in some of it.
SEEN_IN_ONE: Final = """
    UPDATE identifiers AS i SET component = found.components[1]
    FROM (SELECT m.value_hash, array_agg(DISTINCT s.component) FILTER (WHERE s.component IS NOT NULL) AS components
          FROM missing_identifiers AS m JOIN sightings AS s ON s.nodes @> ARRAY[m.value_hash] GROUP BY 1) AS found
    WHERE i.value_hash = found.value_hash AND cardinality(found.components) = 1 AND component IS NULL AND NOT shared AND NOT contested"""
JOINED: Final = """
    SELECT one, other FROM (SELECT one, other FROM decisions WHERE kind = 'merge' AND withdrawn_at IS NULL
                            UNION SELECT one_hash, other_hash FROM matches) AS joined
    WHERE one IN (SELECT value_hash FROM missing_identifiers) OR other IN (SELECT value_hash FROM missing_identifiers)"""
# Of the graph: who is touched by what differs. What they were seen with says anew who they are.
UNSETTLED: Final = """
    INSERT INTO unsettled
    SELECT value_hash FROM missing_identifiers UNION SELECT value_hash FROM surplus_identifiers
    UNION SELECT value_hash FROM missing_former_links
    UNION SELECT one FROM missing_decisions UNION SELECT other FROM missing_decisions
    UNION SELECT one FROM surplus_decisions UNION SELECT other FROM surplus_decisions
    UNION SELECT value_hash FROM identifiers WHERE own AND customer IN (
        SELECT customer FROM missing_customers UNION SELECT customer FROM missing_merges UNION SELECT other FROM missing_merges
        UNION SELECT customer FROM surplus_merges UNION SELECT other FROM surplus_merges)
    ON CONFLICT DO NOTHING"""


async def mend(connection: Any) -> None:
    """In the transaction in which `expected.make` found what differs, while nobody else writes."""
    for name, table in TABLES.items():
        keys = table.key
        lost = f"({keys}) NOT IN (SELECT {keys} FROM expected_{name}) AND ({keys}) IN (SELECT {keys} FROM surplus_{name})"
        if name == "identifiers":  # it stays in the facts
            await connection.execute(
                f"UPDATE identifiers SET customer = NULL, link_id = NULL, own = false, said_in = NULL WHERE {lost}"
            )
        elif name not in KEPT_FOR_EVER:
            await connection.execute(f"DELETE FROM {name} WHERE {lost}")
    for name in TABLES:
        await connection.execute(_written_over(name))
    await connection.execute(RECORDED)
    await connection.execute(SEEN_IN_ONE)
    await _join(connection)
    await connection.execute(UNSETTLED)


async def _join(connection: Any) -> None:
    """What people joined or what matches is of one component, seen or not: else it would be loaded, and come apart, by itself."""
    joined = [tuple(row) for row in await connection.fetch(JOINED)]
    query = "SELECT value_hash, component FROM identifiers WHERE value_hash = ANY($1::bytea[]) AND (component IS NOT NULL OR NOT (shared OR contested))"
    components = dict(map(tuple, await connection.fetch(query, list({end for two in joined for end in two}))))
    found = _components([(one, other) for one, other in joined if {one, other} <= components.keys()], components)
    await connection.execute(
        """UPDATE identifiers AS i SET component = found.component FROM unnest($1::bytea[], $2::bytea[]) AS found (value_hash, component)
           WHERE i.value_hash = found.value_hash AND i.component IS NULL""",
        list(found),
        list(found.values()),
    )


def _components(joined: list[tuple[bytes, bytes]], components: Mapping[bytes, bytes | None]) -> dict[bytes, bytes]:
    """Where nothing has one, it is called by one of them."""
    trees = Trees[bytes]()
    for one, other in joined:
        trees.join(one, other)
    known = {trees.root(end): component for end, component in components.items() if component is not None}
    return {end: known.get(root := trees.root(end), root) for two in joined for end in two}


def _written_over(name: str) -> str:
    table = TABLES[name]
    others = [column for column in table.columns.split(", ") if column not in table.key.split(", ")]
    columns, values = MADE.get(name, ("", ""))
    change = ", ".join(f"{column} = excluded.{column}" for column in others)
    return f"""INSERT INTO {name} ({table.columns}{columns and ", " + columns})
               SELECT {table.columns}{values and ", " + values} FROM missing_{name} AS m
               ON CONFLICT ({table.key}) DO {f"UPDATE SET {change}" if change else "NOTHING"}"""
