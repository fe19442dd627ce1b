"""Tables `segment_members` and `segment_due` once more, in schema `profile_next`: as they are made anew beside those that are served.

Whoever writes here has the lock of `segment_progress`, as whoever writes memberships.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final

from services.profile.tables.memberships import MADE

CAUSE: Final = "rebuild"


async def begin(connection: Any, number: int) -> None:
    """From now on whoever writes memberships copies them here."""
    await _empty(connection)
    await connection.execute("UPDATE segment_progress SET making = $1", number)


async def abandon(connection: Any, number: int) -> None:
    """Leaves nothing half made, unless somebody else is making it by now."""
    if await connection.fetchval("UPDATE segment_progress SET making = 0 WHERE making = $1 RETURNING true", number):
        await _empty(connection)


async def copy(connection: Any, customers: Collection[bytes]) -> None:
    """As they are served."""
    for table in MADE:
        await connection.execute(f"DELETE FROM profile_next.{table} WHERE customer = ANY($1)", list(customers))  # noqa: S608
        await connection.execute(
            f"INSERT INTO profile_next.{table} SELECT * FROM {table} WHERE customer = ANY($1)",  # noqa: S608
            list(customers),
        )


async def write(
    connection: Any, customers: Collection[bytes], members: Mapping[tuple[bytes, str], int], due: Mapping[bytes, int]
) -> None:
    """Of these customers nothing but these: {(customer, segment): since when}, {customer: when}."""
    for table in MADE:
        await connection.execute(f"DELETE FROM profile_next.{table} WHERE customer = ANY($1)", list(customers))  # noqa: S608
    await connection.execute(
        """INSERT INTO profile_next.segment_members (customer, segment, entered_at)
           SELECT * FROM unnest($1::bytea[], $2::text[], $3::int8[])""",
        [customer for customer, _ in members],
        [segment for _, segment in members],
        list(members.values()),
    )
    await connection.execute(
        "INSERT INTO profile_next.segment_due (customer, due_at) SELECT * FROM unnest($1::bytea[], $2::int8[])",
        list(due),
        list(due.values()),
    )


async def told(connection: Any, customers: Collection[bytes]) -> dict[tuple[bytes, str], int]:
    """{(customer, segment): since when}, by what was told of them last."""
    rows = await connection.fetch(
        """SELECT customer, segment, valid_at FROM (
               SELECT DISTINCT ON (customer, segment) customer, segment, entered, valid_at FROM segment_changes
               WHERE customer = ANY($1) ORDER BY customer, segment, number DESC
           ) AS newest WHERE entered""",
        list(customers),
    )
    return {(row["customer"], row["segment"]): row["valid_at"] for row in rows}


async def due_by(connection: Any, customers: Collection[bytes], now: int) -> set[bytes]:
    rows = await connection.fetch(
        "SELECT customer FROM segment_due WHERE customer = ANY($1) AND due_at <= $2", list(customers), now
    )
    return {row["customer"] for row in rows}


async def members(connection: Any, customers: Collection[bytes]) -> dict[tuple[bytes, str], int]:
    """{(customer, segment): since when}, as they are made anew."""
    rows = await connection.fetch(
        "SELECT customer, segment, entered_at FROM profile_next.segment_members WHERE customer = ANY($1)", list(customers)
    )
    return {(row["customer"], row["segment"]): row["entered_at"] for row in rows}


async def exchange(connection: Any, lock_ms: int) -> None:
    """Those that were made anew are served, and the former ones gone. Raises LockNotAvailableError."""
    await connection.execute(f"SET LOCAL lock_timeout = {lock_ms}")
    await connection.execute("SELECT profile.exchange_memberships()")
    await connection.execute("UPDATE segment_progress SET making = 0")


async def _empty(connection: Any) -> None:
    await connection.execute(f"TRUNCATE {', '.join(f'profile_next.{table}' for table in MADE)}")
