"""Identity's read model of decisions by hand, tables `decisions` and `spent_requests`, and of the customers they are about."""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from services.identity.domain.decision import Decision
from services.identity.graph.facts import Node

COLUMNS = ", ".join(Decision.__struct_fields__)
PLACES = ", ".join(f"${number}" for number in range(1, len(Decision.__struct_fields__) + 1))


class Cluster(msgspec.Struct, frozen=True):
    """A customer and all that merges join to it, oldest first."""

    customer: bytes
    members: Sequence[bytes]


async def insert(connection: Any, decision: Decision) -> None:
    await connection.execute(f"INSERT INTO decisions ({COLUMNS}) VALUES ({PLACES})", *msgspec.structs.astuple(decision))  # noqa: S608


async def mark_withdrawn(connection: Any, decision: Decision) -> None:
    await connection.execute(
        """UPDATE decisions SET withdraw_request_id = $2, withdrawn_by = $3, withdrawn_reason = $4, withdrawn_at = $5
           WHERE decision_id = $1""",
        decision.decision_id,
        decision.withdraw_request_id,
        decision.withdrawn_by,
        decision.withdrawn_reason,
        decision.withdrawn_at,
    )


async def get(pool: Any, decision_id: bytes) -> Decision | None:
    return _decision(await pool.fetchrow(f"SELECT {COLUMNS} FROM decisions WHERE decision_id = $1", decision_id))  # noqa: S608


async def of_ids(pool: Any, decision_ids: Collection[bytes]) -> dict[bytes, Decision]:
    """Of these ids those that are decisions'; nothing of what an erasure removed."""
    rows = await pool.fetch(f"SELECT {COLUMNS} FROM decisions WHERE decision_id = ANY($1::bytea[])", list(decision_ids))  # noqa: S608
    return {row["decision_id"]: Decision(**dict(row)) for row in rows}


async def of_request(pool: Any, request_id: str) -> Decision | None:
    return _decision(await pool.fetchrow(f"SELECT {COLUMNS} FROM decisions WHERE request_id = $1", request_id))  # noqa: S608


async def is_spent(pool: Any, request_id: str) -> bool:
    """Whether it stood for a decision that went with an erasure."""
    return bool(await pool.fetchval("SELECT EXISTS (SELECT FROM spent_requests WHERE request_id = $1)", request_id))


async def spent_among(pool: Any, decision_ids: Collection[bytes]) -> set[bytes]:
    """Of these ids those of decisions that went with an erasure."""
    query = "SELECT decision_id FROM spent_requests WHERE decision_id = ANY($1::bytea[])"
    return {row["decision_id"] for row in await pool.fetch(query, list(decision_ids))}


async def of_withdrawal(pool: Any, request_id: str) -> Decision | None:
    query = f"SELECT {COLUMNS} FROM decisions WHERE withdraw_request_id = $1"  # noqa: S608
    return _decision(await pool.fetchrow(query, request_id))


async def page(pool: Any, customers: Sequence[bytes], after: tuple[int, bytes], limit: int, withdrawn: bool) -> list[Decision]:
    """Oldest first, after (instant, decision id); about any of `customers`, or with none of them all."""
    rows = await pool.fetch(
        f"""SELECT {COLUMNS} FROM decisions
            WHERE ($1::bytea[] = '{{}}' OR customer = ANY($1) OR other_customer = ANY($1)) AND ($5 OR withdrawn_at IS NULL)
              AND (decided_at, decision_id) > ($2, $3)
            ORDER BY decided_at, decision_id LIMIT $4""",  # noqa: S608
        list(customers),
        after[0],
        after[1],
        limit,
        withdrawn,
    )
    return [Decision(**dict(row)) for row in rows]


async def nodes(pool: Any, hashes: Collection[bytes]) -> dict[bytes, Node]:
    """Identifiers by hash; those of whom nobody is erased."""
    rows = await pool.fetch("SELECT namespace, value_hash FROM identifiers WHERE value_hash = ANY($1::bytea[])", list(hashes))
    return {row["value_hash"]: Node(row["namespace"], row["value_hash"]) for row in rows}


async def founder_of(pool: Any, customer: bytes) -> Node | None:
    row = await pool.fetchrow("SELECT namespace, value_hash FROM identifiers WHERE customer = $1 AND own", customer)
    return Node(row["namespace"], row["value_hash"]) if row else None


async def linked(pool: Any, value_hash: bytes) -> Node | None:
    row = await pool.fetchrow(
        "SELECT namespace, value_hash FROM identifiers WHERE value_hash = $1 AND link_id IS NOT NULL", value_hash
    )
    return Node(row["namespace"], row["value_hash"]) if row else None


async def clusters(pool: Any, decision: Decision) -> list[Cluster]:
    """The customers that a decision is about, as they are now; the oldest first."""
    rows = await pool.fetch(
        """SELECT canonical, array_agg(customer ORDER BY founding_number) AS members FROM customers WHERE canonical IN (
               SELECT canonical FROM customers WHERE customer = ANY($1::bytea[]) OR customer IN (
                   SELECT customer FROM identifiers WHERE value_hash = ANY($2::bytea[])
               )
           ) GROUP BY canonical ORDER BY min(founding_number)""",
        [decision.customer, decision.other_customer],
        [decision.one, decision.other],
    )
    return [Cluster(row["canonical"], row["members"]) for row in rows]


async def customers_of(pool: Any, hashes: Collection[bytes]) -> dict[bytes, bytes]:
    """By hash, the canonical ids of the customers that have these identifiers."""
    if not hashes:
        return {}
    rows = await pool.fetch(
        """SELECT value_hash, canonical FROM identifiers JOIN customers USING (customer) WHERE value_hash = ANY($1::bytea[])""",
        list(hashes),
    )
    return {row["value_hash"]: row["canonical"] for row in rows}


async def forget(connection: Any, customers: Sequence[bytes], hashes: Sequence[bytes]) -> set[bytes]:
    """Removes those of which one end is erased, all but their ids and those of their requests; returns the hashes of all their ends.

    Where only the customer is erased whose stream told of it, whom the end is linked to now stands for it.
    """
    gone = await connection.fetch(
        """DELETE FROM decisions WHERE one = ANY($1::bytea[]) OR other = ANY($1::bytea[])
           RETURNING one, other, request_id, decision_id""",
        list(hashes),
    )
    spent = [row["request_id"] for row in gone], [row["decision_id"] for row in gone]
    await connection.execute("INSERT INTO spent_requests SELECT * FROM unnest($1::text[], $2::bytea[])", *spent)
    for end, customer in (("one", "customer"), ("other", "other_customer")):
        await connection.execute(
            f"""UPDATE decisions SET {customer} = linked.customer FROM identifiers AS linked
                WHERE linked.value_hash = decisions.{end} AND linked.customer IS NOT NULL
                  AND decisions.{customer} = ANY($1::bytea[])""",  # noqa: S608
            list(customers),
        )
    return {end for row in gone for end in (row["one"], row["other"])}


def _decision(row: Any) -> Decision | None:
    return Decision(**dict(row)) if row else None
