"""What identity's tables have to hold by its log, as far as it tells; and where they don't, exactly.

What follows from events alone (what was seen together, and what that makes shared or contested), from records, or from nothing but its
table is left out: `docs/decisions/0061` says what that is.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

SHOWN = 20  # of the keys of rows that differ, of each table

KEPT: Final = "customer NOT IN (SELECT customer FROM told_erased)"
# A decision goes with who is erased after it; one whose streams are both closed could not tell that it was withdrawn.
DECIDED: Final = """SELECT DISTINCT ON (decision_id) * FROM told_decisions AS told ORDER BY decision_id, pos"""
GONE: Final = """EXISTS (SELECT FROM told_suppressed AS s WHERE s.value_hash IN (d.one, d.other) AND s.pos > d.pos)"""
OPEN_ONES: Final = """d.decision_id NOT IN (SELECT decision_id FROM told_decisions WHERE customer IN (SELECT customer FROM told_erased)
                      AND other_customer IN (SELECT customer FROM told_erased))"""
# One of each identifier, or our fault: then the newest counts, which is what the table has, and the others are as taken back.
STANDING: Final = f"""SELECT l.*, l.pos = max(l.pos) OVER (PARTITION BY value_hash) AS newest FROM told_links AS l
                      WHERE {KEPT} AND NOT EXISTS (SELECT FROM told_unlinks AS u WHERE u.link_id = l.link_id)
                        AND NOT EXISTS (SELECT FROM told_suppressed AS s WHERE s.value_hash = l.value_hash AND s.pos > l.pos)"""


class Table(NamedTuple):
    """`expected` and `served` select the same `columns`, of which `key` are the first; `made` are what else a row that is lost needs."""

    key: str
    columns: str
    expected: str
    served: str
    made: str = ""  # columns and, of `expected`, what is put there


TABLES: Final = {
    "customers": Table(
        "customer",
        "customer, founding_number, canonical, version, erased_by",
        """SELECT f.customer, f.founding_number, coalesce(r.root, f.customer), v.version, e.erasure_id
           FROM told_founded AS f LEFT JOIN told_roots AS r USING (customer) LEFT JOIN told_erased AS e USING (customer)
           JOIN (SELECT stream, max(version) AS version FROM events WHERE partition = 0 GROUP BY 1) AS v ON v.stream = f.customer""",
        "SELECT customer, founding_number, canonical, version, erased_by FROM customers",
    ),
    "identifiers": Table(
        "value_hash",
        "value_hash, namespace, customer, link_id, own, said_in",
        """SELECT value_hash, namespace, customer, link_id,
                  EXISTS (SELECT FROM told_links AS f WHERE f.own AND f.customer = l.customer AND f.value_hash = l.value_hash), customer
           FROM standing_links AS l WHERE newest""",
        """SELECT value_hash, namespace, customer, link_id, own, said_in FROM identifiers WHERE link_id IS NOT NULL""",
    ),
    "merges": Table(
        "merge_id",
        "merge_id, customer, other, likely",
        f"""SELECT DISTINCT ON (merge_id) merge_id, customer, other, likely FROM told_merges AS m
            WHERE {KEPT} AND other NOT IN (SELECT customer FROM told_erased)
              AND NOT EXISTS (SELECT FROM told_splits AS s WHERE s.merge_id = m.merge_id) ORDER BY merge_id, pos""",
        "SELECT merge_id, customer, other, likely FROM merges",
    ),
    "former_links": Table(
        "value_hash, customer",
        "value_hash, customer",
        f"""SELECT value_hash, customer FROM told_unlinks AS u WHERE {KEPT}
            AND NOT EXISTS (SELECT FROM told_suppressed AS s WHERE s.value_hash = u.value_hash AND s.pos > u.pos)
            UNION SELECT value_hash, customer FROM standing_links AS l WHERE NOT newest
            AND customer <> (SELECT customer FROM standing_links AS n WHERE n.newest AND n.value_hash = l.value_hash)""",
        "SELECT value_hash, customer FROM former_links",
    ),
    "decisions": Table(
        "decision_id",
        "decision_id, kind, one, other, decided_by, reason, decided_at, withdrawn_by, withdrawn_reason, withdrawn_at, proposal_id",
        f"""SELECT DISTINCT decision_id, kind, one, other, decided_by, reason, decided_at, withdrawn_by, withdrawn_reason, withdrawn_at, proposal_id
            FROM ({DECIDED}) AS d LEFT JOIN told_withdrawals USING (decision_id)
            LEFT JOIN (SELECT DISTINCT decision_id, proposal_id FROM told_closings) AS c USING (decision_id)
            WHERE NOT {GONE} AND {OPEN_ONES}""",
        f"""SELECT decision_id, kind, one, other, decided_by, reason, decided_at, withdrawn_by, withdrawn_reason, withdrawn_at, proposal_id
            FROM decisions AS d WHERE {OPEN_ONES}""",
    ),
    "spent_requests": Table(
        "decision_id",
        "decision_id",
        f"SELECT decision_id FROM ({DECIDED}) AS d WHERE {GONE}",
        "SELECT decision_id FROM spent_requests",
    ),
    "proposals": Table(
        "proposal_id",
        "proposal_id, customer, other, reason, cause, weight, doubts, end_hash, other_end_hash, state, decision_id, closed_by",
        f"""SELECT DISTINCT ON (proposal_id) proposal_id, customer, other, last.reason, last.cause, last.weight, last.doubts,
                   last.end_hash, its.other_end_hash, coalesce(state, 'open'), decision_id, closed_by
            FROM told_proposals LEFT JOIN told_closings USING (proposal_id)
            JOIN (SELECT DISTINCT ON (proposal_id, customer) * FROM told_proposals ORDER BY proposal_id, customer, pos DESC) AS last
                USING (proposal_id, customer, other)
            JOIN (SELECT DISTINCT ON (proposal_id, customer) proposal_id, customer AS other, end_hash AS other_end_hash
                  FROM told_proposals ORDER BY proposal_id, customer, pos DESC) AS its USING (proposal_id, other)
            WHERE {KEPT} AND other NOT IN (SELECT customer FROM told_erased) ORDER BY proposal_id, told_proposals.pos""",
        """SELECT proposal_id, customer, other, reason, cause, weight, doubts, end_hash, other_end_hash, state, decision_id, closed_by
           FROM proposals""",
    ),
    "suppressions": Table(
        "value_hash",
        "value_hash, erasure_id, policy, erased_at",
        """SELECT value_hash, (array_agg(erasure_id ORDER BY pos DESC))[1],
                  CASE WHEN bool_or(policy = 'refuse') THEN 'refuse' ELSE (array_agg(policy ORDER BY pos DESC))[1] END, max(erased_at)
           FROM (TABLE told_suppressed UNION ALL
                 SELECT identifier, erasure_id, policy, begun_at, begun_pos FROM told_erasures AS e
                 WHERE begun_pos IS NOT NULL AND identifiers > (SELECT count(DISTINCT value_hash) FROM told_suppressed AS s
                                                                WHERE s.erasure_id = e.erasure_id)) AS suppressed GROUP BY 1""",
        "SELECT value_hash, erasure_id, policy, erased_at FROM suppressions",
    ),
    "erasures": Table(
        "erasure_id",
        "erasure_id, request_id, requested_at, customer, completed, erasure",
        "SELECT erasure_id, request_id, requested_at, customer, completed, erasure FROM told_erasures",
        "SELECT erasure_id, request_id, requested_at, customer, completed, erasure FROM erasures",
    ),
    "holds": Table(
        "hold_id",
        "hold_id, request_id, customer, reason, placed_by, placed_at, released_at, members",
        "TABLE told_holds",
        "SELECT hold_id, request_id, customer, reason, placed_by, placed_at, released_at, members FROM holds",
    ),
}


class Compared(NamedTuple):
    """Of one table. `digest` is of its rows as they are, in any order; keys are hexadecimal."""

    table: str
    rows: int
    digest: str
    missing: int  # rows that the log tells of, and that aren't there or say otherwise
    surplus: int  # rows of which the log tells nothing, or otherwise
    keys: Sequence[str]

    @property
    def same(self) -> bool:
        return not self.missing and not self.surplus


class LinkedTwice(NamedTuple):
    """An identifier that the log links to several customers at once; `former` are those before the last, oldest first."""

    value_hash: bytes
    former: Sequence[bytes]
    customer: bytes


async def make(connection: Any) -> None:
    """In a transaction: what is expected, and where it differs, as of this moment."""
    await connection.execute(f"DROP TABLE IF EXISTS standing_links; CREATE TEMPORARY TABLE standing_links AS {STANDING}")
    for name, table in TABLES.items():
        for kind in ("expected", "missing", "surplus"):
            await connection.execute(f"DROP TABLE IF EXISTS {kind}_{name}")
        await connection.execute(f"CREATE TEMPORARY TABLE expected_{name} ({table.columns}) AS {table.expected}")
        for kind, one, other in (
            ("missing", f"TABLE expected_{name}", table.served),
            ("surplus", table.served, f"TABLE expected_{name}"),
        ):
            await connection.execute(f"CREATE TEMPORARY TABLE {kind}_{name} ({table.columns}) AS ({one}) EXCEPT ({other})")


async def compared(connection: Any, name: str) -> Compared:
    table = TABLES[name]
    key = table.key.split(", ")[0]
    rows, digest = await connection.fetchrow(
        f"""SELECT count(*), coalesce(sum(('x' || left(encode(sha256(convert_to(row::text, 'UTF8')), 'hex'), 15))::bit(60)::int8), 0)
            FROM ({table.served}) AS row"""
    )
    missing, surplus = [await connection.fetchval(f"SELECT count(*) FROM {kind}_{name}") for kind in ("missing", "surplus")]
    keys = await connection.fetch(
        f"""SELECT DISTINCT encode({key}, 'hex') AS key FROM (SELECT {key} FROM missing_{name} UNION ALL SELECT {key} FROM surplus_{name}) AS d
            ORDER BY 1 LIMIT {SHOWN}"""
    )
    return Compared(name, rows, f"{int(digest):x}", missing, surplus, [row["key"] for row in keys])


async def linked_twice(connection: Any) -> list[LinkedTwice]:
    """Behind `make`; as many as are shown."""
    rows = await connection.fetch(
        """SELECT value_hash, array_agg(customer ORDER BY pos) AS customers FROM standing_links
           WHERE value_hash IN (SELECT value_hash FROM standing_links WHERE NOT newest) GROUP BY 1 ORDER BY 1 LIMIT $1""",
        SHOWN,
    )
    return [LinkedTwice(row["value_hash"], row["customers"][:-1], row["customers"][-1]) for row in rows]
