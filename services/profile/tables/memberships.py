"""Tables `segment_members`, `segment_changes`, `segment_due`, `segment_progress`, `segment_settlings` and `segment_heads`: who is in which
segment, since when and why, when time alone may change it, by which rules since when, and up to where the log was followed."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from services.profile.domain.sizes import Settling
from shared import faults


class Place(msgspec.Struct, frozen=True):
    """How far membership is: the version of the rules it goes by; and while segments are `differing` from what rules of before made of
    them, up to which stream everybody was looked at for those, and how many of all `customers` that is. `making` is the number of who makes
    them anew beside these, 0 when nobody does; `writes` is how many transactions have written."""

    rules_version: int
    partition: int = 0
    stream: bytes = b""
    consent: int = 0
    differing: tuple[str, ...] = ()
    looked_at: int = 0
    customers: int = 0
    making: int = 0
    writes: int = 0


MADE: Final = ("segment_members", "segment_due")  # as `exchange_memberships` of the migration names them
PLACE: Final = ", ".join(Place.__struct_fields__)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """`customer` entered or left the segment at `valid_at`, which was written at `recorded_at`.

    `cause`: event, merge, split, erased, consent, rules, time, or rebuild. The first four name the event; `number` is given by the table.
    """

    segment: str
    customer: bytes
    entered: bool
    rules_version: int
    valid_at: int
    recorded_at: int = 0
    cause: str
    event_type: str = ""
    event_id: bytes = b""
    number: int = 0


class Member(msgspec.Struct, frozen=True):
    customer: bytes
    entered_at: int


async def lock(connection: Any) -> Place:
    """Whoever has it is the only one that writes memberships, until its transaction ends."""
    return _place(await connection.fetchrow(f"SELECT {PLACE} FROM segment_progress FOR UPDATE"))  # noqa: S608


async def lock_to_write(connection: Any) -> Place:
    """As `lock`; whoever has found something before and comes after this sees by `writes` that it may be otherwise."""
    return _place(await connection.fetchrow(f"UPDATE segment_progress SET writes = writes + 1 RETURNING {PLACE}"))  # noqa: S608


async def place(pool: Any) -> Place:
    return _place(await pool.fetchrow(f"SELECT {PLACE} FROM segment_progress"))  # noqa: S608


def _place(row: Any) -> Place:
    return Place(**dict(row) | {"differing": tuple(row["differing"])})


async def move_to(connection: Any, place: Place) -> None:
    await connection.execute(
        f"UPDATE segment_progress SET ({PLACE}) = ($1, $2, $3, $4, $5, $6, $7, $8, $9)",  # noqa: S608
        *msgspec.structs.astuple(place),
    )
    faults.reach(faults.PLACE_WRITTEN)


async def begin(connection: Any, place: Place, now: int) -> Place:
    """From now on memberships go by its rules; everybody is looked at for the segments that are differing, if there are any."""
    await connection.execute(
        """INSERT INTO segment_settlings (rules_version, begun_at, settled_at, differing) VALUES ($1, $2, $3, $4)
           ON CONFLICT (rules_version) DO UPDATE
           SET begun_at = excluded.begun_at, settled_at = excluded.settled_at, differing = excluded.differing""",
        place.rules_version,
        now,
        None if place.differing else now,
        place.differing,
    )
    customers = await connection.fetchval("SELECT count(*) FROM states") if place.differing else 0
    return msgspec.structs.replace(place, customers=customers)


async def settle(connection: Any, rules_version: int, now: int) -> None:
    """Everybody was."""
    await connection.execute("UPDATE segment_settlings SET settled_at = $2 WHERE rules_version = $1", rules_version, now)


async def heads(connection: Any) -> dict[int, int]:
    """{partition: the first position that wasn't looked at}."""
    return {row["partition"]: row["next_pos"] for row in await connection.fetch("SELECT partition, next_pos FROM segment_heads")}


async def move_heads(connection: Any, moved: Mapping[int, int]) -> None:
    await connection.execute(
        """INSERT INTO segment_heads (partition, next_pos) SELECT * FROM unnest($1::int4[], $2::int8[])
           ON CONFLICT (partition) DO UPDATE SET next_pos = excluded.next_pos""",
        list(moved),
        list(moved.values()),
    )


async def skip_to_the_end(connection: Any) -> None:
    """Whoever is looked at from here on is looked at as of now."""
    await connection.execute(
        """INSERT INTO segment_heads (partition, next_pos) SELECT partition, next_pos FROM partition_heads
           ON CONFLICT (partition) DO UPDATE SET next_pos = excluded.next_pos"""
    )


async def written(connection: Any, customers: Collection[bytes]) -> dict[bytes, set[str]]:
    """{customer: segments}."""
    rows = await connection.fetch("SELECT customer, segment FROM segment_members WHERE customer = ANY($1)", list(customers))
    found: dict[bytes, set[str]] = {}
    for row in rows:
        found.setdefault(row["customer"], set()).add(row["segment"])
    return found


async def write(connection: Any, changes: Sequence[Change]) -> None:
    left = [change for change in changes if not change.entered]
    entered = [change for change in changes if change.entered]
    await connection.execute(
        "DELETE FROM segment_members USING unnest($1::text[], $2::bytea[]) AS gone (s, c) WHERE segment = s AND customer = c",
        [change.segment for change in left],
        [change.customer for change in left],
    )
    await connection.execute(
        """INSERT INTO segment_members (segment, customer, entered_at) SELECT * FROM unnest($1::text[], $2::bytea[], $3::int8[])""",
        [change.segment for change in entered],
        [change.customer for change in entered],
        [change.valid_at for change in entered],
    )
    await journal(connection, changes)
    faults.reach(faults.MEMBERSHIPS_WRITTEN)


async def journal(connection: Any, changes: Sequence[Change]) -> None:
    """What is told of them, and nothing else."""
    columns = zip(*(msgspec.structs.astuple(change)[:-1] for change in changes), strict=True)
    first = await numbers(connection, "changes", len(changes))
    await connection.execute(
        """INSERT INTO segment_changes
               (segment, customer, entered, rules_version, valid_at, recorded_at, cause, event_type, event_id, number)
           SELECT * FROM unnest($1::text[], $2::bytea[], $3::bool[], $4::int4[], $5::int8[], $6::int8[], $7::text[], $8::text[], $9::bytea[],
                                $10::int8[])""",
        *columns,
        range(first, first + len(changes)),
    )


async def numbers(connection: Any, column: Literal["changes", "late"], many: int) -> int:
    """The first of so many new numbers, which are given once. Nobody else gets any until the transaction ends, so they become
    visible in their order; a sequence promises neither, and can't be distributed."""
    last = await connection.fetchval(f"UPDATE segment_progress SET {column} = {column} + $1 RETURNING {column}", many)  # noqa: S608
    return int(last) - many + 1


async def set_due(connection: Any, due: Mapping[bytes, int | None]) -> None:
    """{customer: when}; None: never."""
    never = [customer for customer, at in due.items() if at is None]
    await connection.execute("DELETE FROM segment_due WHERE customer = ANY($1)", never)
    sometime = {customer: at for customer, at in due.items() if at is not None}
    await connection.execute(
        """INSERT INTO segment_due (customer, due_at) SELECT * FROM unnest($1::bytea[], $2::int8[])
           ON CONFLICT (customer) DO UPDATE SET due_at = excluded.due_at WHERE segment_due.due_at <> excluded.due_at""",
        list(sometime),
        list(sometime.values()),
    )


async def set_due_by(connection: Any, due: Mapping[bytes, int]) -> None:
    """{customer: when}, at the latest."""
    await connection.execute(
        """INSERT INTO segment_due (customer, due_at) SELECT * FROM unnest($1::bytea[], $2::int8[])
           ON CONFLICT (customer) DO UPDATE SET due_at = excluded.due_at WHERE segment_due.due_at > excluded.due_at""",
        list(due),
        list(due.values()),
    )


async def newest(pool: Any) -> int:
    """The number of the newest change."""
    return int(await pool.fetchval("SELECT coalesce(max(number), 0) FROM segment_changes"))


async def forget(connection: Any, customers: Collection[bytes]) -> None:
    """As if they had never been in any segment."""
    for table in (*MADE, "segment_changes", "segment_late", *(f"profile_next.{table}" for table in MADE)):
        await connection.execute(f"DELETE FROM {table} WHERE customer = ANY($1)", list(customers))  # noqa: S608


async def somebody_after(connection: Any, place: Place, at_most: int) -> list[bytes]:
    """Who is written to be in a segment that is differing."""
    rows = await connection.fetch(
        """SELECT DISTINCT customer FROM segment_members WHERE customer > $1 AND segment = ANY($2) ORDER BY customer LIMIT $3""",
        place.stream,
        place.differing,
        at_most,
    )
    return [row["customer"] for row in rows]


async def streams_after(connection: Any, place: Place, at_most: int) -> list[tuple[int, bytes]]:
    rows = await connection.fetch(
        """SELECT partition, stream FROM states WHERE (partition, stream) > ($1, $2) ORDER BY partition, stream LIMIT $3""",
        place.partition,
        place.stream,
        at_most,
    )
    return [(row["partition"], row["stream"]) for row in rows]


class Memberships:
    """What is read of them."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def sizes(self) -> dict[str, int]:
        rows = await self._pool.fetch("SELECT segment, count(*) AS size FROM segment_members GROUP BY segment")
        return {row["segment"]: row["size"] for row in rows}

    async def place(self) -> Place:
        return await place(self._pool)

    async def settlings(self, segment: str) -> list[Settling]:
        """Oldest first. By rules in which it doesn't differ from those before it goes on as it was."""
        rows = await self._pool.fetch(
            """SELECT rules_version, begun_at, CASE WHEN $1 = ANY(differing) THEN settled_at ELSE begun_at END AS settled_at
               FROM segment_settlings ORDER BY begun_at, rules_version""",
            segment,
        )
        return [Settling(**dict(row)) for row in rows]

    async def grown(self, segment: str, instants: Sequence[int]) -> dict[int, int]:
        """{index of an instant: how many more were in the segment than at the one before}, of the first than none. They rise.

        The server reads every change of the segment up to the last of them.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.fetch("SELECT FROM segment_progress FOR SHARE")  # what is under way has its instant already
            rows = await connection.fetch(
                """SELECT width_bucket(recorded_at - 1, $2::int8[]) AS place, sum(CASE WHEN entered THEN 1 ELSE -1 END) AS more
                   FROM segment_changes WHERE segment = $1 AND recorded_at <= $3 GROUP BY 1""",
                segment,
                list(instants),
                instants[-1],
            )
        return {row["place"]: row["more"] for row in rows}

    async def members(self, segment: str, after: bytes, at_most: int) -> list[Member]:
        """By customer."""
        rows = await self._pool.fetch(
            "SELECT customer, entered_at FROM segment_members WHERE segment = $1 AND customer > $2 ORDER BY customer LIMIT $3",
            segment,
            after,
            at_most,
        )
        return [Member(**dict(row)) for row in rows]

    async def changes(self, segment: str, customers: Collection[bytes], before: int, at_most: int) -> list[Change]:
        """Latest first; of these customers, or of everybody when there are none."""
        rows = await self._pool.fetch(
            f"""SELECT {", ".join(Change.__struct_fields__)} FROM segment_changes
                WHERE segment = $1 AND number < $2 AND (cardinality($3::bytea[]) = 0 OR customer = ANY($3))
                ORDER BY number DESC LIMIT $4""",  # noqa: S608
            segment,
            before,
            list(customers),
            at_most,
        )
        return [Change(**dict(row)) for row in rows]

    async def changed_after(self, segment: str, number: int, last: int, at_most: int) -> list[tuple[int, bytes]]:
        """(number, customer) of changes behind one, up to `last`, in order."""
        rows = await self._pool.fetch(
            "SELECT number, customer FROM segment_changes WHERE segment = $1 AND number > $2 AND number <= $3 ORDER BY number LIMIT $4",
            segment,
            number,
            last,
            at_most,
        )
        return [(row["number"], row["customer"]) for row in rows]
