"""How much of the graph is loaded at once; what that leaves is settled behind the events."""

from collections.abc import Collection
from typing import Any, NamedTuple

PAGE_UNSETTLED = 500  # identifiers, and what their components hold besides: bounds what an erasure adds to a transaction


class RegionTooLarge(Exception):
    """More hangs together than is to be settled now."""


class Bound(NamedTuple):
    """Of what is loaded: identifiers of one component and of all, and those (value hashes) that nothing may change now; and how much of
    what is unsettled is taken along. None: any number.
    """

    component: int
    identifiers: int | None
    busy: Collection[bytes] = ()
    unsettled: int = PAGE_UNSETTLED


async def unsettled(pool: Any, touched: Collection[bytes], bound: Bound | None) -> set[bytes]:
    """A page of what erasures left; first what is touched."""
    rows = await pool.fetch(
        """SELECT value_hash, component FROM unsettled LEFT JOIN identifiers USING (value_hash)
           ORDER BY value_hash = ANY($1::bytea[]) DESC, value_hash LIMIT $2""",
        list(touched),
        PAGE_UNSETTLED if bound is None else min(bound.unsettled, PAGE_UNSETTLED),
    )
    if bound is None or not rows:
        return {row["value_hash"] for row in rows}
    found = await sizes(pool, {row["component"] for row in rows} - {None}, bound.component)
    small = [row for row in rows if found.get(row["component"], 0) <= bound.component]
    return {row["value_hash"] for row in small}.difference(bound.busy)


async def sizes(pool: Any, components: Collection[bytes], most: int) -> dict[bytes, int]:
    """How many identifiers each has; of those that have more than `most` that they have."""
    if not components:
        return {}
    rows = await pool.fetch(
        """SELECT component, (SELECT count(*) FROM (SELECT FROM identifiers AS i WHERE i.component = wanted.component LIMIT $2 + 1) AS found)
           FROM unnest($1::bytea[]) AS wanted (component)""",
        list(components),
        most,
    )
    return {row["component"]: row["count"] for row in rows}


async def check(pool: Any, components: Collection[bytes], bound: Bound) -> None:
    """Before it is loaded."""
    if bound.identifiers is None:
        return
    found = (await sizes(pool, components, bound.component)).values()
    if max(found, default=0) > bound.component or sum(found) > bound.identifiers:
        raise RegionTooLarge


async def leave(connection: Any, hashes: Collection[bytes]) -> None:
    """To be settled behind the events."""
    if hashes:
        await connection.execute("INSERT INTO unsettled SELECT unnest($1::bytea[]) ON CONFLICT DO NOTHING", sorted(hashes))
