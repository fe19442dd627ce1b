"""Writes what identity's log tells over what its tables hold otherwise; what follows from facts is settled anew, by the service."""

from typing import Any, Final

from services.identity.tables.expected import TABLES

# Whose rows nobody may delete, this process neither: a row too many is told, and stays.
KEPT_FOR_EVER: Final = frozenset({"customers", "erasures", "suppressions", "holds", "spent_requests"})
# What a row that was lost needs besides: how it was asked for isn't in the log, and whoever repeats the request is told that it was decided.
MADE: Final = {
    "identifiers": ("resolving, shared, contested", "own, false, false"),
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
# Of the graph: who is touched by what differs. What they were seen with says anew who they are.
UNSETTLED: Final = """
    INSERT INTO unsettled
    SELECT value_hash FROM missing_identifiers UNION SELECT value_hash FROM surplus_identifiers
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
    await connection.execute(UNSETTLED)


def _written_over(name: str) -> str:
    table = TABLES[name]
    others = [column for column in table.columns.split(", ") if column not in table.key.split(", ")]
    columns, values = MADE.get(name, ("", ""))
    change = ", ".join(f"{column} = excluded.{column}" for column in others)
    return f"""INSERT INTO {name} ({table.columns}{columns and ", " + columns})
               SELECT {table.columns}{values and ", " + values} FROM missing_{name} AS m
               ON CONFLICT ({table.key}) DO {f"UPDATE SET {change}" if change else "NOTHING"}"""
