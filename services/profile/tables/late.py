"""Table `segment_late`: customers whose look was put off because it takes long, and what it is for. In the order in which it came."""

from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec

from services.profile.tables.memberships import numbers

EVENT: Final = "event"
OF_CONSENT: Final = -1  # instead of a partition: the position is one of consent's log
OF_NO_LOG: Final = -2


class Late(msgspec.Struct, frozen=True, kw_only=True):
    """`events` of the customer's stream, the first at `pos`, weren't looked at; without any it is for the `cause`, as of `valid_at`."""

    customer: bytes
    partition: int
    pos: int = 0
    events: int = 0
    cause: str = EVENT
    valid_at: int = 0
    number: int = 0  # is given by the table

    def __repr__(self) -> str:
        return f"<Late {self.cause} sealed>"


async def put(connection: Any, rows: Sequence[Late]) -> None:
    if not rows:
        return
    first = await numbers(connection, "late", len(rows))
    await connection.execute(
        """INSERT INTO segment_late (customer, partition, pos, events, cause, valid_at, number)
           SELECT * FROM unnest($1::bytea[], $2::int4[], $3::int8[], $4::int4[], $5::text[], $6::int8[], $7::int8[])""",
        [one.customer for one in rows],
        [one.partition for one in rows],
        [one.pos for one in rows],
        [one.events for one in rows],
        [one.cause for one in rows],
        [one.valid_at for one in rows],
        range(first, first + len(rows)),
    )


async def customers(pool: Any) -> set[bytes]:
    """Who is late."""
    return {row["customer"] for row in await pool.fetch("SELECT DISTINCT customer FROM segment_late")}


async def first(pool: Any) -> bytes | None:
    """Who has waited longest."""
    found: bytes | None = await pool.fetchval("SELECT customer FROM segment_late ORDER BY number LIMIT 1")
    return found


async def newest(pool: Any) -> int:
    """The number of who was put off last."""
    return int(await pool.fetchval("SELECT coalesce(max(number), 0) FROM segment_late"))


async def of(pool: Any, streams: Collection[bytes], until: int) -> list[Late]:
    """Of these customers what was put off, up to a number."""
    query = (
        f"SELECT {', '.join(Late.__struct_fields__)} FROM segment_late WHERE customer = ANY($1) AND number <= $2 ORDER BY number"  # noqa: S608
    )
    rows = await pool.fetch(query, list(streams), until)
    return [Late(**dict(row)) for row in rows]


async def take(connection: Any, rows: Sequence[Late]) -> bool:
    """They are late no more. Whether all were."""
    taken = await connection.fetch("DELETE FROM segment_late WHERE number = ANY($1) RETURNING 1", [one.number for one in rows])
    return len(taken) == len(rows)


async def positions(pool: Any) -> dict[int, int]:
    """{partition, or OF_CONSENT: the first position that wasn't looked at}."""
    return {
        row["partition"]: row["pos"] for row in await pool.fetch("SELECT partition, min(pos) AS pos FROM segment_late GROUP BY 1")
    }
